"""How the voxels of a grid are made of those of another, axis by axis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from osteon.volume import Array

#: Grids that are coarser by more than this are made by averages over area, not by interpolation.
AVERAGED = 1.3
#: Bounds of averages are rounded to so many digits: 2.9999999999 is 3.
_DIGITS = 9


@dataclass(frozen=True)
class AxisMap:
    """How the voxels along one axis are made of those of another grid.

    Attributes:
        length: Number of source voxels.
        first: (n,) index of the first source voxel of each target voxel.
        weights: (n, taps) float32, weights of the source voxels from ``first`` on; they sum to 1.
        nearest: (n,) index of the source voxel nearest to the centre (the later one of two).
    """

    length: int
    first: npt.NDArray[np.intp]
    weights: npt.NDArray[np.float32]
    nearest: npt.NDArray[np.intp]

    @property
    def taps(self) -> int:
        """Number of source voxels a target voxel may be made of."""
        return int(self.weights.shape[1])

    def source(self, part: slice) -> slice:
        """Return the source voxels that a part of the target is made of.

        Args:
            part: Target voxels, start and stop given, not empty.
        """
        stop = int(self.first[part.stop - 1]) + self.taps
        return slice(int(self.first[part.start]), min(stop, self.length))

    def apply(self, array: Array, *, axis: int, part: slice) -> Array:
        """Resample an array along one axis.

        Args:
            array: Floating point; holds the voxels :meth:`source` of ``part`` along ``axis``.
            axis: The axis.
            part: Target voxels wanted.

        Returns:
            A new array of the same type. Every value depends on its own source voxels alone, to
            the last bit, however the target is cut; a constant stays what it is.
        """
        start = self.source(part).start
        shape = [1] * array.ndim
        shape[axis] = -1

        def tap(k: int) -> Array:
            index = np.minimum(self.first[part] + k, self.length - 1) - start
            taken: Array = np.take(array, index, axis=axis)
            return taken

        anchor = tap(0)
        result = anchor.copy()
        for k in range(1, self.taps):
            # By differences, which are exactly 0 where the source is constant.
            step = tap(k)
            step -= anchor
            step *= self.weights[part, k].astype(array.dtype).reshape(shape)
            result += step
        return result


def axis_map(length: int, *, size: int, factor: float) -> AxisMap:
    """Lay a grid over another along one axis.

    Args:
        length: Number of source voxels.
        size: Number of target voxels.
        factor: Size of a target voxel, in source voxels.

    Returns:
        The map.
    """
    index = np.arange(size)
    centres = (index + 0.5) * factor - 0.5
    nearest = np.clip(np.floor(np.round(centres + 0.5, _DIGITS)), 0, length - 1).astype(np.intp)
    if factor == 1:
        first, weights = np.minimum(index, length - 1), np.ones((size, 1))
    elif length == 1:
        first, weights = np.zeros(size, np.intp), np.ones((size, 1))
    elif factor <= AVERAGED:
        at = np.clip(centres, 0, length - 1)
        first = np.minimum(np.floor(at).astype(np.intp), length - 2)
        weights = np.stack([1 - (at - first), at - first], axis=1)
    else:
        low = np.minimum(np.round(index * factor, _DIGITS), length - 1)
        high = np.minimum(np.round((index + 1) * factor, _DIGITS), length)
        first = np.floor(low).astype(np.intp)
        taps = first[:, np.newaxis] + np.arange(math.ceil(factor) + 1)
        covered = np.minimum(taps + 1, high[:, np.newaxis]) - np.maximum(taps, low[:, np.newaxis])
        weights = np.clip(covered, 0, None)
        weights /= weights.sum(axis=1, keepdims=True)
        weights = weights[:, : int(np.flatnonzero(weights.any(axis=0))[-1]) + 1]
    return AxisMap(length, first, weights.astype(np.float32), nearest)


def windows(
    planes: Iterable[tuple[int, Array]], axis: AxisMap, part: slice
) -> Iterator[tuple[int, list[Array]]]:
    """Gather the source slices that each target slice is made of, from a stream.

    Holds no more slices than one target slice needs.

    Args:
        planes: Source slices with their index, ascending, at least those of ``part``.
        axis: The map of the z axis.
        part: Target slices wanted.

    Yields:
        Each target slice's index, and its source slices (``taps`` of them; a slice beyond the
        end is the last one, and weighs nothing).
    """
    coming = iter(planes)
    held: dict[int, Array] = {}
    for z in range(part.start, part.stop):
        first = int(axis.first[z])
        wanted = [min(first + k, axis.length - 1) for k in range(axis.taps)]
        for gone in [i for i in held if i < first]:
            del held[gone]
        while wanted[-1] not in held:
            i, plane = next(coming)
            if i >= first:
                held[i] = plane
        yield z, [held[i] for i in wanted]


def combine(window: Sequence[Array], weights: npt.NDArray[np.float32]) -> Array:
    """Weigh the slices of a window.

    Args:
        window: Floating-point arrays of one shape.
        weights: One for each; they sum to 1.

    Returns:
        A new array; a constant stays what it is.
    """
    anchor = window[0]
    result = anchor.copy()
    for plane, weight in zip(window[1:], weights[1:], strict=True):
        if weight:
            step = plane - anchor
            step *= weight
            result += step
    return result
