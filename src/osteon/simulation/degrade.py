"""Image-domain degradations: what a worse scanner or a harder specimen would have shown.

Every function is pure and seeded. It takes an image (y, x) or (z, y, x) of an unsigned integer
or floating type and returns a new array of the same shape and type. Integers are rounded and
kept within the range of their type, which clips as a scanner's 8-bit window does. The axis of
rotation of the scanner is z. Each function holds about 16 bytes a voxel beside its input.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from osteon.errors import UsageError
from osteon.simulation.randomness import generator

Image = npt.NDArray[Any]
Float32 = npt.NDArray[np.float32]

#: Gaussian kernels end at this many standard deviations.
TRUNCATE = 4.0
#: The highest cupping that makes sense: the centre would be black beyond it.
MAX_CUPPING = 0.95


def add_noise(image: Image, *, sd: float, seed: int, correlation: float = 0.0) -> Image:
    """Add Gaussian noise, as of a shorter exposure.

    Args:
        image: (y, x) or (z, y, x).
        sd: Standard deviation of the noise in grey values.
        seed: Seed of the noise.
        correlation: Standard deviation in voxels of the Gaussian that the noise is smoothed by
            (reconstruction filters correlate it over 1 to 3 voxels); ``sd`` is that after it.

    Returns:
        The noisy image.

    Raises:
        UsageError: If ``sd`` or ``correlation`` is negative, or the image is unfit.
    """
    _check(image)
    if sd < 0 or correlation < 0:
        raise UsageError(f"noise cannot be negative: sd {sd}, correlation {correlation} voxels")
    noise = correlated_noise(image.shape, generator(seed), correlation=correlation)
    return _like(image, image.astype(np.float32) + np.float32(sd) * noise)


def correlated_noise(
    shape: tuple[int, ...], rng: np.random.Generator, *, correlation: float
) -> Float32:
    """Draw Gaussian noise of mean 0 and standard deviation 1.

    Args:
        shape: (y, x) or (z, y, x).
        rng: The generator.
        correlation: Standard deviation in voxels of the smoothing; 0 is white noise.

    Returns:
        float32 array of ``shape``.
    """
    noise = rng.standard_normal(shape, dtype=np.float32)
    if correlation == 0:
        return noise
    # The gain of a linear filter on white noise is the norm of its kernel: exact, where measuring
    # it on the result would make the noise depend on the shape.
    size = 2 * int(TRUNCATE * correlation + 0.5) + 1
    unit = np.zeros(size)
    unit[size // 2] = 1.0
    kernel = ndimage.gaussian_filter1d(unit, correlation, truncate=TRUNCATE, mode="constant")
    gain = np.linalg.norm(kernel) ** len(shape)
    smooth = ndimage.gaussian_filter(noise, correlation, mode="wrap", truncate=TRUNCATE)
    return np.asarray(smooth / np.float32(gain), dtype=np.float32)


def add_cupping(
    image: Image,
    *,
    fraction: float,
    centre: tuple[float, float] | None = None,
    radius: float | None = None,
    black: float = 0.0,
) -> Image:
    """Darken the middle, as beam hardening does.

    The contrast to ``black`` is multiplied by ``1 - fraction * (1 - (r / radius)²)``, with r the
    distance from the axis of rotation; beyond ``radius`` nothing changes.

    Args:
        image: (y, x) or (z, y, x).
        fraction: How much darker the centre is than the rim, 0..0.95 (real scans: 0 to 0.33).
        centre: (y, x) of the axis of rotation in voxels; the middle of the image by default.
        radius: Radius of the rim in voxels; half the longer side (y, x) by default.
        black: Grey value of no attenuation (air).

    Returns:
        The cupped image.

    Raises:
        UsageError: If ``fraction`` is out of range or ``radius`` is not positive.
    """
    _check(image)
    if not 0 <= fraction <= MAX_CUPPING:
        raise UsageError(f"cupping must be 0 to {MAX_CUPPING}, not {fraction}")
    rim = max(image.shape[-2:]) / 2 if radius is None else radius
    if rim <= 0:
        raise UsageError(f"the radius of the cupping must be positive, not {rim} voxels")
    r = np.minimum(_radii(image, centre) / rim, 1.0)
    gain = (1 - fraction * (1 - r**2)).astype(np.float32)
    return _like(image, (image.astype(np.float32) - np.float32(black)) * gain + np.float32(black))


def add_rings(
    image: Image,
    *,
    sd: float,
    seed: int,
    width: float = 1.5,
    centre: tuple[float, float] | None = None,
) -> Image:
    """Add ring artefacts, as of detector pixels with a gain of their own.

    Args:
        image: (y, x) or (z, y, x); the rings are the same in all slices.
        sd: Standard deviation over the radii of the rings' grey values.
        seed: Seed of the rings.
        width: Standard deviation in voxels of a ring's profile.
        centre: (y, x) of the axis of rotation in voxels; the middle of the image by default.

    Returns:
        The image with rings.

    Raises:
        UsageError: If ``sd`` or ``width`` is negative.
    """
    _check(image)
    if sd < 0 or width < 0:
        raise UsageError(f"rings cannot be negative: sd {sd}, width {width} voxels")
    radii = _radii(image, centre)
    profile = correlated_noise((int(np.ceil(radii.max())) + 2,), generator(seed), correlation=width)
    rings = np.interp(radii.ravel(), np.arange(len(profile)), profile).reshape(radii.shape)
    return _like(image, image.astype(np.float32) + np.float32(sd) * rings.astype(np.float32))


def half_resolution(image: Image) -> Image:
    """Halve the resolution and keep the shape: means over 2 × 2 (× 2) voxels, then linear.

    Args:
        image: (y, x) or (z, y, x); axes of length 1 are left alone.

    Returns:
        The image as of a scan with voxels twice the size, resampled to the original grid.

    Raises:
        UsageError: If the image is unfit.
    """
    _check(image)
    values = image.astype(np.float32)
    for axis, n in enumerate(image.shape):
        if n > 1:
            values = _halve_along(values, axis)
    return _like(image, values)


def _halve_along(values: Float32, axis: int) -> Float32:
    """Average pairs along an axis and interpolate them linearly back to the grid."""
    n = values.shape[axis]
    moved = np.moveaxis(values, axis, 0)
    if n % 2:
        moved = np.concatenate([moved, moved[-1:]])
    pairs = (moved[0::2] + moved[1::2]) / 2
    # The mean of voxels 2i and 2i + 1 lies at 2i + 0.5.
    position = np.clip((np.arange(n) - 0.5) / 2, 0, len(pairs) - 1)
    low = np.minimum(position.astype(np.intp), max(len(pairs) - 2, 0))
    high = np.minimum(low + 1, len(pairs) - 1)
    weight = (position - low).astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
    back = pairs[low] * (1 - weight) + pairs[high] * weight
    return np.asarray(np.moveaxis(back, 0, axis), dtype=np.float32)


def lower_contrast(image: Image, *, factor: float, level: float | None = None) -> Image:
    """Pull all grey values towards one level, as a wide grey window does.

    Args:
        image: (y, x) or (z, y, x).
        factor: What is left of every difference from the level, 0..1.
        level: The grey value that stays; the mean of the image by default.

    Returns:
        The flatter image.

    Raises:
        UsageError: If ``factor`` is not within 0..1.
    """
    _check(image)
    if not 0 <= factor <= 1:
        raise UsageError(f"the contrast factor must be 0 to 1, not {factor}")
    fixed = np.float32(image.mean(dtype=np.float64) if level is None else level)
    return _like(image, (image.astype(np.float32) - fixed) * np.float32(factor) + fixed)


def _radii(image: Image, centre: tuple[float, float] | None) -> npt.NDArray[np.float64]:
    """Distances in voxels from the axis of rotation, (y, x)."""
    ny, nx = image.shape[-2:]
    cy, cx = ((ny - 1) / 2, (nx - 1) / 2) if centre is None else centre
    return np.hypot(np.arange(ny)[:, None] - cy, np.arange(nx)[None, :] - cx)


def _check(image: Image) -> None:
    if image.ndim not in (2, 3) or image.size == 0:
        raise UsageError(f"an image is (y, x) or (z, y, x) with voxels, not {image.shape}")
    if image.dtype.kind not in "uf":
        raise UsageError(f"an image must be of unsigned integers or floats, not {image.dtype}")


def _like(image: Image, values: Float32) -> Image:
    """Return ``values`` in the type of ``image``, rounded and clipped where that is integer."""
    if image.dtype.kind == "f":
        return values.astype(image.dtype)
    top = np.iinfo(image.dtype).max
    # np.clip at the top of uint32 would round up in float32, so the type's range is in float64.
    return np.clip(np.rint(values.astype(np.float64)), 0, top).astype(image.dtype)
