"""Shapes whose measures are known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Spacing = tuple[float, float, float]
CUBIC: Spacing = (1.0, 1.0, 1.0)
#: A turn that has nothing to do with the grid: columns are unit vectors (z, y, x).
_C, _S = np.cos(0.5), np.sin(0.5)
TURN = np.array([[_C, -_S, 0], [_S, _C, 0], [0, 0, 1]]) @ np.array(
    [[1, 0, 0], [0, _C, -_S], [0, _S, _C]]
)


def grid(shape: tuple[int, int, int], spacing: Spacing = CUBIC) -> list[np.ndarray]:
    """Coordinates (z, y, x) of voxels from the middle of the volume, in the unit of spacing."""
    axes = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing, strict=True)]
    return list(np.meshgrid(*axes, indexing="ij"))


def turned(shape: tuple[int, int, int], spacing: Spacing = CUBIC) -> list[np.ndarray]:
    """The same along the axes of ``TURN``."""
    place = np.stack(grid(shape, spacing))
    return list(np.einsum("ik,i...->k...", TURN, place))


def sphere(radius: float, shape: tuple[int, int, int], spacing: Spacing = CUBIC) -> Mask:
    z, y, x = grid(shape, spacing)
    return z**2 + y**2 + x**2 <= radius**2


def foam(shape: tuple[int, int, int], *, seed: int = 0, share: float = 0.4) -> Mask:
    """Something like trabecular bone: smoothed noise above a level."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2.0)
    return noise > np.quantile(noise, 1 - share)


def lattice(cells: int, *, period: int = 12, width: int = 4) -> Mask:
    """Square rods along the three axes, ``cells`` periods long, cut in the middle between nodes."""
    n = cells * period
    at = (np.arange(n) + period // 2) % period
    on = (at < width // 2) | (at >= period - width // 2)
    z, y, x = np.meshgrid(on, on, on, indexing="ij")
    return (z & y) | (z & x) | (y & x)
