"""The image-domain scanner that stands for a projecting one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from osteon.simulation.physics.fast import FastScannerSpec
from osteon.simulation.physics.fast.resampling import reduce
from osteon.simulation.physics.fast.sinogram import CELLS, project
from osteon.simulation.physics.scanner import ScannerSpec

Float32 = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

#: Windows of scikit-image's filters over the frequency in 1/element, beside the ramp.
WINDOWS: dict[str, Callable[[Floats], Floats]] = {
    "ramp": np.ones_like,
    "shepp-logan": np.sinc,
    "cosine": lambda f: np.cos(np.pi * f),
    "hamming": lambda f: 0.54 + 0.46 * np.cos(2 * np.pi * f),
    "hann": lambda f: 0.5 + 0.5 * np.cos(2 * np.pi * f),
}
#: Variance in voxels² of linear interpolation, a triangle.
TRIANGLE = 1 / 6


def match_fast_scanner(attenuation: Float32, spec: ScannerSpec) -> FastScannerSpec:
    """Work out blur, noise and cupping of a projecting scanner, for the image-domain one.

    Blur: the variances of the point spread, of the filter's window and of the interpolations (of
    the turned fine map, and of filtered projections) add up. Noise: Kak & Slaney 1988, eq. 5.54,
    with the photons left along the rays through the slice's circle; its spectrum is apodised by
    window and interpolation alone. Cupping: L / (1 + c L) meets what is measured of bone of the
    length L at the slice's typical one. What the image domain does not know (arc, fan, motion,
    axis, truncation, rings) is left out.

    Args:
        attenuation: The slice, float32 (y, x), relative attenuation.
        spec: The projecting scanner.

    Returns:
        The image-domain scanner.
    """
    lines = _lines(attenuation)
    window = WINDOWS[spec.filter]
    little = np.array([1e-3])
    # A window falls as 1 - 2 π² σ² f² near 0, as the transform of a Gaussian does.
    filter_variance = float(1 - window(little)[0]) / (2 * np.pi**2 * 1e-6)
    apodisation = TRIANGLE + filter_variance
    blur = np.sqrt(spec.blur**2 + apodisation + TRIANGLE / spec.supersample**2)
    return FastScannerSpec(
        blur=float(blur),
        noise=_noise(lines, spec, window),
        noise_correlation=float(np.sqrt(apodisation)),
        cupping=_cupping(lines, spec, max(attenuation.shape)),
    )


def _lines(attenuation: Float32) -> Floats:
    """Project a slice on the coarse grid, in voxels, (angle, bin)."""
    ny, nx = attenuation.shape
    scale = min(CELLS / max(ny, nx), 1.0)
    shape = (max(round(ny * scale), 1), max(round(nx * scale), 1))
    lines = project(reduce(attenuation, shape)).astype(np.float64)
    return np.asarray(lines * (max(ny, nx) / max(shape)), dtype=np.float64)


def _cupping(lines: Floats, spec: ScannerSpec, size: int) -> float:
    """Return the cupping of the reference disk: 8/π c R with R half the size (``add_cupping``)."""
    if not lines.any():
        return 0.0
    typical = float((lines**2).sum() / lines.sum())
    spectrum = spec.spectrum
    left = spectrum.weights * np.exp(-spectrum.relative["bone"] * spec.bone_per_voxel * typical)
    measured = -float(np.log(left.sum())) / spec.bone_per_voxel
    # A single energy hardens nothing, but for the last bit.
    return max(8 / np.pi * (1 / measured - 1 / typical) * size / 2, 0.0)


def _noise(lines: Floats, spec: ScannerSpec, window: Callable[[Floats], Floats]) -> float:
    """Return the noise's standard deviation, as the root of its mean variance over the slice."""
    if spec.photons is None:
        return 0.0
    # Every voxel of the slice's circle is seen at every angle: on average, by the circle's rays.
    middle, radius = lines.shape[1] // 2, CELLS // 2
    half = np.minimum(np.abs(np.arange(lines.shape[1]) - middle) / radius, 1)
    chord = np.sqrt(1 - half**2)
    through = float((np.exp(lines * spec.bone_per_voxel) * chord).sum() / chord.sum()) / len(lines)
    # The ramp of discrete projections repeats itself about every integer frequency, and the
    # interpolation's transform, sinc², lets some of that through.
    f = np.linspace(0, 4, 4001)
    folded = f - np.rint(f)
    power = 2 * np.trapezoid((folded * window(folded)) ** 2 * np.sinc(f) ** 4, f)
    variance = np.pi**2 / spec.angles * power * through / spec.photons
    return float(np.sqrt(variance)) / spec.bone_per_voxel
