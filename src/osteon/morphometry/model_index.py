"""Structure model index (SMI): how rod-like or plate-like bone is.

SMI = 6 V S' / S², with S' the growth of the surface S as it is moved outwards (Hildebrand and
Rüegsegger 1997, 10.1080/01495739708936692): 0 for plates, 3 for rods, 4 for spheres. Concave
surface counts negative, so that dense bone seems plate-like whatever its shape (Salmon et al. 2015,
10.3389/fendo.2015.00162): it is measured only where it is asked for.

The surface is the mesh of marching cubes, as in BoneJ, but of bone slightly smoothed as for DA: the
staircase of voxels has curvature of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage import measure as skimage_measure

from osteon.morphometry.fabric import SMOOTHING
from osteon.morphometry.ridge import Mask, Spacing

#: How far the surface is moved to either side, over the finest side of a voxel.
_STEP = 0.01
#: Halfway between bone (1) and not bone (0).
_LEVEL = 0.5
_FACTOR = 6.0
#: scikit-image does not say its types.
_marching_cubes: Any = skimage_measure.marching_cubes
_Points = npt.NDArray[np.float64]


def structure_model_index(
    bone: Mask, spacing: Spacing, *, within: Mask | None = None
) -> float | None:
    """Measure SMI. Memory: about 30 bytes a voxel, and the mesh.

    Args:
        bone: (z, y, x) bone; also outside of the volume of interest, so that its cut is no surface.
        spacing: Voxel size along (z, y, x).
        within: The volume of interest; None: all.

    Returns:
        The index; None if there is too little bone, or no surface.
    """
    if min(bone.shape) < 2:
        return None
    sigma = [SMOOTHING * max(spacing) / s for s in spacing]
    smooth = ndimage.gaussian_filter(bone.astype(np.float32), sigma, mode="nearest")
    if not smooth.min() < _LEVEL < smooth.max():
        return None
    # A voxel more on all sides, so that the mesh reaches to the edges of the outermost voxels and
    # not only to their centres; what lies beyond is left out again.
    padded = np.pad(smooth, 1, mode="edge")
    corners, triangles, _, _ = _marching_cubes(padded, _LEVEL, spacing=spacing)
    middle = np.rint(corners[triangles].mean(axis=1) / spacing).astype(np.intp) - 1
    kept = np.all((middle >= 0) & (middle < bone.shape), axis=1)
    solid = smooth >= _LEVEL
    if within is not None:
        solid &= within
        kept[kept] = within[tuple(middle[kept].T)]
    triangles = triangles[kept]
    if len(triangles) == 0 or not solid.any():
        return None
    corners = corners.astype(np.float64)
    outward = _outward(padded, corners, spacing)
    step = _STEP * min(spacing)
    growth = (
        _area(corners + step * outward, triangles) - _area(corners - step * outward, triangles)
    ) / (2 * step)
    volume = np.count_nonzero(solid) * float(np.prod(spacing))
    return _FACTOR * volume * growth / _area(corners, triangles) ** 2


def _outward(smooth: npt.NDArray[np.float32], corners: _Points, spacing: Spacing) -> _Points:
    """Unit vectors from bone outwards at the corners of the mesh."""
    at = (corners / spacing).T
    slopes = np.stack(
        [
            ndimage.map_coordinates(slope, at, order=1, mode="nearest")
            for slope in np.gradient(smooth, *spacing)
        ],
        axis=1,
    ).astype(np.float64)
    length = np.linalg.norm(slopes, axis=1, keepdims=True)
    return np.where(length > 0, -slopes / np.where(length > 0, length, 1), 0.0)


def _area(corners: _Points, triangles: npt.NDArray[np.integer[Any]]) -> float:
    points = corners[triangles]
    sides = points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]
    return float(np.linalg.norm(np.cross(*sides), axis=1).sum() / 2)
