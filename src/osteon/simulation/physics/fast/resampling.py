"""Resampling of slices as products with small matrices: faster than a general interpolation."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]


@lru_cache(maxsize=64)
def averaging(coarse: int, fine: int) -> Float32:
    """Return the matrix that averages an axis over cells of equal width.

    Args:
        coarse: Cells.
        fine: Voxels, at least ``coarse``.

    Returns:
        float32 (coarse, fine), rows of sum 1; shared, so not writeable.
    """
    edges = np.arange(coarse + 1) * (fine / coarse)
    voxel = np.arange(fine)
    shared = np.minimum(edges[1:, None], voxel + 1) - np.maximum(edges[:-1, None], voxel)
    return _frozen(np.maximum(shared, 0) * (coarse / fine))


@lru_cache(maxsize=64)
def interpolation(fine: int, coarse: int) -> Float32:
    """Return the matrix that interpolates an axis linearly between the centres of its cells.

    Args:
        fine: Voxels.
        coarse: Cells, at most ``fine``.

    Returns:
        float32 (fine, coarse), rows of sum 1; beyond the outer centres it is constant. Shared, so
        not writeable.
    """
    position = np.clip((np.arange(fine) + 0.5) * (coarse / fine) - 0.5, 0, coarse - 1)
    return _frozen(np.maximum(1 - np.abs(position[:, None] - np.arange(coarse)), 0))


def reduce(image: Float32, shape: tuple[int, int]) -> Float32:
    """Average an image over the cells of a coarser grid.

    Args:
        image: float32 (y, x).
        shape: The coarser shape (y, x).

    Returns:
        float32 of ``shape``.
    """
    rows, columns = averaging(shape[0], image.shape[0]), averaging(shape[1], image.shape[1])
    return np.asarray(rows @ image @ columns.T, dtype=np.float32)


def enlarge(image: Float32, shape: tuple[int, int]) -> Float32:
    """Interpolate an image linearly onto a finer grid.

    Args:
        image: float32 (y, x).
        shape: The finer shape (y, x).

    Returns:
        float32 of ``shape``.
    """
    rows = interpolation(shape[0], image.shape[0])
    columns = interpolation(shape[1], image.shape[1])
    return np.asarray(rows @ (image @ columns.T), dtype=np.float32)


def _frozen(matrix: npt.NDArray[np.float64]) -> Float32:
    out = matrix.astype(np.float32)
    out.setflags(write=False)
    return out
