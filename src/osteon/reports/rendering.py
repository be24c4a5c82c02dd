"""A bone in space: a shaded picture of a surface, by casting parallel rays."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from osteon.reports.pictures import Colour, Picture

Share = npt.NDArray[np.float32]

#: Pixels along each side of a picture, and steps along each ray.
SIDE = 260

_AZIMUTH, _ELEVATION = math.radians(35), math.radians(25)
#: Towards the light: depth, down, right. From the upper left, in front.
_LIGHT = np.array([-0.75, -0.55, -0.37])
_AMBIENT = 0.28
_BONE: Colour = (232, 222, 204)
_PAPER = 255
_SMOOTH = 0.7  # voxels: takes the steps of the grid off the surface
_SURFACE = 0.5


def rendered(
    share: Share, *, spacing: tuple[float, float, float], marked: Share, colour: Colour
) -> Picture:
    """Draw the surface of a mask from above and aside, z upwards.

    Memory: 260³ single-precision numbers (about 70 MB), besides the mask.

    Args:
        share: float32 (z, y, x): part of each voxel that is the class, 0..1.
        spacing: Distance of the voxels along (z, y, x), in any unit.
        marked: Part of each voxel that is to be coloured, the same shape.
        colour: The colour.

    Returns:
        uint8 (SIDE, SIDE, 3), white where there is nothing.
    """
    # An edge of nothing all around: where the volume cuts a bone, the cut is closed.
    field = ndimage.gaussian_filter(np.pad(share, 2), _SMOOTH)
    matrix, offset = _view(field.shape, spacing)
    seen = ndimage.affine_transform(
        field, matrix, offset, output_shape=(SIDE,) * 3, order=1, output=np.float32
    )
    solid = seen > _SURFACE
    hit = solid.any(axis=0)
    picture = np.full((SIDE, SIDE, 3), _PAPER, np.uint8)
    if not hit.any():
        return picture
    depth = np.argmax(solid, axis=0)
    rows, columns = np.nonzero(hit)
    at = np.stack([depth[hit], rows, columns]).astype(np.float64)
    light = _shading(seen, at.astype(int))
    places = matrix @ at + offset[:, np.newaxis]
    tint = ndimage.map_coordinates(
        ndimage.gaussian_filter(np.pad(marked, 2), _SMOOTH), places, order=1
    )
    amount = np.clip(2 * tint, 0, 1)[:, np.newaxis]
    base = np.array(_BONE) * (1 - amount) + np.array(colour) * amount
    picture[hit] = np.clip(base * light[:, np.newaxis], 0, 255).astype(np.uint8)
    return picture


def _view(
    shape: tuple[int, ...], spacing: tuple[float, float, float]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the map from (depth, row, column) of the view to voxels of the field."""
    a, e = _AZIMUTH, _ELEVATION
    # Directions of the view in (z, y, x) of the scan; the picture's rows run downwards.
    right = np.array([0.0, -math.sin(a), math.cos(a)])
    forward = np.array([-math.sin(e), math.cos(a) * math.cos(e), math.sin(a) * math.cos(e)])
    down = np.cross(forward, right)
    if down[0] > 0:
        down = -down
    size = np.array(shape) * np.array(spacing)
    step = float(np.linalg.norm(size)) / SIDE
    axes = np.stack([forward, down, right], axis=1)
    matrix = axes * step / np.array(spacing)[:, np.newaxis]
    middle = (np.array(shape) - 1) / 2
    offset = middle - matrix @ np.full(3, (SIDE - 1) / 2)
    return matrix, offset


def _shading(seen: Share, at: npt.NDArray[np.int_]) -> npt.NDArray[np.float64]:
    """Lambert's law with the gradient of the field for a normal."""
    normal = []
    for axis in range(3):
        before, after = at.copy(), at.copy()
        before[axis] = np.maximum(at[axis] - 1, 0)
        after[axis] = np.minimum(at[axis] + 1, SIDE - 1)
        normal.append(seen[tuple(before)] - seen[tuple(after)])
    vectors = np.stack(normal).astype(np.float64)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=0), 1e-9)
    light = _LIGHT / np.linalg.norm(_LIGHT)
    return np.asarray(_AMBIENT + (1 - _AMBIENT) * np.clip(light @ vectors, 0, 1))
