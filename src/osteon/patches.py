"""Geometry of patches and tiles alone: random patches, tile grids with a halo, blending, padding.

Shapes and places are (y, x) or (z, y, x): every function works along any number of axes. Fitting
and prediction cut scans by the same functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from osteon.errors import UsageError
from osteon.volume import Array

#: Places that are tried for a patch before any place is taken.
TRIES = 100

#: First voxel of a patch, or any voxel, along each axis.
Place = tuple[int, ...]
#: One number for all axes, or one for each.
PerAxis = int | Sequence[int]


@dataclass(frozen=True)
class Tile:
    """A part of a slice or volume that goes through the network at once.

    Attributes:
        read: What is to be read along each axis, within the slice or volume.
        core: What the result is kept of, in the slice or volume. The cores of a grid cover
            every voxel exactly once.
    """

    read: tuple[slice, ...]
    core: tuple[slice, ...]

    @property
    def inner(self) -> tuple[slice, ...]:
        """The core in coordinates of what was read."""
        return tuple(
            slice(core.start - read.start, core.stop - read.start)
            for read, core in zip(self.read, self.core, strict=True)
        )


def tile_grid(
    shape: Sequence[int], *, size: PerAxis, halo: PerAxis, divisor: PerAxis = 1
) -> list[Tile]:
    """Cut a slice or a volume into tiles with context around each.

    Tiles start at multiples of ``divisor``, so that a network with strides sees the same grid
    as on the whole; a tile at the end of an axis can be shorter than ``size`` and is padded by
    :func:`pad_to_multiple`. An axis no longer than ``size`` is not cut.

    Args:
        shape: (y, x) of the slice or (z, y, x) of the volume.
        size: What is read at once, with the halo; a multiple of ``divisor``.
        halo: Context around the core, in voxels, except at the edges of the whole.
        divisor: What the network needs its input to be a multiple of.

    Returns:
        The tiles in memory order (the last axis fastest).

    Raises:
        UsageError: If the numbers do not go together; the message says what would.
    """
    axes = [
        _ranges(n, size=s, halo=h, divisor=d)
        for n, s, h, d in zip(
            shape, *(_per_axis(v, len(shape)) for v in (size, halo, divisor)), strict=True
        )
    ]
    return [
        Tile(tuple(read for read, _ in made), tuple(core for _, core in made))
        for made in product(*axes)
    ]


def _ranges(n: int, *, size: int, halo: int, divisor: int) -> list[tuple[slice, slice]]:
    if divisor < 1 or halo < 0 or size < 1 or size % divisor or n < 1:
        _refuse_tiles(n, size=size, halo=halo, divisor=divisor)
    step = (size - 2 * halo) // divisor * divisor
    if step < 1 and n > size:
        _refuse_tiles(n, size=size, halo=halo, divisor=divisor)
    last = max(0, -(-(n - size) // divisor) * divisor)
    starts = [*(range(0, last, step) if last else ()), last]
    edges = [0, *(start + size - halo for start in starts[:-1]), n]
    return [
        (slice(start, min(start + size, n)), slice(edges[i], edges[i + 1]))
        for i, start in enumerate(starts)
    ]


def _refuse_tiles(n: int, *, size: int, halo: int, divisor: int) -> None:
    raise UsageError(
        f"tiles of {size} px with a halo of {halo} px cannot cover a length of {n} px",
        mend=f"the size must be a multiple of {divisor} and at least {2 * halo + divisor}",
    )


def blend_weights(tile: Tile, shape: Sequence[int], *, width: PerAxis) -> npt.NDArray[np.float32]:
    """Return how much each voxel that a tile read counts, where tiles of a grid overlap.

    The weight of a tile falls by a raised cosine (Hann) from 1 to 0 over ``width`` voxels on
    either side of its core's edges, while the neighbour's rises by the same curve; at the edges
    of the whole it stays 1. Over all tiles of one grid the weights of a voxel sum to one, so
    that weighted results are only to be added up: a constant comes back constant.

    Args:
        tile: One tile of :func:`tile_grid`.
        shape: Shape of the whole that the grid was made for.
        width: Half the width of the transition, in voxels, at most the grid's halo; 0 keeps
            the core alone.

    Returns:
        Weights from 0 to 1, float32, of the shape of ``tile.read``.

    Raises:
        UsageError: If the width is larger than the halo.
    """
    weights = np.ones((), dtype=np.float64)
    widths = _per_axis(width, len(shape))
    for read, core, n, half in zip(tile.read, tile.core, shape, widths, strict=True):
        inside = (core.start == 0 or core.start - read.start >= half) and (
            core.stop == n or read.stop - core.stop >= half
        )
        if half < 0 or not inside:
            raise UsageError(
                f"a tile cannot be blended over {half} px: its halo is smaller",
                mend="blend over the halo of the grid at most",
            )
        # Differences of one rising curve: summed over the tiles they leave 1, whatever the curve.
        centres = np.arange(read.start, read.stop) + 0.5
        line = np.ones(len(centres)) if core.start == 0 else _rise(centres, core.start, half)
        if core.stop != n:
            line = line - _rise(centres, core.stop, half)
        weights = weights[..., np.newaxis] * line
    return weights.astype(np.float32)


def _rise(centres: npt.NDArray[np.float64], edge: int, half: int) -> npt.NDArray[np.float64]:
    if half == 0:
        return (centres > edge).astype(np.float64)
    phase = np.clip((centres - (edge - half)) / (2 * half), 0, 1)
    risen: npt.NDArray[np.float64] = 0.5 - 0.5 * np.cos(np.pi * phase)
    return risen


def random_boxes(
    shape: Sequence[int],
    *,
    size: PerAxis,
    count: int,
    max_overlap: float,
    rng: np.random.Generator,
    around: Callable[[int], Place] | None = None,
    earlier: Sequence[Place] = (),
) -> list[Place]:
    """Draw the places of the patches of a slice or a volume, which overlap little.

    A place is drawn anew while it overlaps an earlier patch by more than ``max_overlap``, up to
    100 times; then the last one drawn is taken.

    Args:
        shape: (y, x) of the slice or (z, y, x) of the volume.
        size: Extent of a patch.
        count: Number of patches.
        max_overlap: Largest shared area or volume of two patches, as a share of a patch.
        rng: The random generator.
        around: Gives a voxel that the patch is to hold, anew for every try, by the number of the
            try; None: anywhere.
        earlier: Places of patches that are there already.

    Returns:
        ``count`` first voxels; 0 along an axis in which the whole is no larger than the patch
        (it is padded there, by :func:`pad_to`).
    """
    sizes = _per_axis(size, len(shape))
    high = np.maximum(np.array(shape) - sizes, 0) + 1
    taken = np.empty((len(earlier) + count, len(shape)), dtype=np.int64)
    taken[: len(earlier)] = np.reshape(earlier, (len(earlier), len(shape)))
    for number in range(len(earlier), len(taken)):
        for attempt in range(TRIES):
            if around is None:
                place = rng.integers(0, high)
            else:
                voxel = np.array(around(attempt))
                low = np.maximum(voxel - np.array(sizes) + 1, 0)
                place = rng.integers(low, np.minimum(voxel + 1, high))
            if number == 0 or overlap(place, taken[:number], size=sizes).max() <= max_overlap:
                break
        taken[number] = place
    return [tuple(box) for box in taken[len(earlier) :].tolist()]


def overlap(
    a: npt.ArrayLike, b: npt.ArrayLike, *, size: PerAxis
) -> npt.NDArray[np.float64] | np.float64:
    """Return the area or volume that patches share, as a share of one.

    Args:
        a: (axes,) first voxel of one patch.
        b: (…, axes) first voxels of others.
        size: Extent of all.

    Returns:
        (…) shares from 0 to 1.
    """
    one, others = np.asarray(a), np.asarray(b)
    sizes = np.array(_per_axis(size, len(one)))
    shared: npt.NDArray[np.float64] | np.float64
    shared = np.maximum(sizes - np.abs(others - one), 0).prod(axis=-1) / sizes.prod()
    return shared


def neighbours(z: int, depth: int, slices: int) -> list[int]:
    """Return the slices that are seen together when a slice is labelled by its neighbours (2.5D).

    Beyond the first and the last slice the nearest one is repeated, so that every slice can be
    labelled. Fitting and prediction use this same rule.

    Args:
        z: The slice that is labelled, the middle one.
        depth: Number of slices there are.
        slices: Number of slices seen together; odd.

    Returns:
        ``slices`` indexes, ascending.

    Raises:
        UsageError: If the number is not odd, or there is no such slice.
    """
    if slices < 1 or slices % 2 == 0 or not 0 <= z < depth:
        raise UsageError(f"slice {z} of {depth} cannot be the middle one of {slices}")
    half = slices // 2
    return [min(max(near, 0), depth - 1) for near in range(z - half, z + half + 1)]


def pad_to(array: Array, shape: Sequence[int], *, value: float | None = None) -> Array:
    """Pad the last axes at their ends (behind, below and on the right).

    Args:
        array: (…, y, x) or (…, z, y, x), any type.
        shape: (y, x) or (z, y, x) that is wanted at least; larger axes stay as they are.
        value: The padding's value; None repeats the edge.

    Returns:
        The padded array; the same object where nothing is missing.
    """
    others = array.ndim - len(shape)
    missing = [max(0, want - have) for want, have in zip(shape, array.shape[others:], strict=True)]
    if not any(missing):
        return array
    widths = [(0, 0)] * others + [(0, m) for m in missing]
    if value is None:
        return np.pad(array, widths, mode="edge")
    return np.pad(array, widths, constant_values=value)


def pad_to_multiple(array: Array, divisor: PerAxis, *, value: float | None = None) -> Array:
    """Pad the last axes at their ends to multiples of a number.

    Args:
        array: (…, y, x) or (…, z, y, x), any type.
        divisor: What y and x become multiples of; or a number for each of the last axes.
        value: The padding's value; None repeats the edge.

    Returns:
        The padded array; the same object where nothing is missing.
    """
    divisors = (divisor, divisor) if isinstance(divisor, int) else divisor
    last = array.shape[array.ndim - len(divisors) :]
    return pad_to(array, [-(-n // d) * d for n, d in zip(last, divisors, strict=True)], value=value)


def _per_axis(value: PerAxis, axes: int) -> tuple[int, ...]:
    return (value,) * axes if isinstance(value, int) else tuple(value)
