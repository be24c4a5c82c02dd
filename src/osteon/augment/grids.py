"""Sparse linear maps along one axis: upsampling by cubic B-splines, change of resolution.

Each output is a weighted sum of a few neighbouring inputs. They are summed tap by tap and not as
a matrix product: BLAS may divide a product among threads, and then the last bits of a patch
would depend on how many there are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]

#: Control points that a cubic B-spline has more than cells.
SPLINE_EXTRA = 3


@dataclass(frozen=True, eq=False)
class Taps:
    """A linear map of ``n`` inputs to ``m`` outputs.

    Attributes:
        index: Inputs that an output is made of, (t, m).
        weight: Their weights, (t, m), float32; those of an output sum to 1.
    """

    index: npt.NDArray[np.intp]
    weight: Float32

    def along(self, values: Float32, axis: int) -> Float32:
        """Apply the map along an axis.

        Args:
            values: float32, any shape; ``n`` long along ``axis``.
            axis: The axis, counted from the last (negative).

        Returns:
            float32; ``m`` long along ``axis``.
        """
        ones = (1,) * (-axis - 1)
        out: Float32 | None = None
        for index, weight in zip(self.index, self.weight, strict=True):
            part = np.take(values, index, axis=axis)
            part *= weight.reshape(-1, *ones)
            out = part if out is None else np.add(out, part, out=out)
        if out is None:
            raise ValueError("a map needs at least one tap")
        return out


@lru_cache(maxsize=64)
def spline_taps(size: int, cells: int) -> Taps:
    """Return the values of a uniform cubic B-spline at the middles of pixels.

    Args:
        size: Pixels along the axis.
        cells: Cells of control points along it.

    Returns:
        The map from ``cells + SPLINE_EXTRA`` control points to ``size`` pixels.
    """
    position = (np.arange(size) + 0.5) * cells / size
    first = np.minimum(position.astype(np.intp), cells - 1)
    t = position - first
    weight = np.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    )
    return Taps(first + np.arange(4)[:, np.newaxis], (weight / 6).astype(np.float32))


@lru_cache(maxsize=64)
def mean_taps(size: int, fewer: int) -> Taps:
    """Return the map that averages ``size`` pixels into ``fewer`` larger ones.

    Args:
        size: Pixels along the axis.
        fewer: Larger pixels, at most ``size``.

    Returns:
        The map; a pixel between two larger ones counts for each by its share.
    """
    factor = size / fewer
    begin = np.arange(fewer) * factor
    index = begin.astype(np.intp) + np.arange(math.ceil(factor) + 1)[:, np.newaxis]
    share = np.minimum(index + 1, begin + factor) - np.maximum(index, begin)
    weight = np.maximum(share, 0) / factor
    return Taps(np.minimum(index, size - 1), weight.astype(np.float32))


@lru_cache(maxsize=64)
def linear_taps(fewer: int, size: int) -> Taps:
    """Return the map that interpolates ``fewer`` large pixels linearly at ``size`` small ones.

    Args:
        fewer: Large pixels along the axis.
        size: Small pixels over the same length.

    Returns:
        The map; beyond the middle of the outermost large pixel its value stays.
    """
    position = np.clip((np.arange(size) + 0.5) * fewer / size - 0.5, 0, fewer - 1)
    low = np.minimum(position.astype(np.intp), max(fewer - 2, 0))
    t = position - low
    index = np.stack([low, np.minimum(low + 1, fewer - 1)])
    return Taps(index, np.stack([1 - t, t]).astype(np.float32))
