"""From a scan and a model to labels, written in order of z."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from osteon.backends import Backend
from osteon.errors import UsageError
from osteon.events import Reporter
from osteon.intensity import Statistics
from osteon.labels import IGNORE
from osteon.model_file import Model
from osteon.prediction.cleanup import CleanUp
from osteon.prediction.contiguity import Contiguity
from osteon.prediction.features import Features
from osteon.prediction.forecast import in_words, seconds_of_network
from osteon.prediction.job import prepare
from osteon.prediction.keeping import Keeper
from osteon.prediction.likeness import Likeness
from osteon.prediction.plan import PredictPlan
from osteon.prediction.quick import Fast, Quantises, quicken
from osteon.prediction.running import Job
from osteon.prediction.scale import ScaleChoice, Slabs
from osteon.prediction.stopping import heed
from osteon.prediction.store import Store, slices_in
from osteon.prediction.turning import left_across, run_sides, with_sides
from osteon.prediction.wanted import Wanted
from osteon.volume import Volume, VolumeWriter


class Beside(Protocol):
    """Takes what is kept beside the labels; as a context manager it puts it in place when whole."""

    def write(self, z: int, layers: npt.NDArray[np.uint8]) -> None:
        """Take the layers (layer, y, x) of a slice, in ascending order."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


#: Has missing ranges of slices labelled into a store by other processes: gives each part when it is
#: finished, in any order, and None now and then.
Elsewhere = Callable[[Sequence[slice]], Generator[slice | None, None, None]]


@dataclass(frozen=True)
class Predicted:
    """The outcome of a prediction.

    Attributes:
        voxels: Voxels of each class, by name.
        seconds: Wall time from the first read to the last write.
        plan: How the scan went through the network.
        backend: Backend, device and arithmetic.
        statistics: Of the scan's grey values, as normalised.
        resampled: Shape (z, y, x) of the scan as the network saw it, if that was resampled.
        contiguity: Whether its slices are neighbours in space; None where the model does not ask.
        features: What the scan shows; None where the model does not ask.
        scale: The scale it was seen at, if that was chosen by the thickness of bone.
        likeness: How the scan compares with those that the model was fitted to.
        fast: Whether int8 was used, and why; None where it was not asked for.
        cleanup: What was tidied, by class; None if nothing was asked for.
        air: Whether air was skipped, why, how it was audited, and the share of the voxels that was
            ``skipped``; None where that was not asked for.
    """

    voxels: dict[str, int]
    seconds: float
    plan: PredictPlan
    backend: str
    statistics: Statistics
    resampled: tuple[int, int, int] | None = None
    contiguity: Contiguity | None = None
    features: Features | None = None
    scale: ScaleChoice | None = None
    likeness: Likeness | None = None
    fast: Fast | None = None
    cleanup: dict[str, Any] | None = None
    air: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-compatible description."""
        return {
            "voxels": self.voxels,
            "seconds": round(self.seconds, 3),
            "plan": asdict(self.plan),
            "backend": self.backend,
            "statistics": self.statistics.as_dict(),
            "resampled": None if self.resampled is None else list(self.resampled),
            "contiguity": None if self.contiguity is None else asdict(self.contiguity),
            "features": None if self.features is None else asdict(self.features),
            "scale": None if self.scale is None else asdict(self.scale),
            "likeness": None if self.likeness is None else self.likeness.as_dict(),
            "fast": None if self.fast is None else asdict(self.fast),
            "cleanup": self.cleanup,
            "air": self.air,
        }


def predict(
    model: Model,
    volume: Volume,
    writer: VolumeWriter,
    *,
    backend: Backend,
    memory: int,
    wanted: Wanted | None = None,
    reporter: Reporter | None = None,
) -> Predicted:
    """Segment a scan: slice by slice (2D, 2.5D) or slab by slab (3D).

    Memory: activations of a slice, tile or block, and the slices in flight, as planned beforehand;
    never the whole scan. Each slice is read from disk once, or twice where a model's context comes
    from the whole scan.

    Args:
        model: The model; its recipe normalises the scan.
        volume: The scan (z, y, x).
        writer: Takes uint8 labels of the same shape; the caller closes it.
        backend: The model's network, ready to run.
        memory: Memory for activations and slices in flight, in bytes.
        wanted: Whether air may be skipped and the scan resampled, and whether its slices are
            neighbours; what is beside labels needs :func:`predict_kept`.
        reporter: Told of the progress.

    Returns:
        What was found and how.

    Raises:
        InputError: If the scan is damaged, constant or holds NaN, or its voxel size is needed and
            not known.
        OutputError: If the labels cannot be written.
        UsageError: If the memory allowed does not suffice, or the voxel sizes of scan and model
            are too far apart.
        PredictionStopped: If it was asked to stop.
    """
    reporter = reporter or Reporter()
    start = time.monotonic()
    if wanted and wanted.logits:
        raise UsageError("probabilities and three axes need a work area (predict_kept)")
    job = prepare(model, volume, backend=backend, memory=memory, wanted=wanted, reporter=reporter)
    depth = volume.shape[0]
    counts = _write(job.labels(slice(0, depth)), writer, depth=depth, reporter=reporter)
    return _outcome(job, counts, since=start)


def predict_kept(  # noqa: PLR0913
    model: Model,
    volume: Volume,
    store: Store,
    *,
    open_target: Callable[[], VolumeWriter],
    backend: Backend,
    memory: int,
    wanted: Wanted | None = None,
    open_beside: Callable[[], Beside] | None = None,
    measure: bool = True,
    elsewhere: Elsewhere | None = None,
    quantiser: Quantises | str | None = None,
    cleanup: CleanUp | None = None,
    reporter: Reporter | None = None,
) -> Predicted:
    """Segment a scan by way of a work area: as :func:`predict`, but what is finished is kept.

    Labels go into the store while the network runs on, and to the target when all are there. A
    stop, an error, a full disk or a kill loses the last block at most; with the same store it goes
    on from there, to the same labels.

    Args:
        model: The model.
        volume: The scan.
        store: The work area; the caller discards it when the target is whole.
        open_target: Opens the writer of the labels.
        backend: The model's network, ready to run.
        memory: As for :func:`predict`.
        wanted: What is to be given, and how much is done for it.
        open_beside: Opens what takes the layers beside the labels, where some are wanted.
        measure: Whether to run the network on a small input first, to tell the plan with its time.
        elsewhere: Has parts labelled into the same store by other processes; None: it is done here.
        quantiser: Where speed is asked for: makes the int8 network, or why there can be none.
        cleanup: Tidies the labels before they are written, as a whole: the labels of the scan and
            5 bytes a voxel beside them are then in memory.
        reporter: Told of the progress.

    Returns:
        What was found and how; ``seconds`` are those of this start.

    Raises:
        OsteonError: As :func:`predict`.
    """
    reporter = reporter or Reporter()
    start = time.monotonic()
    job = prepare(
        model, volume, backend=backend, memory=memory, wanted=wanted, reporter=reporter,
        store=store,
    )  # fmt: skip
    fast, across = None, left_across(job, store, memory=memory)
    if quantiser is not None:
        job, fast = quicken(job, store, quantiser=quantiser, across=across, reporter=reporter)
    left = slices_in(store.missing())
    if measure and left:
        reporter.message("predict", in_words(job, seconds_of_network(job, left, across=across)))
    if left:
        run_sides(job, store, memory=memory, reporter=reporter)
        job = with_sides(job, store)
    if elsewhere is None:
        _keep_missing(job, store, reporter=reporter)
    else:
        _wait_for_missing(job, store, elsewhere, reporter=reporter)
    for note in store.notes():
        job.count(note)
    counts = _hand_over(
        job, store, cleanup, open_target=open_target, open_beside=open_beside, reporter=reporter
    )
    tidied = cleanup.as_dict() if cleanup else None
    return replace(_outcome(job, counts, since=start), fast=fast, cleanup=tidied)


def _hand_over(
    job: Job,
    store: Store,
    cleanup: CleanUp | None,
    *,
    open_target: Callable[[], VolumeWriter],
    open_beside: Callable[[], Beside] | None,
    reporter: Reporter,
) -> npt.NDArray[np.int64]:
    """Write what is finished: what is beside the labels first, which are the mark of a whole."""
    depth = store.shape[0]
    if job.wanted.beside and open_beside is not None:
        with (
            reporter.stage("write beside", total=depth, unit="slice") as progress,
            open_beside() as beside,
        ):
            for z, stack in store.stacks():
                beside.write(z, stack[1:])
                progress.advance()
                if z + 1 < depth:
                    heed(reporter, f"{z + 1} of {depth} slices", where=job.volume.path, kept=True)
    with open_target() as writer:
        slices = _tidied(store, cleanup, reporter=reporter)
        return _write(slices, writer, depth=depth, reporter=reporter, stage="write")


def _tidied(store: Store, cleanup: CleanUp | None, *, reporter: Reporter) -> Slabs:
    """The finished labels, slice by slice, tidied if that is asked for."""
    if cleanup is None:
        yield from store.slices()
        return
    labels = np.empty(store.shape, np.uint8)
    for z, plane in store.slices():
        labels[z] = plane[0]
    cleanup.run(labels)
    reporter.message("predict", cleanup.in_words())
    for z in range(labels.shape[0]):
        yield z, labels[z : z + 1]


def _done_before(missing: Sequence[slice], depth: int, *, reporter: Reporter) -> int:
    """Count the slices that an earlier start has finished, and say so."""
    done = depth - slices_in(missing)
    if done:
        reporter.message("predict", f"going on: {done} of {depth} slices were finished before")
    return done


def _kept(job: Job, keeper: Keeper, part: slice) -> Generator[int, None, None]:
    """Label a part into the store; gives the number of slices of each slab."""
    with closing(job.results(part)) as slabs:
        for z, stacks in slabs:
            keeper.add(z, stacks, note=job.taken())
            yield stacks.shape[0]


def _keep_missing(job: Job, store: Store, *, reporter: Reporter) -> None:
    """Label the slices that the store does not have yet."""
    missing, depth = store.missing(), store.shape[0]
    done = _done_before(missing, depth, reporter=reporter)
    with (
        reporter.stage("predict", total=depth, unit="slice", done=done) as progress,
        Keeper(store) as keeper,
    ):
        for part in missing:
            with closing(_kept(job, keeper, part)) as slabs:
                for count in slabs:
                    done += count
                    progress.advance(count)
                    if done < depth:
                        what = f"{done} of {depth} slices"
                        heed(reporter, what, where=job.volume.path, kept=True)


def keep_part(job: Job, store: Store, part: slice) -> None:
    """Label what is not finished yet of a part, into the store.

    Args:
        job: The scan, decided by the store's decisions; passes along other axes are finished.
        store: Where the labels go.
        part: Slices.

    Raises:
        OsteonError: As :func:`predict`.
    """
    job = with_sides(job, store)
    with Keeper(store) as keeper:
        for gap in store.missing():
            own = slice(max(gap.start, part.start), min(gap.stop, part.stop))
            if own.start < own.stop:
                for _ in _kept(job, keeper, own):
                    pass


def _wait_for_missing(job: Job, store: Store, elsewhere: Elsewhere, *, reporter: Reporter) -> None:
    """Have the slices labelled that the store does not have yet."""
    missing, depth = store.missing(), store.shape[0]
    done = _done_before(missing, depth, reporter=reporter)
    if not missing:
        return
    with (
        reporter.stage("predict", total=depth, unit="slice", done=done) as progress,
        closing(elsewhere(missing)) as parts,
    ):
        for part in parts:
            if part is not None:
                done += part.stop - part.start
                progress.advance(part.stop - part.start)
            if done < depth:
                heed(reporter, f"{done} of {depth} slices", where=job.volume.path, kept=True)


def _outcome(job: Job, counts: npt.NDArray[np.int64], *, since: float) -> Predicted:
    job.doubt.tell(job.volume)
    decided = job.decisions
    return Predicted(
        {c.name: int(counts[c.value]) for c in job.spec.labels.classes},
        time.monotonic() - since,
        job.plan,
        job.backend.description,
        decided.statistics,
        None if job.seen is job.volume else job.seen.shape,
        decided.contiguity,
        decided.features,
        decided.scale,
        decided.likeness,
        air=_air(job),
    )


def _air(job: Job) -> dict[str, Any] | None:
    if job.air is None:
        return None
    share = job.skipped.share if job.air.skip else 0.0
    return {**asdict(job.air), "skipped": round(share, 6)}


def _write(
    labels_in_order: Slabs,
    writer: VolumeWriter,
    *,
    depth: int,
    reporter: Reporter,
    stage: str = "predict",
) -> npt.NDArray[np.int64]:
    """Write labels as they come; return the voxels of each value."""
    counts = np.zeros(IGNORE + 1, dtype=np.int64)
    with (
        reporter.stage(stage, total=depth, unit="slice") as progress,
        closing(labels_in_order) as slabs,
    ):
        for z, labels in slabs:
            writer.write(z, labels)
            counts += np.bincount(labels.ravel(), minlength=counts.size)
            done = z + labels.shape[0]
            progress.advance(labels.shape[0])
            if done < depth:
                kept = stage != "predict"
                heed(reporter, f"{done} of {depth} slices", where=writer.path, kept=kept)
    return counts
