"""Fast random fields on a square of pixels: what the 2D bones of the stream are made of.

All fields are float32 (y, x), of mean 0 and variance 1 where nothing else is said; lengths are
in pixels. A planar section of an isotropic 3D Gaussian field is a 2D Gaussian field, so level
sets of these are what a slice through a level set in space looks like.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.spatial import KDTree

Float32 = npt.NDArray[np.float32]

#: Fields are made this much larger than the square, so that its sides are not alike.
_MARGIN = 1.25
#: The cells of a mosaic are found on every so-manieth pixel and interpolated.
MOSAIC_STEP = 2
#: From cells this large on, in pixels.
FINE_CELL = 5.0


@dataclass(frozen=True)
class Frame:
    """A square of pixels.

    Attributes:
        size: Height and width in pixels.
    """

    size: int

    @property
    def grid(self) -> tuple[Float32, Float32]:
        """Positions y (n, 1) and x (1, n) of the pixel centres, 0 in the middle."""
        line = np.arange(self.size, dtype=np.float32) - (self.size - 1) / 2
        return line[:, None], line[None, :]


def gaussian_field(
    frame: Frame,
    rng: np.random.Generator,
    *,
    wavelength: float,
    band: float = 0.35,
    stretch: float = 1.0,
    angle: float = 0.0,
) -> Float32:
    """Draw a Gaussian random field whose waves have about one length.

    Args:
        frame: The square.
        rng: The generator.
        wavelength: Its mean wavelength.
        band: Relative width of the band of wave numbers; large ones give rough fields.
        stretch: How much longer the waves are along ``angle`` than across.
        angle: Direction of the stretch in radians.

    Returns:
        The field.
    """
    n = fft.next_fast_len(int(frame.size * _MARGIN), real=True)
    ky = fft.fftfreq(n).astype(np.float32)[:, None]
    kx = fft.rfftfreq(n).astype(np.float32)[None, :]
    along = kx * math.cos(angle) + ky * math.sin(angle)
    across = ky * math.cos(angle) - kx * math.sin(angle)
    k = np.sqrt((along * stretch) ** 2 + across**2) * wavelength
    # A band around k = 1; waves longer than the square are drawn as one plane would be.
    gain = np.exp(-(((k - 1) / band) ** 2) / 2)
    shape = (n, n // 2 + 1)
    waves = rng.standard_normal((2, *shape), dtype=np.float32)
    spectrum = (waves[0] + 1j * waves[1]) * gain
    spectrum[0, 0] = 0
    field = fft.irfft2(spectrum, s=(n, n))[: frame.size, : frame.size]
    # Each wave of the half spectrum stands for two, and has a real and an imaginary part.
    total = 4 * float(np.sum(gain**2)) / n**4
    return np.asarray(field / math.sqrt(max(total, 1e-20)), dtype=np.float32)


def smooth_field(frame: Frame, rng: np.random.Generator, *, wavelength: float) -> Float32:
    """Draw a smooth field from few plane waves: right for waves longer than the square too.

    Args:
        frame: The square.
        rng: The generator.
        wavelength: The shortest wavelength; the longest is thrice that.

    Returns:
        The field.
    """
    waves = 6
    direction = rng.uniform(0, 2 * np.pi, waves)
    length = wavelength * rng.uniform(1, 3, waves)
    phase = rng.uniform(0, 2 * np.pi, waves)
    y, x = frame.grid
    total = np.zeros((frame.size, frame.size), dtype=np.float32)
    for a, b, c in zip(direction, length, phase, strict=True):
        ky, kx = 2 * np.pi * np.sin(a) / b, 2 * np.pi * np.cos(a) / b
        # A plane wave is the real part of a product of two vectors.
        down = np.exp(1j * (ky * y + c)).astype(np.complex64)
        right = np.exp(1j * kx * x).astype(np.complex64)
        total += (down * right).real
    return np.asarray(total * math.sqrt(2 / waves), dtype=np.float32)


def steepness(field: Float32) -> Float32:
    """Return the length of the gradient of a field, per pixel."""
    dy, dx = np.gradient(field)
    return np.asarray(np.sqrt(dy * dy + dx * dx), dtype=np.float32)


def as_distance(field: Float32, *, least: float = 1e-3) -> Float32:
    """Turn a function into about the distance in pixels from its zero set.

    Args:
        field: Values, positive inside.
        least: The least slope that is divided by, per pixel.

    Returns:
        Distances, right to first order near the zero set.
    """
    return np.asarray(field / np.maximum(steepness(field), least), dtype=np.float32)


def share(distance: Float32) -> Float32:
    """Return the share of each pixel that lies inside, to first order: 0.5 at distance 0."""
    return np.asarray(np.clip(distance + 0.5, 0, 1), dtype=np.float32)


@dataclass(frozen=True)
class Mosaic:
    """A section through a Voronoi mosaic in space.

    Attributes:
        wall: Distance from the nearest wall between two cells, float32 (y, x), pixels.
        edge: Distance from the nearest edge where three cells meet.
        kept: A random number of 0..1 for each wall, the same all over it.
    """

    wall: Float32
    edge: Float32
    kept: Float32


def draw_mosaic(
    frame: Frame,
    rng: np.random.Generator,
    *,
    cell: float,
    stretch: float = 1.0,
    angle: float = 0.0,
    warp: float = 0.15,
) -> Mosaic:
    """Draw a planar section through a Voronoi mosaic of cells in space.

    Args:
        frame: The square.
        rng: The generator.
        cell: Mean distance of neighbouring seeds in pixels.
        stretch: How much longer cells are along ``angle``.
        angle: Direction of the stretch in radians.
        warp: How much the cells are bent, relative to their size.

    Returns:
        Distances from walls and edges; exact up to the warp and the interpolation.
    """
    step = MOSAIC_STEP if cell >= FINE_CELL else 1
    n = -(-frame.size // step) + 1
    line = (np.arange(n) * step - (frame.size - 1) / 2).astype(np.float64)
    y, x = np.meshgrid(line, line, indexing="ij")
    amount = warp * cell
    k = 2 * np.pi / (cell * rng.uniform(1.5, 3.0, 4))
    p = rng.uniform(0, 2 * np.pi, 4)
    y, x = (
        y + amount * (np.sin(k[0] * x + p[0]) + np.sin(k[1] * (x + y) + p[1])),
        x + amount * (np.sin(k[2] * y + p[2]) + np.sin(k[3] * (x - y) + p[3])),
    )
    along = (x * np.cos(angle) + y * np.sin(angle)) / stretch
    across = y * np.cos(angle) - x * np.sin(angle)
    points = np.stack([np.zeros(n * n), across.ravel(), along.ravel()], axis=1)
    seeds = _seeds(points, cell, rng)
    _, near = KDTree(seeds, balanced_tree=False, compact_nodes=False).query(points, k=3, eps=0.0)
    a, b, c = (seeds[near[:, i]] for i in range(3))
    to_b, normal_b = _bisector(points, a, b)
    to_c, normal_c = _bisector(points, a, c)
    cosine = np.einsum("ij,ij->i", normal_b, normal_c)
    sine2 = np.maximum(1 - cosine**2, 0.05)
    to_edge = np.sqrt(np.maximum(to_b**2 + to_c**2 - 2 * cosine * to_b * to_c, 0) / sine2)
    low, high = np.minimum(near[:, 0], near[:, 1]), np.maximum(near[:, 0], near[:, 1])
    kept = ((low * 73856093) ^ (high * 19349663)) % 65536 / 65536
    wall, edge = (_enlarge(v.reshape(n, n), step, frame.size) for v in (to_b, to_edge))
    blocks = np.repeat(np.repeat(kept.reshape(n, n), step, 0), step, 1)
    half = step // 2
    blocks = blocks[half : half + frame.size, half : half + frame.size]
    return Mosaic(wall, edge, blocks.astype(np.float32))


def _seeds(
    points: npt.NDArray[np.float64], cell: float, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Jittered body-centred seeds in a slab around the plane of the points."""
    low, high = points.min(0) - 2 * cell, points.max(0) + 2 * cell
    low[0], high[0] = -2 * cell, 2 * cell
    counts = np.maximum(np.ceil((high - low) / cell).astype(int), 1)
    lattice = np.stack(np.meshgrid(*[np.arange(m) for m in counts], indexing="ij"), -1)
    lattice = lattice.reshape(-1, 3).astype(np.float64)
    seeds = lattice + rng.uniform(-0.5, 0.5, lattice.shape) * rng.uniform(0.5, 1.0)
    return np.asarray(low + (seeds + rng.uniform(0, 1, 3)) * cell)


def _bisector(
    points: npt.NDArray[np.float64], a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Distance of points from the plane half-way between a and b, and its normal."""
    between = b - a
    length = np.maximum(np.linalg.norm(between, axis=1), 1e-9)
    normal = between / length[:, None]
    return np.abs(np.einsum("ij,ij->i", (a + b) / 2 - points, normal)), normal


def _enlarge(values: npt.NDArray[np.float64], step: int, size: int) -> Float32:
    """Interpolate linearly from every ``step``-th pixel."""
    if step == 1:
        return values[:size, :size].astype(np.float32)
    at = np.arange(size) / step
    low = np.minimum(at.astype(int), values.shape[0] - 2)
    weight = (at - low).astype(np.float32)
    rows = values.astype(np.float32)
    rows = rows[low] + weight[:, None] * (rows[low + 1] - rows[low])
    return np.asarray(rows[:, low] + weight[None, :] * (rows[:, low + 1] - rows[:, low]))
