"""The rays of a scan: line integrals in a parallel beam or a fan, and a fan's way back.

The parallel beam at angle θ measures the lines x cos θ - y sin θ = s about the middle of the slice
(x along columns, y along rows), as scikit-image's ``radon`` does. A fan is made of a parallel beam
and turned back into one by interpolation between angles (resorting, Kak & Slaney 1988, section
3.4.3): the ray at γ within the fan of angle β is that of the parallel beam at β + γ and distance
s = D sin γ, with D the source's distance from the axis. The elements are equidistant in s
(approximate: those of a flat detector are equidistant in tan γ, 2 % apart at γ = 12°).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.transform import warp

from osteon.simulation.physics.scanner import HALF_TURN, TURN, ScannerSpec

Float32 = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]


def line_integrals(image: Float32, spec: ScannerSpec, *, elements: int) -> Floats:
    """Integrate a map along the rays of a scan.

    Args:
        image: Relative attenuation, float32 (y, x), with ``supersample`` voxels a voxel.
        spec: The scanner. The specimen moves as it says.
        elements: Detector elements, an odd number that covers the diagonal of the slice.

    Returns:
        Line integrals in voxels of the result, float64 (angle, fine element), ``supersample`` fine
        elements an element.
    """
    k = spec.supersample
    middle = (elements * k - 1) / 2
    s = np.arange(elements * k) - middle
    if spec.fan_deg:
        # A turn of the fan asks for all angles: as many as there are elements leave nothing out.
        half = max(spec.angles // 2, elements)
        theta = np.linspace(0, HALF_TURN, half, endpoint=False, dtype=np.float64)
        parallel = _parallel(image, theta, elements=elements, scale=k)
        parallel = np.concatenate([parallel, parallel[:, ::-1]])
        angle = spec.angles_deg[:, None] + _fan_deg(spec, elements * k)
        place = s - _displacement(angle, spec) + middle
        return _sample_turn(parallel, angle, place) / k
    parallel = _parallel(image, spec.angles_deg, elements=elements, scale=k)
    move = _displacement(spec.angles_deg[:, None], spec)
    for i in np.flatnonzero(move[:, 0]):
        parallel[i] = np.interp(s - move[i, 0], s, parallel[i])
    return parallel / k


def rebin_fan(sinogram: Floats, spec: ScannerSpec) -> tuple[Floats, Floats]:
    """Turn what a fan measured into a parallel beam over the turn.

    Args:
        sinogram: float64 (angle, element).
        spec: The scanner.

    Returns:
        The parallel beam's, in the same shape, and its angles in degrees.
    """
    angles = np.linspace(0, TURN, spec.angles, endpoint=False, dtype=np.float64)
    beta = angles[:, None] - _fan_deg(spec, sinogram.shape[1]) - spec.start_deg
    return _sample_turn(sinogram, beta, np.arange(sinogram.shape[1])), angles


def _parallel(image: Float32, angles_deg: Floats, *, elements: int, scale: int) -> Floats:
    """Project a map, parallel beam, (angle, fine element), in fine voxels."""
    n = elements * scale
    first = [scale * (elements // 2 - length // scale // 2) for length in image.shape]
    padded = np.zeros((n, n))
    padded[first[0] : first[0] + image.shape[0], first[1] : first[1] + image.shape[1]] = image
    out = np.empty((len(angles_deg), n))
    for i, angle in enumerate(np.deg2rad(angles_deg)):
        turn = _rotation(float(angle), (n - 1) / 2)
        out[i] = warp(padded, turn, order=1, clip=False).sum(axis=0)  # type: ignore[no-untyped-call]
    return out


def _rotation(angle: float, middle: float) -> Floats:
    """Return the map (x, y, 1) from a turned image to the image, about the middle of both."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array(
        [
            [cos, sin, middle * (1 - cos - sin)],
            [-sin, cos, middle * (1 - cos + sin)],
            [0.0, 0.0, 1.0],
        ]
    )


def _displacement(angle_deg: Floats, spec: ScannerSpec) -> Floats:
    """Return how far the specimen's shadow has moved, in fine elements, as ``angle_deg``."""
    dy, dx = (spec.supersample * d for d in spec.motion)
    theta = np.deg2rad(angle_deg)
    moved = np.arange(len(angle_deg)) >= spec.moved_at * len(angle_deg)
    shadow = dx * np.cos(theta) - dy * np.sin(theta)
    return np.asarray(np.where(moved[:, None], shadow, 0.0), dtype=np.float64)


def _fan_deg(spec: ScannerSpec, elements: int) -> Floats:
    """Return the angle in degrees of each element's ray within the fan."""
    s = np.linspace(-1, 1, elements)
    gamma = np.arcsin(s * np.sin(np.deg2rad(spec.fan_deg / 2)))
    return np.asarray(np.rad2deg(gamma), dtype=np.float64)


def _sample_turn(
    sinogram: Floats, angle_deg: Floats, element: npt.NDArray[np.floating | np.integer]
) -> Floats:
    """Interpolate linearly between the angles of a turn and elements; 0 beyond the elements."""
    around = np.concatenate([sinogram, sinogram[:1]])
    row = np.mod(angle_deg * (len(sinogram) / TURN), len(sinogram))
    place = np.stack([row, np.broadcast_to(element, row.shape)])
    return np.asarray(
        ndimage.map_coordinates(around, place, order=1, mode="constant"), dtype=np.float64
    )
