"""Seeded random numbers and smooth random fields of the simulation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from osteon.errors import UsageError

Floats = npt.NDArray[np.float64]


def generator(*key: int) -> np.random.Generator:
    """Return a generator that depends on a key alone: the same on every machine.

    Args:
        *key: Non-negative integers, such as the seed and the index of the scan.

    Returns:
        A NumPy generator on the counter-based bit generator Philox.

    Raises:
        UsageError: If a number is negative.
    """
    if any(k < 0 for k in key):
        raise UsageError(f"a seed must not be negative, got {', '.join(map(str, key))}")
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


def log_uniform(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    """Draw a number whose logarithm is uniform between two limits.

    Args:
        rng: The generator.
        limits: Lowest and highest value, both positive.

    Returns:
        The number.
    """
    return float(np.exp(rng.uniform(np.log(limits[0]), np.log(limits[1]))))


@dataclass(frozen=True)
class SmoothField:
    """A smooth random function of space: a sum of plane waves, of mean 0 and variance 1.

    It can be evaluated anywhere, so a field of view that cuts a bone does not change it.

    Attributes:
        waves: Wave vectors in 1/µm, shape (n, 3), order (z, y, x).
        phases: Phases in radians, shape (n,).
    """

    waves: Floats
    phases: Floats

    @classmethod
    def draw(
        cls, rng: np.random.Generator, *, wavelength_um: float, waves: int = 12
    ) -> SmoothField:
        """Draw a field.

        Args:
            rng: The generator.
            wavelength_um: The shortest wavelength in µm; the longest is twice that.
            waves: Number of waves.

        Returns:
            The field.
        """
        direction = rng.standard_normal((waves, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        length = wavelength_um * rng.uniform(1.0, 2.0, (waves, 1))
        return cls(2 * np.pi * direction / length, rng.uniform(0, 2 * np.pi, waves))

    def __call__(self, z: Floats, y: Floats, x: Floats) -> Floats:
        """Evaluate the field.

        Args:
            z: Positions in µm; the three arrays broadcast against each other.
            y: See ``z``.
            x: See ``z``.

        Returns:
            The values, in the broadcast shape.
        """
        total = np.zeros(np.broadcast_shapes(z.shape, y.shape, x.shape))
        for (kz, ky, kx), phase in zip(self.waves, self.phases, strict=True):
            total += np.cos(kz * z + ky * y + kx * x + phase)
        scale = np.sqrt(2.0 / len(self.phases))
        return np.asarray(total * scale, dtype=np.float64)
