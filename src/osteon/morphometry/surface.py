"""Bone surface (BS) by marching cubes, as in BoneJ, a slab at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from skimage import measure as skimage_measure

from osteon.morphometry.ridge import Mask, Spacing

#: Slices that are triangulated at a time.
SLAB = 16
#: Halfway between bone (1) and not bone (0).
_LEVEL = 0.5
#: scikit-image does not say its types.
_marching_cubes: Any = skimage_measure.marching_cubes


def surface_area(bone: Mask, spacing: Spacing, *, within: Mask | None = None) -> float:
    """Measure the area of the bone's surface (Lorensen and Cline 1987, 10.1145/37401.37422).

    Where the volume of interest or the image cuts bone there is no surface. The staircase of
    voxels makes it too large, by 8 to 10 % on curved surfaces, as in every program that
    triangulates labels. Memory: a slab of 16 slices and its triangles.

    Args:
        bone: (z, y, x) bone; also outside of the volume of interest.
        spacing: Voxel size along (z, y, x).
        within: The volume of interest; None: all.

    Returns:
        The area in the unit of the voxel size, squared.
    """
    area = 0.0
    if min(bone.shape) < 2:
        return area
    for z in range(0, bone.shape[0] - 1, SLAB):
        # Cubes lie between slices: slabs share one slice and no cube.
        block = bone[z : z + SLAB + 1]
        if block.all() or not block.any():
            continue
        values = block.astype(np.float32)
        corners, triangles, _, _ = _marching_cubes(values, _LEVEL, spacing=spacing)
        points = corners[triangles].astype(np.float64)
        sides = points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]
        areas = np.linalg.norm(np.cross(*sides), axis=1) / 2
        if within is not None:
            middle = points.mean(axis=1) / spacing
            at = np.rint(middle).astype(np.intp)
            at[:, 0] += z
            areas = areas[within[at[:, 0], at[:, 1], at[:, 2]]]
        area += float(areas.sum())
    return area
