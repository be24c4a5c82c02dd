"""Affine and elastic changes, composed and resampled once.

A voxel of the result at ``o`` shows the input at ``c + M (o + d(o) - c)``: ``c`` the middle of the
patch, ``M`` the affine matrix, ``d`` a cubic B-spline of displacements. ``d`` never folds, because
its control points move by less than 0.40 of their distance (Choi and Lee, "Injectivity conditions
of 2D and 3D uniform cubic B-spline functions", Graphical Models 62, 2000: 0.48 in 2D, 0.40 in 3D).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from osteon.augment.base import Image, Labels, note
from osteon.augment.grids import SPLINE_EXTRA, spline_taps
from osteon.labels import IGNORE

Float32 = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]

#: Mice and men, and scans of one bone at two zooms, differ by about this much in trabecular width.
SCALE = (0.7, 1.4)
SHEAR = 0.1
#: Bones are mounted upright to within about this angle.
MAX_TILT = math.radians(15)
#: A tilt moves the sides of a block along z by at most this part of its depth, or little is left.
TILT_SHARE = 0.25
#: Cells of control points across a patch, first and last.
CELLS = (3, 6)
#: Displacement of control points at most, as a part of their distance. The spline smooths: voxels
#: move by a quarter of it (root mean square), by up to 0.8 of it.
ELASTIC = (0.05, 0.25)
NO_FOLD = 0.40


def draw_affine(
    rng: np.random.Generator, shape: tuple[int, ...], *, strength: float, isotropic: bool
) -> Matrix:
    """Draw rotation, scale and shear.

    In the slice: rotation by any angle, one scale in 0.7..1.4 (log-uniform), shear up to 0.1.
    In 3D with isotropic voxels z is scaled alike, and the block is tilted about y and x.

    Args:
        rng: The generator.
        shape: ([z,] y, x) of the patch.
        strength: Scales the logarithm of the scale, the shear and the tilt; below 1 the angle too.
        isotropic: Whether z may be mixed with y and x.

    Returns:
        Matrix that takes a place in the result to one in the input, from the middle.
    """
    angle = math.pi * float(rng.uniform(-1, 1)) * min(strength, 1.0)
    scale = math.exp(strength * float(rng.uniform(math.log(SCALE[0]), math.log(SCALE[1]))))
    shear = strength * float(rng.uniform(-SHEAR, SHEAR))
    note(f"rotated {math.degrees(angle):.0f}°, scaled × {scale:.2f}")
    cos, sin = math.cos(angle), math.sin(angle)
    turn, slant = np.array([[cos, -sin], [sin, cos]]), np.array([[1.0, 0.0], [shear, 1.0]])
    plane: Matrix = turn @ slant / scale
    if len(shape) == 2:
        return plane
    matrix = np.eye(3)
    matrix[1:, 1:] = plane
    if isotropic:
        matrix[0, 0] = 1 / scale
        limit = min(MAX_TILT * strength, math.atan(2 * TILT_SHARE * shape[0] / max(shape[1:])))
        for axis in (1, 2):
            matrix = matrix @ _tilt(axis, float(rng.uniform(-limit, limit)))
    return matrix


def _tilt(axis: int, angle: float) -> Matrix:
    """Return the rotation in the plane of z and the given axis."""
    matrix = np.eye(3)
    cos, sin = math.cos(angle), math.sin(angle)
    matrix[0, 0] = matrix[axis, axis] = cos
    matrix[0, axis], matrix[axis, 0] = -sin, sin
    return matrix


def draw_displacement(
    rng: np.random.Generator, shape: tuple[int, ...], *, strength: float, isotropic: bool
) -> Float32:
    """Draw a smooth field of displacements that does not fold.

    Args:
        rng: The generator.
        shape: ([z,] y, x) of the patch.
        strength: Scales the displacements, up to the limit of folding.
        isotropic: Whether voxels may move along z.

    Returns:
        float32 (axis, [z,] y, x), in voxels.
    """
    spacing = max(shape[-2:]) / int(rng.integers(CELLS[0], CELLS[1] + 1))
    share = min(strength * float(rng.uniform(*ELASTIC)), NO_FOLD)
    cells = [max(1, math.ceil(n / spacing)) for n in shape]
    # Cells are a little smaller than the spacing where it does not divide the side.
    reach = share * min(n / k for n, k in zip(shape, cells, strict=True) if n > 1)
    control = rng.random((len(shape), *(k + SPLINE_EXTRA for k in cells)), dtype=np.float32)
    field: Float32 = (2 * control - 1) * np.float32(reach)
    if len(shape) == 3 and not isotropic:
        field[0] = 0
    for axis in range(-len(shape), 0):
        field = spline_taps(shape[axis], cells[axis]).along(field, axis)
    note(f"bent by up to {np.abs(field).max():.1f} px")
    return field


def places(shape: tuple[int, ...], matrix: Matrix | None, displacement: Float32 | None) -> Float32:
    """Return where in the input each voxel of the result is taken from.

    Args:
        shape: ([z,] y, x) of the patch.
        matrix: Of :func:`draw_affine`, or None.
        displacement: Of :func:`draw_displacement`, or None.

    Returns:
        float32 (axis, [z,] y, x), in voxels.
    """
    n = len(shape)
    # From the middle, so that float32 keeps its digits for the fractions.
    middle = [np.float32((size - 1) / 2) for size in shape]
    axes = np.ix_(*(np.arange(s, dtype=np.float32) - m for s, m in zip(shape, middle, strict=True)))
    moved: list[Float32] = [
        axes[i] if displacement is None else axes[i] + displacement[i] for i in range(n)
    ]
    out = np.empty((n, *shape), np.float32)
    for i in range(n):
        row = np.eye(n)[i] if matrix is None else matrix[i]
        out[i] = middle[i]
        for j in range(n):
            if row[j]:
                out[i] += np.float32(row[j]) * moved[j]
    return out


def resample(image: Image, labels: Labels, where: Float32) -> tuple[Image, Labels]:
    """Take image and labels from the given places.

    Args:
        image: (channel, [z,] y, x), float32; interpolated linearly, mirrored at its edges.
        labels: ([z,] y, x), uint8; the nearest voxel's, 255 outside of the patch.
        where: Of :func:`places`; the same for all channels.

    Returns:
        New image and labels.
    """
    out = np.empty_like(image, order="C")
    for channel, target in zip(image, out, strict=True):
        ndimage.map_coordinates(
            channel, where, output=target, order=1, mode="reflect", prefilter=False
        )
    return out, _nearest(labels, where)


def _nearest(labels: Labels, where: Float32) -> Labels:
    flat = np.zeros(labels.shape, np.int32)
    outside = np.zeros(labels.shape, np.bool_)
    for size, place in zip(labels.shape, where, strict=True):
        index = np.rint(place).astype(np.int32)
        # One comparison for both ends: a negative number is huge when read as unsigned.
        outside |= index.view(np.uint32) >= size
        flat *= size
        flat += index
    out: Labels = np.ascontiguousarray(labels).ravel().take(flat, mode="clip")
    out[outside] = IGNORE
    return out
