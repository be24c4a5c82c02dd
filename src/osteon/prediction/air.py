"""Which parts of a scan hold only air: they are background without being run.

A part counts as air where, with the context that the network would see around it, it is dark (below
a quarter of the way from the dark to the bright side of the edges of bone, after smoothing) and
open to the outside within its slice: what bone encloses is not skipped, however dark it is. What is
skipped is a function of the grey values of the slices alone, and so the same in every start and
worker. Whether anything is skipped is decided by an audit (:mod:`osteon.prediction.auditing`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from osteon.intensity import Statistics
from osteon.patches import Tile, pad_to

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

#: Pixels smoothed to brighter than this share of the way from the dark to the bright side of the
#: edges of bone are no air: a line of bone 2 pixels wide is smoothed to a half of it.
BRIGHT = 0.25
#: Standard deviation of the Gaussian, in pixels of an image averaged 2 x 2.
SMOOTHING = 0.7
#: Side of the cells that are found bright or dark as a whole, in pixels; even.
CELL = 32
#: What is cut out of slices begins and ends at multiples of this (and of the network's divisor), so
#: that few different shapes come up.
STEP = 64
#: A part of a slice larger than this share is not cut out.
MOST = 0.95


@dataclass(frozen=True)
class Air:
    """Whether parts that hold only air are skipped, and how they are told.

    Attributes:
        skip: Whether they are.
        why: The reason, in words.
        below: Normalised grey value that is no air, after smoothing.
        margin: Context around what is run of a whole slice, in pixels; None: slices are run whole
            or not at all.
        saving: Share of the network's work that was saved in the parts that were looked at.
        audited: Parts to be skipped that were run all the same, to see that they hold nothing.
        agreement: Share of equal labels in what was cut out of slices and in whole slices.
    """

    skip: bool
    why: str
    below: float = 0.0
    margin: int | None = None
    saving: float | None = None
    audited: int = 0
    agreement: float | None = None


class Skipped:
    """Counts the voxels that were not run."""

    def __init__(self) -> None:
        self._air = self._all = 0

    def add(self, *, air: int, of: int) -> None:
        """Count voxels that were not run, of so many."""
        self._air += air
        self._all += of

    def taken(self) -> dict[str, int]:
        """Return what was counted, and begin anew."""
        counted = {"air": self._air, "labelled": self._all}
        self._air = self._all = 0
        return counted

    def count(self, counted: Mapping[str, int]) -> None:
        """Add what :meth:`taken` returned."""
        self.add(air=counted.get("air", 0), of=counted.get("labelled", 0))

    @property
    def share(self) -> float:
        """Share of the voxels that was not run."""
        return self._air / self._all if self._all else 0.0


def brightness(edges: Statistics, own: Statistics) -> float | None:
    """Return the normalised grey value from which on a smoothed pixel is no air.

    Args:
        edges: Statistics of the scan by the recipe ``edges``.
        own: By the model's recipe.

    Returns:
        The value; None where the scan shows no edges that could be bone's.
    """
    if not edges.strength or edges.low is None or edges.high is None:
        return None
    grey = edges.low + BRIGHT * (edges.high - edges.low)
    return (grey - own.centre) / own.width


def bright_cells(image: Image, below: float) -> Mask:
    """Find the cells of a slice that are not dark.

    Args:
        image: Normalised grey values (y, x).
        below: See :func:`brightness`.

    Returns:
        A mask of cells of 32 x 32 pixels from the first corner; those at the end may be smaller.
    """
    rows, columns = (n + n % 2 for n in image.shape)
    even = pad_to(image, (rows, columns))
    halves = even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
    halves /= 4
    smooth = ndimage.gaussian_filter(halves, SMOOTHING, mode="nearest", truncate=3)
    for axis in (0, 1):
        starts = np.arange(0, smooth.shape[axis], CELL // 2)
        smooth = np.maximum.reduceat(smooth, starts, axis)
    found: Mask = smooth > below
    return found


def inside_cells(bright: Mask) -> Mask:
    """Return the cells that are bright, or from which no dark way leads out of the slice.

    Args:
        bright: :func:`bright_cells`.
    """
    areas, _ = ndimage.label(~bright)
    edge = np.concatenate([areas[0], areas[-1], areas[:, 0], areas[:, -1]])
    outside: Mask = np.isin(areas, np.setdiff1d(edge, 0))
    return ~outside


def holds(cells: Mask, part: Sequence[slice]) -> bool:
    """Say whether a part (y, x) of a slice touches such a cell.

    Args:
        cells: :func:`inside_cells`.
        part: In pixels.
    """
    y, x = (slice(s.start // CELL, -(-s.stop // CELL)) for s in part)
    return bool(cells[y, x].any())


def left_to_run(
    cells: Mask, whole: Tile, *, margin: int | None, divisors: Sequence[int]
) -> list[Tile]:
    """Cut what is not air out of a slice that would be run whole.

    Args:
        cells: :func:`inside_cells` of it.
        whole: The slice.
        margin: Context around it, in pixels; None: it is not cut out of the slice.
        divisors: Of the network, along (y, x).

    Returns:
        No tile where the slice is all air; else one, the slice itself where little would be saved.
    """
    if not cells.any():
        return []
    if margin is None:
        return [whole]
    read, core = [], []
    for axis, (full, divisor) in enumerate(zip(whole.read, divisors, strict=True)):
        some = np.flatnonzero(cells.any(1 - axis))
        first, last = int(some[0]) * CELL, min(int(some[-1] + 1) * CELL, full.stop)
        step = math.lcm(divisor, STEP)
        start = max(0, first - margin) // step * step
        stop = min(full.stop, -(-(last + margin) // step) * step)
        read.append(slice(start, stop))
        core.append(slice(first, last))
    if pixels(read) > MOST * pixels(whole.read):
        return [whole]
    return [Tile(tuple(read), tuple(core))]


def pixels(part: Sequence[slice]) -> int:
    """Return how many pixels or voxels a part has.

    Args:
        part: A slice for each axis.
    """
    return math.prod(s.stop - s.start for s in part)
