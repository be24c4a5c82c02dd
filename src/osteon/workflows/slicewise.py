"""Some slices of a scan, labelled at once: previews, and where a model is in doubt."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from osteon.errors import UsageError
from osteon.events import Reporter
from osteon.files import parse_memory
from osteon.formats import open_volume
from osteon.labels import LabelScheme
from osteon.prediction import PredictionStopped, Store, Wanted, prepare, work_area
from osteon.prediction.keeping import Keeper
from osteon.prediction.wanted import FULL
from osteon.settings import PredictSettings
from osteon.workflows.looks_kept import KeptLooks
from osteon.workflows.opening import open_models, sized
from osteon.workflows.predicting_backend import open_picked
from osteon.workflows.predicting_beside import wanted_of
from osteon.workflows.predicting_kept import identity


@dataclass(frozen=True)
class LabelledSlice:
    """A slice with its labels.

    Attributes:
        z: Its index.
        labels: Label values (y, x).
        uncertainty: 0 (certain) to 1 (all classes equally likely) of each voxel (y, x), float32;
            None where it was not asked for.
    """

    z: int
    labels: npt.NDArray[np.uint8]
    uncertainty: npt.NDArray[np.float32] | None = None

    @property
    def doubt(self) -> float:
        """Mean uncertainty of the slice; NaN where it was not asked for."""
        return math.nan if self.uncertainty is None else float(self.uncertainty.mean())

    def stack(self) -> npt.NDArray[np.uint8]:
        """Return (layer, y, x): the labels, and the uncertainty in 255 steps if it is there."""
        layers = [self.labels]
        if self.uncertainty is not None:
            layers.append(np.rint(self.uncertainty * np.float32(FULL)).astype(np.uint8))
        return np.stack(layers)


class SlicePredictor:
    """A scan and a model that are ready: labels of any slices, without waiting for the others.

    What is decided about a scan (statistics of its grey values, scale, for models that look twice
    the coarse pass) is decided once, when it is made; so a slice gets the labels that
    :func:`osteon.predict` gives it, but for clean-up, which needs the whole scan. What was seen of
    the grey values is kept for the next time (:class:`~osteon.workflows.looks_kept.KeptLooks`).

    Memory: the network, and what ``settings.memory`` allows.

    Args:
        scan: A folder of slices, or a file.
        model: As for :func:`osteon.predict`.
        settings: As for :func:`osteon.predict`; ``speed`` and ``cleanup`` do not matter.
        voxel_size: Voxel size of the scan in µm in place of what its file says.
        reporter: Told of the progress.

    Raises:
        OsteonError: If the scan or the model cannot be used.
    """

    def __init__(
        self,
        scan: str | Path,
        *,
        model: str | Path | None = None,
        settings: PredictSettings | None = None,
        voxel_size: float | None = None,
        reporter: Reporter | None = None,
    ):
        settings = (settings or PredictSettings()).model_copy(update={"speed": "normal"})
        reporter = reporter or Reporter()
        self._reporter = reporter
        memory = parse_memory(settings.memory)
        volume = sized(open_volume(scan), voxel_size)
        models = open_models(model)
        # No target: nothing is written, so nothing can have been begun.
        nowhere = Path(scan).with_name(f"{Path(scan).name}.none")
        opened = open_picked(models, settings, [(Path(scan), nowhere)], reporter=reporter)
        self._job = prepare(
            models[0],
            volume,
            backend=opened.backend,
            memory=memory,
            # Of single slices: labels, seen along z; uncertainty is asked for with them.
            wanted=replace(
                wanted_of(settings), probabilities=False, uncertainty=False, axes=1, skip_air=False
            ),
            reporter=reporter,
            looks=KeptLooks(Path(scan)),
        )
        self.shape = volume.shape
        self._identity = identity(Path(scan), volume, models, settings, backend=opened.backend)

    @property
    def scheme(self) -> LabelScheme:
        """The classes of the labels."""
        return self._job.spec.labels

    @property
    def asks_for_neighbours(self) -> bool:
        """Whether the model would look at slices together, if they are neighbours in space."""
        return self._job.spec.context is not None

    def run(
        self,
        part: slice,
        *,
        uncertainty: bool = False,
        keep: Path | None = None,
        reporter: Reporter | None = None,
    ) -> Iterator[LabelledSlice]:
        """Label some slices.

        Args:
            part: Slices, from start to (excluded) stop.
            uncertainty: Also say how certain each voxel is.
            keep: What is finished is kept in a work area beside this path until the part is whole,
                and not made again after a stop or a kill; then uncertainty is to 1/255. What
                another model or other settings left there is removed. None: nothing is kept.
            reporter: Told of the progress; a stop request ends it before the next slice.

        Yields:
            The slices, ascending; those that were kept come first.

        Raises:
            UsageError: If they do not lie in the scan.
            PredictionStopped: If it was asked to stop.
            OutputError: If they cannot be kept.
            OsteonError: As :func:`osteon.predict`.
        """
        reporter = reporter or self._reporter
        depth = self.shape[0]
        if part.step not in (None, 1) or not 0 <= part.start < part.stop <= depth:
            raise UsageError(
                f"there are no slices {part.start} to {part.stop - 1} in a scan of {depth} slices",
                where=self._job.volume.path,
                mend=f"choose slices from 0 to {depth - 1}",
            )
        total = part.stop - part.start
        slices = (
            self._made(part, uncertainty=uncertainty)
            if keep is None
            else self._kept(part, keep, uncertainty=uncertainty)
        )
        with (
            reporter.stage("predict", total=total, unit="slice") as progress,
            closing(slices),
        ):
            for one in slices:
                if reporter.stopping:
                    raise PredictionStopped(
                        f"stopped after {progress.step} of {total} slices",
                        where=self._job.volume.path,
                    )
                yield one
                progress.advance()

    def _made(self, part: slice, *, uncertainty: bool) -> Generator[LabelledSlice, None, None]:
        job = self._job
        with closing(job.logits(part) if uncertainty else job.labels(part)) as slabs:
            for first, slab in slabs:
                for i, plane in enumerate(slab):
                    one = _labelled(first + i, plane)
                    if uncertainty and job.surface is not None:
                        moved = job.surface.moved_in(job.volume, one.z, one.labels)
                        one = replace(one, labels=moved)
                    yield one

    def _kept(
        self, part: slice, keep: Path, *, uncertainty: bool
    ) -> Generator[LabelledSlice, None, None]:
        """As :meth:`_made`, by way of a work area: what it holds is given as it is."""
        layers = Wanted(uncertainty=uncertainty).layers(len(self.scheme))
        with Store(
            work_area(keep), shape=self.shape, identity={**self._identity, "layers": layers},
            restart=True, layers=layers,
        ) as store:  # fmt: skip
            done = {z for span in store.finished() for z in range(span.start, span.stop)}
            kept = ((z, stack) for z, stack in store.stacks() if part.start <= z < part.stop)
            for z, stack in kept:
                yield _stacked(z, stack)
            with Keeper(store) as keeper:
                for gap in _gaps(part, done):
                    with closing(self._made(gap, uncertainty=uncertainty)) as slices:
                        for one in slices:
                            keeper.add(one.z, one.stack()[np.newaxis], note={})
                            yield one
            store.discard()


def _stacked(z: int, stack: npt.NDArray[np.uint8]) -> LabelledSlice:
    """Turn what was kept of a slice, (layer, y, x), into a slice."""
    doubt = stack[1].astype(np.float32) / np.float32(FULL) if len(stack) > 1 else None
    return LabelledSlice(z, stack[0].copy(), doubt)


def _gaps(part: slice, done: set[int]) -> Iterator[slice]:
    """Give the runs of slices of a part that are not done, ascending."""
    start = part.start
    for z in range(part.start, part.stop + 1):
        if z == part.stop or z in done:
            if z > start:
                yield slice(start, z)
            start = z + 1


def _labelled(z: int, plane: npt.NDArray[np.generic]) -> LabelledSlice:
    """Turn labels (y, x), or logits (class, y, x), into a slice."""
    if plane.ndim == 2:
        return LabelledSlice(z, np.asarray(plane, np.uint8))
    logits = np.asarray(plane, np.float32)
    return LabelledSlice(z, logits.argmax(0).astype(np.uint8), normalised_entropy(logits))


def normalised_entropy(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return how undecided logits are.

    Args:
        logits: (class, …).

    Returns:
        Entropy of their softmax over the largest possible (the logarithm of the number of
        classes): 0 certain, 1 all classes equally likely.
    """
    shifted = logits - logits.max(0)
    exponentials = np.exp(shifted)
    total = exponentials.sum(0)
    # H = log(sum e^x) − sum x e^x / sum e^x
    entropy = np.log(total) - (shifted * exponentials).sum(0) / total
    scaled: npt.NDArray[np.float32] = np.clip(entropy / np.log(len(logits)), 0, 1)
    return scaled.astype(np.float32, copy=False)


def spread_slices(depth: int, count: int) -> list[int]:
    """Return slices at even distances through a scan.

    Args:
        depth: Slices of the scan.
        count: How many are wanted.

    Returns:
        The middle slice of each of ``count`` equal parts, ascending; all slices where there are
        no more.
    """
    count = min(count, depth)
    return [(2 * i + 1) * depth // (2 * count) for i in range(count)]
