"""Local thickness by maximal spheres: Tb.Th, Tb.Sp, Ct.Th.

The local thickness of a structure at a voxel is the diameter of the largest sphere that covers
the voxel and lies within the structure (Hildebrand and Rüegsegger 1997,
10.1046/j.1365-2818.1997.1340694.x). On voxels this follows BoneJ (Dougherty and Kunzelmann 2007,
10.1017/S1431927607074430): radii are distances between the centres of a voxel and of the nearest
voxel of the background, edges of the image are not background, voxels at the surface of what the
spheres paint get the mean of their inner neighbours, and the background is cut away.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import edt
import numpy as np
import numpy.typing as npt

from osteon.morphometry.painting import paint
from osteon.morphometry.ridge import ROUNDING, Mask, Spacing, distance_ridge

Map = npt.NDArray[np.float32]
#: Diameter of a maximal sphere in radii.
_DIAMETER = 2.0


@dataclass(frozen=True)
class Thickness:
    """The distribution of a thickness map over voxels.

    Attributes:
        mean: Mean over voxels, in the unit of the voxel size; NaN if there are none.
        sd: Standard deviation over voxels.
        largest: The largest.
        voxels: Number of voxels.
    """

    mean: float
    sd: float
    largest: float
    voxels: int

    @classmethod
    def of(cls, values: npt.NDArray[np.floating]) -> Thickness:
        """Summarise the thickness of some voxels.

        Args:
            values: Thickness of each voxel, in any shape.
        """
        if values.size == 0:
            return cls(float("nan"), float("nan"), float("nan"), 0)
        mean = float(values.mean(dtype=np.float64))
        sd = float(values.std(dtype=np.float64))
        return cls(mean, sd, float(values.max()), int(values.size))


def squared_distance(mask: Mask, spacing: Spacing) -> Map:
    """Return the squared distance of each voxel to the nearest of the background.

    Args:
        mask: (z, y, x) the structure; edges of the image are not background.
        spacing: Voxel size along (z, y, x).

    Returns:
        float32 (z, y, x), between centres of voxels; infinite where there is no background.
    """
    found: Map = edt.edtsq(
        np.ascontiguousarray(mask), anisotropy=spacing, black_border=False, parallel=_cores()
    )
    return found


def _cores() -> int:
    """Return how many cores this process may use; distances do not depend on it."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def local_thickness(
    mask: Mask,
    spacing: Spacing = (1.0, 1.0, 1.0),
    *,
    clean: bool = True,
    squared: Map | None = None,
) -> Map:
    """Map the local thickness of a structure, as BoneJ defines it.

    Exact: the largest of all inscribed spheres, not of some radii. Memory: about 30 bytes a voxel.
    A structure one voxel wide has the thickness 2, and widths of an odd number of voxels come out
    one voxel larger: that is BoneJ's definition.

    Args:
        mask: (z, y, x) the structure.
        spacing: Voxel size along (z, y, x); the unit of the result. May differ between axes.
        clean: Average voxels at the surface of what the spheres painted, as BoneJ does.
        squared: What :func:`squared_distance` gave for the mask, where it is known already.

    Returns:
        float32 (z, y, x): the thickness, 0 outside the structure.

    Raises:
        ValueError: If the mask fills the image: no sphere is the largest then.
    """
    if not mask.any():
        return np.zeros(mask.shape, np.float32)
    if mask.all():
        raise ValueError("the structure fills the image: it has no thickness")
    squared = squared_distance(mask, spacing) if squared is None else squared
    spheres = distance_ridge(squared, spacing, threads=_cores())
    classes = paint(spheres, threads=_cores())
    radii = np.concatenate([[0.0], np.sqrt(spheres.squared)])
    values: Map = (_DIAMETER * radii).astype(np.float32)[classes]
    if clean:
        _clean_surface(values, mask)
    values[~mask] = 0
    return values


def _clean_surface(values: Map, mask: Mask) -> None:
    """Give painted voxels beside unpainted ones the mean of their inner neighbours, in place."""
    border = _grown(values == 0)  # nothing is known beyond the edge: it is not unpainted
    surface = border & mask
    inner = ~border  # what is painted all around
    total = _box_sums(np.where(inner, values, np.float32(0)))
    count = _box_sums(inner.astype(np.uint8))
    at = np.flatnonzero(surface & (count > 0))
    values.reshape(-1)[at] = total.reshape(-1)[at] / count.reshape(-1)[at]


def _box_sums(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Sum over a voxel and its 26 neighbours, 0 beyond the edge."""
    for axis in range(3):
        sums = values.copy()
        low, high = _ends(axis)
        sums[low] += values[high]
        sums[high] += values[low]
        values = sums
    return values


def _ends(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return all but the last, and all but the first, along an axis."""
    low = tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))
    high = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
    return low, high


def _grown(mask: Mask) -> Mask:
    """Return the voxels that are in a mask or among the 26 neighbours of one that is."""
    for axis in range(3):
        grown = mask.copy()
        low, high = _ends(axis)
        grown[low] |= mask[high]
        grown[high] |= mask[low]
        mask = grown
    return mask


def mid_axes(mask: Mask, spacing: Spacing) -> Mask:
    """Return the mid-axes and mid-surfaces of a structure.

    A voxel is on them if no sphere that covers it is larger than its own.

    Args:
        mask: (z, y, x) the structure.
        spacing: Voxel size along (z, y, x).

    Returns:
        bool (z, y, x).
    """
    if not mask.any() or mask.all():
        return np.zeros_like(mask)
    squared = squared_distance(mask, spacing)
    covering = local_thickness(mask, spacing, clean=False, squared=squared)
    own = _DIAMETER * np.sqrt(squared)
    # Float32 rounding apart, a sphere is as large as itself.
    same: Mask = mask & (own >= covering * (1 - ROUNDING))
    for axis in range(3):
        _thin_pairs(same, axis)
    return same


def _thin_pairs(mask: Mask, axis: int) -> None:
    """Leave one of two voxels that lie beside each other along an axis, in place.

    The middle of a plate that is an even number of voxels wide lies between two layers; both
    would make the space between mid-surfaces a voxel too narrow.
    """
    lines = np.moveaxis(mask, axis, 0)
    padded = np.pad(lines, ((2, 2), (0, 0), (0, 0)))
    before, here, beside, after = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    pair = ~before & here & beside & ~after
    lines &= ~pair[: lines.shape[0]]
