"""The coarse grid over a slice or scan, and the way there and back; geometry alone, without torch.

Coarse and fine grid share their outer corner: coarse voxel i covers the voxels from i * factor to
(i + 1) * factor along an axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]
Real = TypeVar("Real", np.float32, np.float64)


def coarse_grid(shape: Sequence[int], longest: int) -> tuple[float, tuple[int, ...]]:
    """Lay the coarse grid over a slice.

    Args:
        shape: (y, x) of the slice, in pixels.
        longest: Longest side of the coarse grid, in pixels.

    Returns:
        Size of a coarse pixel in pixels, from 1, the same along both axes; and (y, x) of the grid.
    """
    factor = max(1.0, max(shape) / longest)
    return factor, tuple(coarse_length(n, factor) for n in shape)


def coarse_length(n: int, factor: float) -> int:
    """Return how many coarse voxels lie along an axis: ``n / factor``, rounded, at least 1."""
    return max(1, math.floor(n / factor + 0.5))


def averaging(n: int, *, size: int, factor: float) -> Float:
    """Return the matrix that averages an axis down by area.

    Args:
        n: Voxels along the axis.
        size: Coarse voxels along it.
        factor: Size of a coarse voxel, from 1.

    Returns:
        (size, n) weights; each row sums to 1.
    """
    low = np.minimum(np.arange(size) * factor, n - 1)[:, np.newaxis]
    high = np.minimum((np.arange(size) + 1) * factor, n)[:, np.newaxis]
    voxel = np.arange(n)
    weights = np.clip(np.minimum(voxel + 1, high) - np.maximum(voxel, low), 0, None)
    scaled: Float = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return scaled


def between(n: int, *, size: int, factor: float) -> tuple[npt.NDArray[np.intp], Float]:
    """Say between which coarse voxels each voxel of an axis lies.

    Args:
        n: Voxels along the axis.
        size: Coarse voxels along it.
        factor: Size of a coarse voxel.

    Returns:
        (n,) the coarse voxel before each, and (n,) how far, 0 to 1, it is on the way to the next;
        beyond the outermost centres the outermost value holds.
    """
    at = np.clip((np.arange(n) + 0.5) / factor - 0.5, 0, size - 1)
    first = np.minimum(np.floor(at).astype(np.intp), max(0, size - 2))
    return first, (at - first).astype(np.float32)


class InPlane:
    """From the pixels of a slice to those of the coarse grid, and back.

    Args:
        axes: Length, coarse length and factor of both axes.
    """

    def __init__(self, axes: Sequence[tuple[int, int, float]]):
        self._whole = all(factor == 1 for _, _, factor in axes)
        self._averages = [averaging(n, size=size, factor=factor) for n, size, factor in axes]
        self._places = [between(n, size=size, factor=factor) for n, size, factor in axes]

    def reduce(self, image: Float) -> Float:
        """Average a slice (y, x) down."""
        if self._whole:
            return image
        rows, columns = self._averages
        return np.asarray(rows @ image @ columns.T, dtype=np.float32)

    def enlarge(self, values: npt.NDArray[Real]) -> npt.NDArray[Real]:
        """Bring values on the grid back to the pixels, linearly."""
        if self._whole:
            return values
        for axis, (first, way) in enumerate(self._places):
            after = np.minimum(first + 1, values.shape[axis] - 1)
            low, high = values.take(first, axis), values.take(after, axis)
            high -= low
            high *= way[:, np.newaxis] if axis == 0 else way
            values = low + high
        return values


def add_slice(small: npt.NDArray[np.floating], plane: Float, weights: Float) -> None:
    """Add a reduced slice to those coarse slices that it lies in.

    Args:
        small: The coarse volume (z, y, x), which is added to.
        plane: The slice on the coarse grid (y, x).
        weights: Its share of each coarse slice (z,); see :func:`averaging`.
    """
    for i in np.flatnonzero(weights):
        small[i] += weights[i] * plane
