"""Cupping and streaks from the mass that is there, by projections on a coarse grid.

Beam hardening makes a measured line integral p too small, the more so the larger p is:
p / (1 + c p), to first order p - c p². The reconstruction is linear, so it lacks the filtered
backprojection of what the projections lack. That error is smooth: a grid of 48 cells along the
longer side shows it, and costs a millisecond or two. What is finer than the grid changes p by
little, so it keeps of its contrast the slope 1 / (1 + c p)², on average over the rays through it.
(Herman 1979, Phys. Med. Biol. 24:81, gives the polynomial model of hardening.)
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage, sparse

from osteon.errors import UsageError
from osteon.simulation.physics.fast.resampling import enlarge, reduce

Float32 = npt.NDArray[np.float32]

#: Cells of the coarse grid along the longer side of a slice.
CELLS = 48
#: Projections over half a turn; the cells of a side times pi / 2 would sample all of it.
ANGLES = 72
#: Standard deviation in cells of what a reconstruction on the grid blurs by: the Hann window, of
#: variance 1/2, and the spreading of cells over bins on the way there and back, 1/6 each.
GRID_BLUR = (1 / 2 + 2 / 6) ** 0.5


def add_cupping(attenuation: Float32, *, fraction: float) -> Float32:
    """Add beam hardening's cupping, from the mass along each ray.

    A disc of radius R and attenuation m has the projections 2 m √(R² - s²). Hardening lacks c p²
    there, and the hemisphere √(R² - r²) has the projections π/2 (R² - s²): the disc comes out as
    m - (8/π) c m² √(R² - r²), dark in the middle and right at the rim. ``fraction`` is that
    darkening at the centre for a disc of cortical bone as wide as the slice's longer side, to
    first order in ``fraction``; less bone gives less. Between bones it gives dark bands.

    Args:
        attenuation: float32 (y, x); 0 air, 1 cortical bone.
        fraction: Darkening of the reference disc, 0 or more (real scans: 0 to 0.33).

    Returns:
        float32 (y, x).

    Raises:
        UsageError: If ``fraction`` is negative.
    """
    if fraction < 0:
        raise UsageError(f"cupping cannot be negative, got {fraction}")
    return attenuation + _hardening_error(attenuation, fraction)


def add_streaks(attenuation: Float32, *, strength: float, threshold: float) -> Float32:
    """Add the dark bands and bright streaks between dense things.

    It is the hardening of :func:`add_cupping` for what is denser than a threshold alone: rays that
    pass several dense parts lack more than the sum of what each lacks.

    Args:
        attenuation: float32 (y, x); 0 air, 1 cortical bone.
        strength: As ``fraction`` of :func:`add_cupping`, 0 or more; 0.5 is strong.
        threshold: Attenuation above which something is dense.

    Returns:
        float32 (y, x).

    Raises:
        UsageError: If ``strength`` is negative.
    """
    if strength < 0:
        raise UsageError(f"streaks cannot be negative, got {strength}")
    dense = np.where(attenuation > np.float32(threshold), attenuation, np.float32(0))
    return attenuation + _hardening_error(dense, strength)


def _hardening_error(attenuation: Float32, fraction: float) -> Float32:
    """Return what hardening adds to a reconstruction (a negative error, mostly), (y, x)."""
    ny, nx = attenuation.shape
    scale = min(CELLS / max(ny, nx), 1.0)
    shape = (max(round(ny * scale), 1), max(round(nx * scale), 1))
    coarse = reduce(attenuation, shape)
    p = project(coarse)
    np.maximum(p, 0, out=p)
    c = np.float32(fraction * np.pi / 8 / (max(shape) / 2))
    left = np.asarray(1 / (1 + c * p), dtype=np.float32)
    slope = unfiltered(left * left, shape) / np.float32(ANGLES) - 1
    error = enlarge(slope, (ny, nx))
    # What the reconstruction of the error is too blurred to show counts as detail.
    error *= attenuation - enlarge(ndimage.gaussian_filter(coarse, GRID_BLUR), (ny, nx))
    error += enlarge(backproject(p * (left - 1), shape), (ny, nx))
    return error


@lru_cache(maxsize=8)
def _system(shape: tuple[int, int]) -> tuple[sparse.csr_matrix, sparse.csr_matrix, int]:
    """Return the projection of a grid, its transpose, and the bins of the detector.

    A cell's value goes to the two bins nearest to its centre's shadow, by linear weights; the
    transpose therefore interpolates linearly.
    """
    ny, nx = shape
    bins = 2 * (int(np.hypot(ny, nx)) // 2 + 2) + 1
    y, x = np.mgrid[:ny, :nx] - np.array([(ny - 1) / 2, (nx - 1) / 2]).reshape(2, 1, 1)
    angle = np.arange(ANGLES) * (np.pi / ANGLES)
    s = np.cos(angle)[:, None] * x.ravel() + np.sin(angle)[:, None] * y.ravel() + bins // 2
    low = np.floor(s).astype(np.int32)
    upper = (s - low).astype(np.float32)
    row = np.arange(ANGLES, dtype=np.int32)[:, None] * bins + low
    cell = np.broadcast_to(np.arange(ny * nx, dtype=np.int32), s.shape)
    matrix = sparse.coo_matrix(
        (
            np.concatenate([(1 - upper).ravel(), upper.ravel()]),
            (
                np.concatenate([row.ravel(), row.ravel() + 1]),
                np.concatenate([cell.ravel(), cell.ravel()]),
            ),
        ),
        shape=(ANGLES * bins, ny * nx),
    )
    return matrix.tocsr(), matrix.T.tocsr(), bins


def project(image: Float32) -> Float32:
    """Project an image over half a turn, parallel beam.

    Args:
        image: float32 (y, x).

    Returns:
        Line integrals in units of a cell, float32 (angle, bin).
    """
    matrix, _, bins = _system((image.shape[0], image.shape[1]))
    return np.asarray(matrix @ image.ravel(), dtype=np.float32).reshape(ANGLES, bins)


def backproject(sinogram: Float32, shape: tuple[int, int]) -> Float32:
    """Reconstruct by filtered backprojection.

    Args:
        sinogram: What :func:`project` gave for ``shape``.
        shape: (y, x) of the image.

    Returns:
        float32 (y, x).
    """
    bins = sinogram.shape[1]
    ramp, padded = _ramp(bins)
    filtered = fft.irfft(fft.rfft(sinogram, n=padded, axis=1) * ramp, n=padded, axis=1)[:, :bins]
    return unfiltered(filtered, shape) * np.float32(np.pi / ANGLES)


def unfiltered(sinogram: Float32, shape: tuple[int, int]) -> Float32:
    """Sum over the angles what each voxel's rays have, without a filter.

    Args:
        sinogram: As of :func:`project`.
        shape: (y, x) of the image.

    Returns:
        float32 (y, x).
    """
    _, transposed, _ = _system(shape)
    image = transposed @ np.ascontiguousarray(sinogram).ravel()
    return np.asarray(image, dtype=np.float32).reshape(shape)


@lru_cache(maxsize=8)
def _ramp(bins: int) -> tuple[Float32, int]:
    """Return the transform of the ramp kernel of Kak and Slaney (1988), eq. 3.61, and its length.

    The kernel is transformed, rather than the ramp sampled, so that a constant keeps its level. A
    Hann window damps what the spread of cells over bins puts into the highest frequencies.
    """
    padded = fft.next_fast_len(2 * bins, real=True)
    n = np.minimum(np.arange(padded), padded - np.arange(padded))
    kernel = np.zeros(padded)
    kernel[n % 2 == 1] = -1 / (np.pi * n[n % 2 == 1]) ** 2
    kernel[0] = 0.25
    hann = 0.5 + 0.5 * np.cos(2 * np.pi * fft.rfftfreq(padded))
    return (fft.rfft(kernel).real * hann).astype(np.float32), padded
