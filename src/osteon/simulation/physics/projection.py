"""A slice by projection and reconstruction: the reference for the image-domain scanner.

Line integrals come from scikit-image's rotation (as its ``radon`` does it), the image from its
``iradon``. Attenuation is relative: 0 is air, 1 a thin layer of cortical bone in the same beam.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.transform import iradon

from osteon.errors import UsageError
from osteon.simulation.physics.rays import line_integrals, rebin_fan
from osteon.simulation.physics.scanner import FILTERS, HALF_TURN, ScannerSpec, draw_scanner

__all__ = [
    "FILTERS",
    "ScannerSpec",
    "detect",
    "draw_gains",
    "draw_scanner",
    "line_integrals",
    "reconstruct",
    "scan_slice",
    "scan_volume",
    "transmit",
]

Float32 = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

#: Detector elements are at least this sensitive, relative to the mean.
MIN_GAIN = 0.1


def scan_slice(
    materials: Mapping[str, Float32],
    spec: ScannerSpec,
    rng: np.random.Generator,
    *,
    gains: Floats | None = None,
) -> Float32:
    """Scan and reconstruct a slice.

    Args:
        materials: For each material (``bone``, ``water``, ``plastic``, ``metal``, ``aluminium``)
            its relative attenuation, float32 (y, x), all of one shape; their sum is the slice. With
            ``supersample`` n the shape is n times that of the result.
        spec: The scanner.
        rng: The generator of gains and photons.
        gains: Gains of the detector's elements as of :func:`draw_gains`; None draws them.

    Returns:
        Relative attenuation, float32 (y, x); where no detector saw it, 0. It holds about 8 bytes
        times the angles and the diagonal, times the materials.

    Raises:
        UsageError: If the maps are unfit or a material is unknown.
    """
    shape = _shape(materials, spec)
    side = _side(shape)
    lines = {
        name: line_integrals(image, spec, elements=side)
        for name, image in materials.items()
        if image.any()
    }
    columns = side * spec.supersample
    intensity = transmit(lines, spec, columns=columns)
    if gains is None:
        gains = draw_gains(shape, spec, rng)
    return reconstruct(detect(intensity, spec, rng, gains=gains), spec, shape=shape)


def scan_volume(
    slices: Iterable[Mapping[str, Float32]], spec: ScannerSpec, rng: np.random.Generator
) -> Iterator[Float32]:
    """Scan and reconstruct slices one by one, with the same detector: rings go through all.

    Args:
        slices: The materials of each slice, as of :func:`scan_slice`, all of one shape.
        spec: The scanner.
        rng: The generator.

    Yields:
        Slices as of :func:`scan_slice`; one is held at a time.

    Raises:
        UsageError: If the maps are unfit or a material is unknown.
    """
    gains: Floats | None = None
    for materials in slices:
        if gains is None:
            gains = draw_gains(_shape(materials, spec), spec, rng)
        yield scan_slice(materials, spec, rng, gains=gains)


def draw_gains(shape: tuple[int, int], spec: ScannerSpec, rng: np.random.Generator) -> Floats:
    """Draw the gains that the detector's elements have beside what the scanner takes them for.

    Args:
        shape: (y, x) of the reconstructed slice.
        spec: The scanner.
        rng: The generator.

    Returns:
        Gains about 1, (element,).
    """
    return np.maximum(rng.normal(1.0, spec.gain_sd, _side(shape)), MIN_GAIN)


def transmit(lines: Mapping[str, Floats], spec: ScannerSpec, *, columns: int) -> Floats:
    """Send the beam through: what of the signal is left, energy by energy.

    Args:
        lines: Line integrals of each material, (angle, fine element).
        spec: The scanner.
        columns: Fine elements, for a scan of nothing.

    Returns:
        Share of the signal, 0..1, float64 (angle, fine element).

    Raises:
        UsageError: If a material is unknown.
    """
    spectrum = spec.spectrum
    for name in lines:
        if name not in spectrum.relative:
            raise UsageError(
                f"the spectrum of '{name}' is not known",
                mend=f"use one of: {', '.join(spectrum.relative)}",
            )
    intensity = np.zeros((spec.angles, columns))
    for i, weight in enumerate(spectrum.weights):
        exponent = np.zeros_like(intensity)
        for name, p in lines.items():
            exponent -= p * (spectrum.relative[name][i] * spec.bone_per_voxel)
        intensity += weight * np.exp(exponent)
    return intensity


def detect(
    intensity: Floats, spec: ScannerSpec, rng: np.random.Generator, *, gains: Floats
) -> Floats:
    """Measure: point spread, elements, gains, photons, logarithm, the edge of the detector.

    The photons of an integrating detector are counted as if all had one energy (approximate).

    Args:
        intensity: As of :func:`transmit`, (angle, fine element).
        spec: The scanner.
        rng: The generator of the photons.
        gains: As of :func:`draw_gains`, (element,).

    Returns:
        Measured line integrals over those of a voxel of bone, float64 (angle, element); 0 beyond
        the detector.
    """
    k = spec.supersample
    if spec.blur > 0:
        intensity = ndimage.gaussian_filter1d(intensity, spec.blur * k, axis=1, mode="nearest")
    signal = intensity.reshape(intensity.shape[0], -1, k).mean(axis=2) * gains
    least = float(np.finfo(np.float64).tiny)
    if spec.photons is not None:
        # An element that no photon reached is read as one: a logarithm needs something.
        signal = rng.poisson(signal * spec.photons) / spec.photons
        least = 1 / spec.photons
    p = -np.log(np.maximum(signal, least)) / spec.bone_per_voxel
    return np.asarray(p, dtype=np.float64)


def reconstruct(sinogram: Floats, spec: ScannerSpec, *, shape: tuple[int, int]) -> Float32:
    """Reconstruct by filtered backprojection.

    Args:
        sinogram: As of :func:`detect`, (angle, element).
        spec: The scanner.
        shape: (y, x) of the result.

    Returns:
        Relative attenuation, float32 (y, x).
    """
    side = sinogram.shape[1]
    seen = np.ones(side, dtype=bool)
    if spec.detector is not None:
        seen = np.abs(np.arange(side) - side // 2) <= spec.detector * min(shape) / 2
    p = np.where(seen, sinogram, 0.0)
    if spec.offset:
        p = ndimage.shift(p, (0, spec.offset), order=1)
    angles = spec.angles_deg
    if spec.fan_deg:
        p, angles = rebin_fan(p, spec)
    # iradon spreads half a turn over the angles there are; a shorter arc has less to give.
    share = min(spec.arc_deg / HALF_TURN, 1.0)
    size = 2 * (max(shape) // 2) + 1
    image = share * iradon(  # type: ignore[no-untyped-call]
        p.T, angles, output_size=size, filter_name=spec.filter, circle=False
    )
    first = [size // 2 - n // 2 for n in shape]
    image = image[first[0] : first[0] + shape[0], first[1] : first[1] + shape[1]]
    if spec.detector is not None:
        y, x = (np.arange(n) - n // 2 for n in shape)
        r = np.hypot(y[:, None], x[None, :])
        image = np.where(r <= spec.detector * min(shape) / 2, image, 0.0)
    return np.asarray(image, dtype=np.float32)


def _shape(materials: Mapping[str, Float32], spec: ScannerSpec) -> tuple[int, int]:
    """Check the maps of a slice and return the shape (y, x) of its reconstruction."""
    shapes = {image.shape for image in materials.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise UsageError(f"a slice needs maps (y, x) of one shape, not {sorted(shapes)}")
    ny, nx = next(iter(shapes))
    k = spec.supersample
    if ny % k or nx % k or min(ny, nx) == 0:
        raise UsageError(
            f"maps of {ny} x {nx} voxels cannot be supersampled {k} times",
            mend=f"make height and width multiples of {k}",
        )
    return ny // k, nx // k


def _side(shape: tuple[int, int]) -> int:
    """Return the detector's elements: an odd number that covers the diagonal, with a margin."""
    return 2 * (int(np.hypot(*shape)) // 2 + 2) + 1
