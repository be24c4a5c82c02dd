"""The context of a model that looks twice: where the inside of bones is, seen coarsely.

Where slices are neighbours in space, the whole scan is reduced to a small volume, which the
network sees slice by slice along all three axes; the mean of the three, made to agree with itself
in space (:mod:`osteon.prediction.enclosing`), is the context of every slice. Else each slice has a
coarse pass of its own. See :mod:`osteon.networks.context`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial

import numpy as np
import numpy.typing as npt

from osteon.backends import Backend
from osteon.coarse import InPlane, add_slice, averaging, between
from osteon.errors import OutputError, warn
from osteon.events import Reporter
from osteon.intensity import Statistics
from osteon.networks.context import BACKGROUND
from osteon.prediction.enclosing import enclosed
from osteon.prediction.plan import ContextPlan, InputRules
from osteon.prediction.slices import read_ahead
from osteon.prediction.stopping import heed
from osteon.prediction.store import Store
from osteon.volume import Volume

Image = npt.NDArray[np.float32]
#: Gives the context (y, x) of slice z, whose normalised grey values (y, x) are given.
Context = Callable[[int, Image], Image]

#: Probabilities of being inside between these are undecided …
UNDECIDED = (0.2, 0.8)
#: … and so large a share of them, of what is not clearly outside, is worth a warning: by bone-pores
#: 0.02 to 0.06 in ordinary simulated and real scans, 0.35 to 0.86 in an empty tube, a phantom, and
#: insides of bones with wide spaces.
UNDECIDED_SHARE = 0.2
#: From which share of them on the network looks again, given what it has found.
LOOK_AGAIN = 0.03
#: Probability of being inside where nothing is known.
_NOTHING: Image = np.array(0.5, np.float32)
#: Name under which the outcome of the coarse pass is kept.
_KEPT = "context"


class Doubt:
    """Counts how much of what may be the inside of bone the coarse pass is undecided about."""

    def __init__(self) -> None:
        self._maybe = self._undecided = 0

    def taken(self) -> dict[str, int]:
        """Return what was counted, and begin anew."""
        counted = {"maybe": self._maybe, "undecided": self._undecided}
        self._maybe = self._undecided = 0
        return counted

    def count(self, counted: Mapping[str, int]) -> None:
        """Add what :meth:`taken` returned."""
        self._maybe += counted.get("maybe", 0)
        self._undecided += counted.get("undecided", 0)

    def add(self, inside: Image) -> None:
        """Count the probabilities of being inside of some voxels."""
        maybe = inside > UNDECIDED[0]
        self._maybe += int(maybe.sum())
        self._undecided += int((maybe & (inside < UNDECIDED[1])).sum())

    @property
    def share(self) -> float:
        """Voxels that are neither clearly inside nor clearly outside, of those not outside."""
        return self._undecided / self._maybe if self._maybe else 0.0

    def tell(self, seen: Volume) -> None:
        """Warn if there is much of it.

        Args:
            seen: The scan.
        """
        if self.share > UNDECIDED_SHARE:
            warn(
                "outline-uncertain",
                f"the model is undecided about {self.share:.0%} of what may be the inside of bone: "
                "the scan differs from what it was fitted to. Look at the labels with care; "
                "fine-tuning the model to a few labelled slices of such scans helps "
                "(network.weights)",
                where=seen.path,
            )


def within_bone(_: int, image: Image) -> Image:
    """Return the context of a slice that lies within a bone: all of it is inside.

    Args:
        image: Its grey values (y, x).
    """
    return np.ones_like(image, np.float32)


def slice_context(
    shape: tuple[int, int],
    plan: ContextPlan,
    *,
    backend: Backend,
    rules: InputRules,
    doubt: Doubt | None = None,
) -> Context:
    """Return the context of slices that stand alone.

    Args:
        shape: (y, x) of the slices.
        plan: The coarse grid.
        backend: The network.
        rules: What inputs it takes.
        doubt: Counts how decided the network is.

    Returns:
        Gives the context of a slice from its grey values.
    """
    grid = _in_plane(plan, shape)
    doubt = doubt or Doubt()

    def context(_: int, image: Image) -> Image:
        inside = _inside(backend, rules, grid.reduce(image))
        doubt.add(inside)
        return 2 * grid.enlarge(inside) - 1

    return context


def scan_context(
    seen: Volume,
    statistics: Statistics,
    plan: ContextPlan,
    *,
    backend: Backend,
    rules: InputRules,
    doubt: Doubt | None = None,
    reporter: Reporter | None = None,
    store: Store | None = None,
) -> Context:
    """Return the context of a scan whose slices are neighbours in space.

    Reads the scan once. Where the network is undecided about much of it, it looks again, given what
    it has found. Memory: three small volumes as planned (64 MiB each at most), one after the scan
    was read.

    Args:
        seen: The scan as the network sees it.
        statistics: Of the scan.
        plan: The coarse grid.
        backend: The network.
        rules: What inputs it takes.
        doubt: Counts how decided the network is; nothing is counted in it yet.
        reporter: Told of the progress.
        store: Keeps what the coarse pass found, for the next start.

    Returns:
        Gives the context of a slice by its index.

    Raises:
        InputError: If the scan is damaged.
        PredictionStopped: If it was asked to stop.
    """
    reporter = reporter or Reporter()
    grid = _in_plane(plan, seen.shape[1:])
    found = store.kept_array(_KEPT) if store else None
    if found is None:
        small = _reduced(seen, statistics, plan, grid=grid, reporter=reporter)
        look = partial(
            _seen_coarsely, small, plan, backend, rules=rules, reporter=reporter, seen=seen
        )
        found = enclosed(look(np.broadcast_to(_NOTHING, small.shape)), small)
        # Of the first look: given its own mistakes, the network is sure of them.
        doubt = doubt or Doubt()
        doubt.add(found)
        if doubt.share > LOOK_AGAIN:
            found = enclosed(look(found), small)
        if store:
            store.keep_array(_KEPT, found)
    return seen_across(0, seen.shape, plan, found)


def kept_context(store: Store) -> Image:
    """Return what the coarse pass of a scan has found, from its work area.

    Args:
        store: The work area.

    Raises:
        OutputError: If it is gone.
    """
    found = store.kept_array(_KEPT)
    if found is None:
        raise OutputError(
            "the outcome of the coarse pass is gone from the work area",
            where=store.folder,
            mend="begin anew with --overwrite",
        )
    return found


def seen_across(
    axis: int, shape: tuple[int, int, int], plan: ContextPlan, inside: Image
) -> Context:
    """Return the context of slices across an axis.

    Args:
        axis: The axis, of (z, y, x).
        shape: (z, y, x) of the scan as the network sees it.
        plan: The coarse grid.
        inside: What the coarse pass found (z, y, x), on that grid.

    Returns:
        Gives the context of a slice, (the other two axes), by its index.
    """
    factors = plan.depth_factor, plan.factor, plan.factor
    axes = list(zip(shape, plan.shape, factors, strict=True))
    n, size, factor = axes.pop(axis)
    grid = InPlane(axes)
    planes = np.moveaxis(inside, axis, 0)
    first, way = between(n, size=size, factor=factor)

    def context(z: int, _: Image) -> Image:
        before, after = planes[first[z]], planes[min(first[z] + 1, len(planes) - 1)]
        return 2 * grid.enlarge(before + way[z] * (after - before)) - 1

    return context


def _seen_coarsely(
    small: Image,
    plan: ContextPlan,
    backend: Backend,
    known: Image,
    *,
    rules: InputRules,
    reporter: Reporter,
    seen: Volume,
) -> Image:
    """Probabilities of being inside, of the small volume: the mean along its axes.

    What is ``known`` are such probabilities from before, which the network is given; a half where
    there are none.
    """
    inside = np.zeros_like(small)
    total = sum(plan.shape[axis] for axis in plan.axes)
    with reporter.stage("context", total=total, unit="coarse slice") as progress:
        for axis in plan.axes:
            planes = (_along(volume, axis) for volume in (small, known, inside))
            for image, given, into in zip(*planes, strict=True):
                into += _inside(backend, rules, image, given) / np.float32(len(plan.axes))
                progress.advance()
                heed(reporter, "a part of the coarse pass", where=seen.path)
    return inside


def _in_plane(plan: ContextPlan, shape: Sequence[int]) -> InPlane:
    """Lay the coarse grid over slices (y, x) of a scan."""
    pairs = zip(shape, plan.shape[1:], strict=True)
    return InPlane([(n, size, plan.factor) for n, size in pairs])


def _along(volume: Image, axis: int) -> Iterator[Image]:
    return iter(np.moveaxis(volume, axis, 0))


def _reduced(
    seen: Volume, stats: Statistics, plan: ContextPlan, *, grid: InPlane, reporter: Reporter
) -> Image:
    small = np.zeros(plan.shape, np.float32)
    depth = seen.shape[0]
    weights = averaging(depth, size=plan.shape[0], factor=plan.depth_factor)
    with (
        reporter.stage("reduce", total=depth, unit="slice") as progress,
        closing(read_ahead(seen, stats)) as images,
    ):
        for z, image in images:
            add_slice(small, grid.reduce(image), weights[:, z])
            progress.advance()
            heed(reporter, f"{z + 1} of {depth} slices were read", where=seen.path)
    return small


def _inside(backend: Backend, rules: InputRules, image: Image, known: Image = _NOTHING) -> Image:
    batch = np.empty((1, 2, *image.shape), np.float32)
    batch[0, 0], batch[0, 1] = image, 2 * known - 1
    logits = backend.run(np.ascontiguousarray(rules.pad(batch)))[0]
    logits = logits[:, : image.shape[0], : image.shape[1]].astype(np.float32)
    logits -= logits.max(0)
    odds = np.exp(logits)
    outside: Image = odds[BACKGROUND] / odds.sum(0)
    return 1 - outside
