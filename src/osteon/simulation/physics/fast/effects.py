"""Artefacts of a scanner, put into a slice directly.

Every function takes a float32 slice (y, x) of relative attenuation (0 air, 1 cortical bone) and
returns a new one; every parameter is explicit. Places are (y, x) in voxels.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from osteon.errors import UsageError
from osteon.simulation.physics.fast.resampling import enlarge, reduce

Float32 = npt.NDArray[np.float32]

#: Gaussian kernels end at this many standard deviations.
TRUNCATE = 4.0
#: Samples of a ring profile in a voxel: finer than any ring, so the nearest one will do.
RING_SAMPLES = 4
MIN_RING_WIDTH = 0.3
#: Rings are not made stronger within this many voxels of the axis, where 1 / √r diverges.
RING_CORE = 4.0
#: Width of the bright rim of truncated projections, relative to the radius squared.
RIM_WIDTH = 0.1


def blur(image: Float32, *, sigma: float) -> Float32:
    """Blur by a Gaussian.

    Args:
        image: float32 (y, x).
        sigma: Standard deviation in voxels, 0 or more.

    Returns:
        float32 (y, x); the edge is continued as a mirror would.

    Raises:
        UsageError: If ``sigma`` is negative.
    """
    _not_negative("blur", sigma)
    out = ndimage.gaussian_filter(image, sigma, truncate=TRUNCATE)
    return np.asarray(out, dtype=np.float32)


def enhance_edges(image: Float32, *, amount: float, sigma: float) -> Float32:
    """Sharpen, as an unsharp filter does or phase contrast at a short distance.

    Args:
        image: float32 (y, x).
        amount: How much of the difference from the blurred image is added, 0 or more.
        sigma: Standard deviation in voxels of that blur.

    Returns:
        float32 (y, x); edges have a dark and a bright fringe.

    Raises:
        UsageError: If ``amount`` or ``sigma`` is negative.
    """
    _not_negative("edge enhancement", amount)
    return image + np.float32(amount) * (image - blur(image, sigma=sigma))


def lose_resolution(image: Float32, *, factor: float) -> Float32:
    """Average over larger voxels and interpolate linearly back to the grid.

    Args:
        image: float32 (y, x).
        factor: Width of the larger voxels in voxels, 1 or more; each axis is cut into a whole
            number of them, so the factor is met to within half a large voxel a side.

    Returns:
        float32 (y, x).

    Raises:
        UsageError: If ``factor`` is below 1.
    """
    if factor < 1:
        raise UsageError(f"a loss of resolution has a factor of 1 or more, not {factor}")
    ny, nx = image.shape
    return enlarge(
        reduce(image, (max(round(ny / factor), 1), max(round(nx / factor), 1))), (ny, nx)
    )


@lru_cache(maxsize=8)
def _frequencies_squared(shape: tuple[int, int]) -> Float32:
    """Squared spatial frequencies in 1/voxel² of a real transform, (y, x // 2 + 1)."""
    fy, fx = fft.fftfreq(shape[0]), fft.rfftfreq(shape[1])
    return np.asarray(fy[:, None] ** 2 + fx[None, :] ** 2, dtype=np.float32)


def reconstruction_noise(
    shape: tuple[int, int], rng: np.random.Generator, *, correlation: float
) -> Float32:
    """Draw noise of mean 0 and standard deviation 1 with the texture of filtered backprojection.

    White noise of the projections is multiplied by the ramp |f| and spread over the plane with a
    density of 1 / |f|, so its power goes as |f| times the square of the apodisation (Riederer,
    Pelc & Chesler 1978, Phys. Med. Biol. 23:446): none at low frequencies, unlike smoothed white
    noise. The apodisation here is Gaussian.

    Args:
        shape: (y, x).
        rng: The generator.
        correlation: Standard deviation in voxels of the apodising Gaussian; 0 is the bare ramp.

    Returns:
        float32 of ``shape``; it repeats itself beyond its edges.

    Raises:
        UsageError: If ``correlation`` is negative.
    """
    _not_negative("correlation of the noise", correlation)
    squared = _frequencies_squared(shape)
    power = np.sqrt(squared) * np.exp(np.float32(-((2 * np.pi * correlation) ** 2)) * squared)
    # Columns of a real transform stand for two, but the first (and the last of an even length).
    twice = np.full(power.shape[1], 2.0, dtype=np.float32)
    twice[0] = 1
    if shape[1] % 2 == 0:
        twice[-1] = 1
    mean_power = float((power @ twice).sum(dtype=np.float64)) / (shape[0] * shape[1])
    if mean_power == 0:
        raise UsageError(f"noise needs more than one voxel, not a slice of {shape}")
    white = fft.rfft2(rng.standard_normal(shape, dtype=np.float32))
    white *= np.sqrt(power / np.float32(mean_power))
    return np.asarray(fft.irfft2(white, s=shape), dtype=np.float32)


def add_noise(
    image: Float32, rng: np.random.Generator, *, sd: float, correlation: float
) -> Float32:
    """Add noise of filtered backprojection.

    Args:
        image: float32 (y, x).
        rng: The generator.
        sd: Standard deviation, in attenuation.
        correlation: See :func:`reconstruction_noise`.

    Returns:
        float32 (y, x).

    Raises:
        UsageError: If ``sd`` or ``correlation`` is negative.
    """
    _not_negative("noise", sd)
    noise = reconstruction_noise((image.shape[0], image.shape[1]), rng, correlation=correlation)
    noise *= np.float32(sd)
    noise += image
    return noise


def add_rings(
    image: Float32,
    rng: np.random.Generator,
    *,
    sd: float,
    width: float,
    centre: tuple[float, float],
    half: bool = False,
) -> Float32:
    """Add ring artefacts, as of detector columns with a gain of their own.

    A column's error is constant along a ring and falls with the ring's radius as 1 / √r: the
    filtered error touches a circle of radius r over an arc that shrinks so.

    Args:
        image: float32 (y, x).
        rng: The generator of the columns' errors.
        sd: Root mean square of the rings over the slice, in attenuation.
        width: Standard deviation in voxels of a ring's profile, 0.3 or more.
        centre: (y, x) of the axis of rotation in voxels; it may lie outside the slice.
        half: Half rings, as of a scan over half a turn, where each half comes from another column.

    Returns:
        float32 (y, x).

    Raises:
        UsageError: If ``sd`` is negative or ``width`` below 0.3.
    """
    _not_negative("rings", sd)
    if width < MIN_RING_WIDTH:
        raise UsageError(f"rings must be {MIN_RING_WIDTH} voxels wide or more, not {width}")
    radii = _radii((image.shape[0], image.shape[1]), centre)
    nearest = float(radii.min())
    index = ((radii - np.float32(nearest)) * np.float32(RING_SAMPLES)).astype(np.int32)
    n = int(index.max()) + 1
    sigma = width * RING_SAMPLES
    profile = _smooth_line(rng, 2 * n if half else n, sigma=sigma)
    weight = 1 / np.sqrt(np.maximum(nearest + np.arange(n) / RING_SAMPLES, RING_CORE))
    counts = np.bincount(index.ravel(), minlength=n)
    weight *= sd / np.sqrt((counts * weight**2).sum() / counts.sum())
    profile *= np.tile(weight, 2) if half else weight
    if half:
        index[np.arange(image.shape[0]) < centre[0]] += n
    return image + profile.astype(np.float32).take(index)


def _smooth_line(rng: np.random.Generator, n: int, *, sigma: float) -> npt.NDArray[np.float64]:
    """Smooth white noise along a line to standard deviation 1, (n,)."""
    white = rng.standard_normal(n)
    unit = np.zeros(2 * int(TRUNCATE * sigma + 0.5) + 1)
    unit[len(unit) // 2] = 1
    # The gain of a linear filter on white noise is the norm of its kernel.
    gain = np.linalg.norm(ndimage.gaussian_filter1d(unit, sigma, truncate=TRUNCATE))
    smooth = ndimage.gaussian_filter1d(white, sigma, truncate=TRUNCATE, mode="wrap")
    return np.asarray(smooth / gain, dtype=np.float64)


def shade(image: Float32, *, slope: tuple[float, float]) -> Float32:
    """Multiply by a plane, as of an uneven beam or detector.

    Args:
        image: float32 (y, x).
        slope: Change of the gain from the first to the last row and column; it is 1 in the middle.

    Returns:
        float32 (y, x).
    """
    y, x = (
        np.linspace(-s / 2, s / 2, n, dtype=np.float32)
        for s, n in zip(slope, image.shape, strict=True)
    )
    return image * (1 + y[:, None] + x[None, :])


def double(image: Float32, *, shift: tuple[float, float], share: float) -> Float32:
    """Show a part of the scan displaced, as of a specimen that moved once.

    Args:
        image: float32 (y, x).
        shift: Displacement (y, x) in voxels, interpolated linearly; edges are continued.
        share: Share of the scan after the move, 0..1.

    Returns:
        float32 (y, x).

    Raises:
        UsageError: If ``share`` is not within 0..1.
    """
    if not 0 <= share <= 1:
        raise UsageError(f"the share of the scan after a move must be 0 to 1, not {share}")
    moved = image
    for axis, distance in enumerate(shift):
        whole = int(np.floor(distance))
        part = np.float32(distance - whole)
        place = np.arange(image.shape[axis]) - whole
        near = moved.take(np.clip(place, 0, image.shape[axis] - 1), axis=axis)
        far = moved.take(np.clip(place - 1, 0, image.shape[axis] - 1), axis=axis)
        moved = near + part * (far - near)
    return image + np.float32(share) * (moved - image)


def brighten_rim(
    image: Float32, *, amount: float, centre: tuple[float, float], radius: float
) -> Float32:
    """Brighten towards the rim of the field of view, as truncated projections do.

    The cut at the detector's edge is a step to the ramp filter; backprojected, it adds about
    1 / √(1 - (r / radius)²), which is bounded here by the width of the detector's last columns.

    Args:
        image: float32 (y, x).
        amount: Brightening at the rim, in attenuation; 0 in the centre.
        centre: (y, x) of the field of view in voxels.
        radius: Its radius in voxels, positive; beyond it nothing changes.

    Returns:
        float32 (y, x).

    Raises:
        UsageError: If ``radius`` is not positive.
    """
    if radius <= 0:
        raise UsageError(f"a field of view has a positive radius, not {radius} voxels")
    ny, nx = image.shape
    y = ((np.arange(ny) - centre[0]) / radius).astype(np.float32)
    x = ((np.arange(nx) - centre[1]) / radius).astype(np.float32)
    inner = 1 - (y * y)[:, None] - (x * x)[None, :]
    low = 1 / np.sqrt(1 + RIM_WIDTH)
    top = 1 / np.sqrt(RIM_WIDTH) - low
    rise = 1 / np.sqrt(np.maximum(inner, 0) + np.float32(RIM_WIDTH)) - np.float32(low)
    rise *= np.float32(amount / top)
    return image + np.where(inner >= 0, rise, np.float32(0))


def gamma(image: Float32, *, exponent: float, black: float, white: float) -> Float32:
    """Bend the grey scale between two levels, which stay; below the lower one nothing changes.

    Args:
        image: float32 (y, x).
        exponent: Power that the share of the way from ``black`` to ``white`` is raised to.
        black: The lower level, in attenuation.
        white: The upper level.

    Returns:
        float32 (y, x).

    Raises:
        UsageError: If ``exponent`` is not positive or the levels do not ascend.
    """
    if exponent <= 0 or black >= white:
        raise UsageError(
            f"gamma needs a positive exponent and ascending levels, not {exponent}, "
            f"{black} to {white}"
        )
    span = np.float32(white - black)
    share = (image - np.float32(black)) / span
    bent = np.power(np.maximum(share, 0), np.float32(exponent))
    return np.where(share > 0, np.float32(black) + span * bent, image)


def _radii(shape: tuple[int, int], centre: tuple[float, float]) -> Float32:
    """Distances in voxels from a centre, (y, x)."""
    y = (np.arange(shape[0]) - centre[0]).astype(np.float32)
    x = (np.arange(shape[1]) - centre[1]).astype(np.float32)
    return np.sqrt((y * y)[:, None] + (x * x)[None, :])


def _not_negative(name: str, value: float) -> None:
    if value < 0:
        raise UsageError(f"the {name} cannot be negative, got {value}")
