"""The smooth map from space to the straight mosaic: waves, arcades and a change of scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from osteon.simulation.randomness import SmoothField
from osteon.simulation.trabeculae.spec import TrabecularSpec

Floats = npt.NDArray[np.float64]
Triple = tuple[Floats, Floats, Floats]

#: The warp: its shortest wavelength in lattice constants and its largest stretch, about.
WAVELENGTH = 2.5
STRETCH = 0.16
#: Limits of the change of scale: beyond, trabeculae would vanish or fill the space.
SCALES = (0.6, 1.6)
#: Steps of the search for the point that is moved to a given one; each leaves less than half.
INVERSE_STEPS = 6


@dataclass(frozen=True)
class Warp:
    """Where points of space lie in the mosaic.

    Attributes:
        fields: Waves along z, y and x.
        reach_um: Their amplitude.
        arcade_per_um: Curvature of the arcs that the mosaic's axis follows in the plane of z, x.
        gradient_per_um: Relative change of scale per µm along (z, y, x).
    """

    fields: tuple[SmoothField, SmoothField, SmoothField]
    reach_um: float
    arcade_per_um: float = 0.0
    gradient_per_um: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @classmethod
    def draw(cls, spec: TrabecularSpec, rng: np.random.Generator) -> Warp:
        """Draw the waves of a network."""
        lattice = spec.lattice_um
        a, b, c = (
            SmoothField.draw(rng, wavelength_um=WAVELENGTH * lattice, waves=8) for _ in range(3)
        )
        # The mean wavelength is about 1.5 times the shortest.
        reach = STRETCH * 1.5 * WAVELENGTH * lattice / (2 * np.pi)
        return cls((a, b, c), reach, spec.arcade_per_um, spec.gradient_per_um)

    def scale(self, z: Floats, y: Floats, x: Floats) -> Floats:
        """How much larger the mosaic is than space there (smaller spacing): about 1."""
        gz, gy, gx = self.gradient_per_um
        return np.clip(1 + gz * z + gy * y + gx * x, *SCALES)

    @property
    def scaled(self) -> bool:
        """Whether the scale changes at all."""
        return any(self.gradient_per_um)

    def __call__(self, z: Floats, y: Floats, x: Floats) -> Triple:
        """Displacements (z, y, x) in µm from space to the mosaic."""
        dz, dy, dx = (self.reach_um * f(z, y, x) for f in self.fields)
        if self.arcade_per_um != 0:
            radius = 1 / self.arcade_per_um
            # Not within half the radius of the arcs' centre: there they are too narrow.
            out = np.maximum(x * np.sign(radius) + abs(radius), abs(radius) / 2)
            dz = dz + abs(radius) * np.arctan2(z, out) - z
            dx = dx + np.sign(radius) * (np.hypot(z, out) - out)
        if self.scaled:
            # Conformal to first order: the scale changes alike in all directions, angles stay.
            gz, gy, gx = self.gradient_per_um
            along = gz * z + gy * y + gx * x
            half = (z**2 + y**2 + x**2) / 2
            dz, dy, dx = (
                dz + along * z - half * gz,
                dy + along * y - half * gy,
                dx + along * x - half * gx,
            )
        return dz, dy, dx

    def inverse(self, points: Floats) -> Floats:
        """Return the points of space that lie at given points of the mosaic, (n, 3) in µm."""
        out = points
        for _ in range(INVERSE_STEPS if self.scaled or self.arcade_per_um != 0 else 1):
            out = points - np.stack(self(*out.T), axis=-1)
        return out
