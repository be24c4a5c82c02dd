"""Changes of grey values: what another scanner, exposure or export would have shown.

Every function takes an image (channel, [z,] y, x), float32, that it may change in place, and
returns one of the same shape and type. Sizes are in units of the normalised values
(:class:`Scale`); on the vertebrae of docs/results.md the step from air to bone is 2.4 units.
The ranges enclose the degradations that the results are scored on (noise 0.5–0.75 units, rings
0.2–0.3, cupping 0.33, half the resolution).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from osteon.augment.base import Image, note
from osteon.augment.grids import linear_taps, mean_taps

Float32 = npt.NDArray[np.float32]

GAMMA = (0.7, 1.5)
#: Darkening of the middle. Real scans: 0 to a third; corrected too far, it is brighter.
CUPPING, MOST_CUPPING = (-0.1, 0.35), 0.7
#: Distance from axis to rim, in sides of the patch; the axis lies at most so far from its middle.
CUPPING_RADIUS, AXIS_RANGE = (0.5, 2.0), 1.0
#: Gaussian PSF of about a voxel: focal spot, detector, reconstruction filter.
BLUR = (0.3, 1.2)
#: How many times larger the voxels of the worse scan are.
COARSER = (1.2, 2.5)
#: 0.75 is 0.3 of the step from air to bone, beyond which trabeculae drown.
NOISE = (0.05, 0.75)
#: Reconstruction filters correlate noise over 1 to 3 voxels; half of the time it is white.
NOISE_CORRELATION, WHITE_SHARE = (0.4, 1.2), 0.5
RINGS, RINGS_WIDTH = (0.05, 0.35), (0.6, 2.0)
SHARPEN, SHARPEN_SIGMA = (0.3, 1.0), (0.7, 1.5)
CONTRAST = (0.65, 1.5)
BRIGHTNESS = 0.4

#: Gaussian kernels end at this many standard deviations.
TRUNCATE = 3.0
#: Samples of a ring's profile to a voxel: finer than a voxel, so that rings are not jagged.
RING_SAMPLES = 4
#: A min–max scale has its whole range where a z-score has about so many standard deviations.
MINMAX_SDS = 5.0
#: Air in units of a z-score; between -1 and -2, depending on how much of it is in view.
AIR = -1.5


@dataclass(frozen=True)
class Scale:
    """What the changes need to know of the patch.

    Attributes:
        unit: One standard deviation of the scan, in normalised values.
        air: Value of air.
        middle: Value that contrast leaves alone.
        strength: Scales the size of every change.
        isotropic: Whether blur, noise and resolution concern z as they do y and x (3D only).
    """

    unit: float
    air: float
    middle: float
    strength: float
    isotropic: bool

    @classmethod
    def of(cls, clip: tuple[float, float], *, strength: float, isotropic: bool) -> Scale:
        """Tell it from the range of the normalisation recipe: min–max scales begin at 0."""
        low, high = clip
        if low < 0:
            return cls(1.0, AIR, 0.0, strength, isotropic)
        return cls((high - low) / MINMAX_SDS, low, (low + high) / 2, strength, isotropic)

    def axes(self, image: Image) -> tuple[int, ...]:
        """Axes that blur, noise and resolution concern; never the channels."""
        if image.ndim == 4 and self.isotropic:
            return (-3, -2, -1)
        return (-2, -1)

    def size(self, rng: np.random.Generator, bounds: tuple[float, float]) -> float:
        """Draw a size within bounds, times the strength."""
        return self.strength * float(rng.uniform(*bounds))

    def factor(self, rng: np.random.Generator, bounds: tuple[float, float]) -> float:
        """Draw a factor log-uniformly within bounds, to the power of the strength."""
        return math.exp(self.size(rng, (math.log(bounds[0]), math.log(bounds[1]))))


def gamma(image: Image, rng: np.random.Generator, scale: Scale) -> Image:
    """Bend the grey values between the smallest and the largest, which stay."""
    power = scale.factor(rng, GAMMA)
    low, high = image.min(), image.max()
    if not high > low:
        return image
    note(f"gamma {power:.2f}")
    image -= low
    image /= high - low
    np.power(image, np.float32(power), out=image)
    image *= high - low
    image += low
    return image


def cupping(image: Image, rng: np.random.Generator, scale: Scale) -> Image:
    """Darken towards an axis in or beside the patch, as beam hardening does.

    The contrast to air is multiplied by ``1 - f (1 - min(r / R, 1)²)``, as in
    :func:`osteon.simulation.degrade.add_cupping`.
    """
    fraction = min(scale.size(rng, CUPPING), MOST_CUPPING)
    side = max(image.shape[-2:])
    squared = _squared_distance(image, rng)
    radius = side * float(rng.uniform(*CUPPING_RADIUS))
    note(f"cupping {100 * fraction:.0f} %")
    gain = np.minimum(squared / np.float32(radius**2), np.float32(1))
    gain -= 1
    gain *= np.float32(fraction)
    gain += 1
    image -= np.float32(scale.air)
    image *= gain
    image += np.float32(scale.air)
    return image


def blur(image: Image, rng: np.random.Generator, scale: Scale) -> Image:
    """Blur by a Gaussian."""
    sigma = scale.size(rng, BLUR)
    note(f"blur {sigma:.1f} px")
    return _gaussian(image, sigma, scale)


def coarser(image: Image, rng: np.random.Generator, scale: Scale) -> Image:
    """Average to larger voxels and interpolate back: a scan of lower resolution."""
    times = 1 + scale.strength * (float(rng.uniform(*COARSER)) - 1)
    note(f"voxels × {times:.1f}")
    sizes = {axis: image.shape[axis] for axis in scale.axes(image)}
    fewer = {axis: max(1, round(n / times)) for axis, n in sizes.items()}
    for axis, n in sizes.items():
        image = mean_taps(n, fewer[axis]).along(image, axis)
    for axis, n in sizes.items():
        image = linear_taps(fewer[axis], n).along(image, axis)
    return image


def noise(image: Image, rng: np.random.Generator, scale: Scale) -> Image:
    """Add Gaussian noise, white or correlated; slices of 2.5D have noise of one kind."""
    sd = scale.size(rng, NOISE) * scale.unit
    white = rng.random() < WHITE_SHARE
    correlation = 0.0 if white else float(rng.uniform(*NOISE_CORRELATION))
    note(f"noise {sd:.2f}" + ("" if white else f" over {correlation:.1f} px"))
    added = rng.standard_normal(image.shape, dtype=np.float32)
    if not white:
        # Mirrored edges would double the noise there; wrapped ones leave it as it is.
        added = _gaussian(added, correlation, scale, mode="wrap")
        sd /= _gain(correlation) ** len(scale.axes(image))
    added *= np.float32(sd)
    image += added
    return image


def rings(image: Image, rng: np.random.Generator, scale: Scale) -> Image:
    """Add rings about an axis in or beside the patch; the same in all slices."""
    sd = scale.size(rng, RINGS) * scale.unit
    width = float(rng.uniform(*RINGS_WIDTH))
    radius = np.sqrt(_squared_distance(image, rng))
    first = int(radius.min())
    sigma = width * RING_SAMPLES
    samples = RING_SAMPLES * (int(radius.max()) - first + 2)
    profile = rng.standard_normal(samples, dtype=np.float32)
    profile = ndimage.gaussian_filter1d(profile, sigma, mode="wrap", truncate=TRUNCATE)
    profile *= np.float32(sd / _gain(sigma))
    note(f"rings {sd:.2f}")
    radius -= first
    radius *= RING_SAMPLES
    image += profile[radius.astype(np.int32)]
    return image


def sharpen(image: Image, rng: np.random.Generator, scale: Scale) -> Image:
    """Add what a blur takes away, as sharp reconstruction filters do."""
    amount = scale.size(rng, SHARPEN)
    sigma = float(rng.uniform(*SHARPEN_SIGMA))
    note(f"sharpened × {amount:.1f}")
    detail = image - _gaussian(image, sigma, scale)
    detail *= np.float32(amount)
    image += detail
    return image


def contrast(image: Image, rng: np.random.Generator, scale: Scale) -> Image:
    """Stretch or squeeze the grey values about the middle of their range."""
    times = scale.factor(rng, CONTRAST)
    note(f"contrast × {times:.2f}")
    image -= np.float32(scale.middle)
    image *= np.float32(times)
    image += np.float32(scale.middle)
    return image


def brightness(image: Image, rng: np.random.Generator, scale: Scale) -> Image:
    """Shift the grey values."""
    shift = scale.size(rng, (-BRIGHTNESS, BRIGHTNESS)) * scale.unit
    note(f"brightness {shift:+.2f}")
    image += np.float32(shift)
    return image


def _squared_distance(image: Image, rng: np.random.Generator) -> Float32:
    """Squared distances (y, x), in voxels, from an axis of rotation that is drawn."""
    reach = AXIS_RANGE * max(image.shape[-2:])
    height, width = image.shape[-2:]
    y = np.arange(height, dtype=np.float32) - np.float32(height / 2 + rng.uniform(-reach, reach))
    x = np.arange(width, dtype=np.float32) - np.float32(width / 2 + rng.uniform(-reach, reach))
    squared: Float32 = (y**2)[:, np.newaxis] + x**2
    return squared


def _gaussian(image: Image, sigma: float, scale: Scale, *, mode: str = "reflect") -> Image:
    out: Image = ndimage.gaussian_filter(
        image, sigma, mode=mode, truncate=TRUNCATE, axes=scale.axes(image)
    )
    return out


def _gain(sigma: float) -> float:
    """Standard deviation of white noise of 1 after a Gaussian along one axis."""
    size = 2 * int(TRUNCATE * sigma + 0.5) + 1
    unit = np.zeros(size)
    unit[size // 2] = 1
    kernel = ndimage.gaussian_filter1d(unit, sigma, mode="constant", truncate=TRUNCATE)
    return float(np.sqrt(np.sum(kernel**2)))
