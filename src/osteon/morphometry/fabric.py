"""How bone is oriented: degree of anisotropy (DA) by mean intercept length.

The mean intercept length along a direction u is the length of bone that parallel test lines run
through, over the number of pieces they are cut into (Harrigan and Mann 1984, 10.1007/BF00540446).
Test lines along u meet the surface as often as the surface's projection along u is large, so
their number is the integral of |∇f · u| over the volume, with f the bone, slightly smoothed. That
is the limit of infinitely many lines, and needs no random numbers. 1/MIL² is fitted by an
ellipsoid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from osteon.morphometry.ridge import Mask, Spacing

#: Directions that mean intercept lengths are taken along.
DIRECTIONS = 500
#: Smoothing of bone, in voxels of the coarsest axis: its staircase has the directions of the grid.
SMOOTHING = 1.0
#: Gradients that are projected at a time.
_AT_A_TIME = 1 << 11
#: Parts of the steepest gradient below which there is no surface.
_FLAT = 1e-3


@dataclass(frozen=True)
class Fabric:
    """The mean intercept length ellipsoid.

    Attributes:
        axes: Mean intercept lengths along its axes, longest first, in the unit of the voxel size.
        directions: (3, 3) unit vectors (z, y, x) of those axes, as rows.
    """

    axes: tuple[float, float, float]
    directions: npt.NDArray[np.float64]

    @property
    def ratio(self) -> float:
        """DA as a ratio from 1: longest over shortest mean intercept length."""
        return self.axes[0] / self.axes[2]

    @property
    def degree(self) -> float:
        """DA from 0 (no direction preferred) to 1, as in BoneJ: 1 − (shortest / longest)²."""
        return 1 - (self.axes[2] / self.axes[0]) ** 2


def fabric(bone: Mask, spacing: Spacing, *, within: Mask | None = None) -> Fabric | None:
    """Fit the ellipsoid of mean intercept lengths.

    Memory: about 20 bytes a voxel.

    Args:
        bone: (z, y, x) bone; also outside of the volume of interest, so that its cut is no surface.
        spacing: Voxel size along (z, y, x).
        within: The volume of interest; None: all.

    Returns:
        The ellipsoid; None if there is too little surface, or none across some direction.
    """
    if min(bone.shape) < 2:
        return None
    sigma = [SMOOTHING * max(spacing) / s for s in spacing]
    smooth = ndimage.gaussian_filter(bone.astype(np.float32), sigma, mode="nearest")
    slopes = np.gradient(smooth, *spacing)
    steep = np.sqrt(sum(g**2 for g in slopes))
    surface = steep > _FLAT * steep.max(initial=0)
    if within is not None:
        surface &= within
    if not surface.any():
        return None
    gradients = np.stack([g[surface] for g in slopes], axis=1)
    directions = sphere_directions(DIRECTIONS)
    projecting = directions.astype(np.float32)
    crossings = np.zeros(len(directions))
    for i in range(0, len(gradients), _AT_A_TIME):
        # einsum stays in this thread: products as slim as these gain nothing from several, and
        # wait for each other where the machine is busy.
        part = np.einsum("ij,kj->ik", gradients[i : i + _AT_A_TIME], projecting)
        crossings += np.abs(part).sum(axis=0, dtype=np.float64)
    # Along a line bone begins as often as it ends: two crossings a piece.
    inside = bone if within is None else bone & within
    pieces = crossings / 2
    if not inside.any() or pieces.min() <= 0:
        return None
    return _fit(np.count_nonzero(inside) / pieces, directions)


def sphere_directions(number: int) -> npt.NDArray[np.float64]:
    """Spread directions evenly over the half sphere (golden spiral).

    Args:
        number: How many.

    Returns:
        (number, 3) unit vectors (z, y, x) with z > 0.
    """
    k = np.arange(number)
    z = 1 - (k + 0.5) / number
    angle = k * np.pi * (3 - np.sqrt(5))
    flat = np.sqrt(1 - z**2)
    return np.stack([z, flat * np.sin(angle), flat * np.cos(angle)], axis=1)


def _fit(lengths: npt.NDArray[np.float64], directions: npt.NDArray[np.float64]) -> Fabric | None:
    """Fit uᵀ M u = 1/MIL(u)² by least squares; the axes are 1/√eigenvalue of M."""
    z, y, x = directions.T
    terms = np.stack([z * z, y * y, x * x, 2 * z * y, 2 * z * x, 2 * y * x], axis=1)
    # Weighted by MIL² each direction has the same relative error; else short ones would rule.
    weights = lengths**2
    found = np.linalg.lstsq(terms * weights[:, np.newaxis], np.ones(len(lengths)), rcond=None)[0]
    zz, yy, xx, zy, zx, yx = found
    matrix = np.array([[zz, zy, zx], [zy, yy, yx], [zx, yx, xx]])
    values, vectors = np.linalg.eigh(matrix)
    if values[0] <= 0:
        return None  # not an ellipsoid: lines along one direction hardly leave the bone
    axes = 1 / np.sqrt(values)
    return Fabric((float(axes[0]), float(axes[1]), float(axes[2])), vectors.T)
