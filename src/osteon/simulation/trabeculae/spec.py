"""What trabeculae are described by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from osteon.errors import UsageError

# Fitted to maximal spheres in this network (measured back in tests/simulation/test_trabeculae.py):
# Tb.Sp + Tb.Th = L (REACH_RODS - REACH_PLATES plates) anisotropy^REACH_ANISOTROPY and
# Tb.Th = d (GAIN_RODS + GAIN_PLATES sqrt(plates) + GAIN_NODES d / L), with the lattice constant L
# and the diameter d that is drawn; nodes and fillets are thicker than what they join.
REACH_RODS, REACH_PLATES, REACH_ANISOTROPY = 0.895, 0.155, -0.17
GAIN_RODS, GAIN_PLATES, GAIN_NODES = 0.90, 0.25, 2.0


@dataclass(frozen=True)
class TrabecularSpec:
    """Trabeculae.

    Attributes:
        thickness_um: Mean thickness (Tb.Th, maximal spheres) in µm.
        spacing_um: Mean width of the marrow space (Tb.Sp, maximal spheres) in µm.
        plates: Share of the faces of the mosaic that are plates: 0 rods only, 1 closed cells.
        anisotropy: Height of a cell along z over its width.
        variation: Relative standard deviation of the thickness between trabeculae.
        arcade_per_um: Curvature in 1/µm of the arcs that the axis of the cells follows in the
            plane of z and x: their orientation changes across the bone, as in a femoral neck.
        gradient_per_um: Relative change of the cells' scale per µm along (z, y, x): trabeculae
            get finer and closer along it, with the thickness and spacing asked for in the middle.
        density_per_um: Thickness gained along (z, y, x), in µm per µm.
    """

    thickness_um: float
    spacing_um: float
    plates: float = 0.3
    anisotropy: float = 1.3
    variation: float = 0.15
    arcade_per_um: float = 0.0
    gradient_per_um: tuple[float, float, float] = (0.0, 0.0, 0.0)
    density_per_um: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if min(self.thickness_um, self.spacing_um, self.anisotropy) <= 0:
            raise UsageError("thickness, spacing and anisotropy of trabeculae must be positive")
        if not 0 <= self.plates <= 1 or self.variation < 0:
            raise UsageError("plates must be 0 to 1, and the variation not negative")

    @property
    def lattice_um(self) -> float:
        """Lattice constant of the seeds before stretching, in µm."""
        reach = (REACH_RODS - REACH_PLATES * self.plates) * self.anisotropy**REACH_ANISOTROPY
        return float((self.spacing_um + self.thickness_um) / reach)

    @property
    def drawn_um(self) -> float:
        """Thickness in µm that rods and plates are drawn with to get the mean asked for."""
        lattice = self.lattice_um
        gain = GAIN_RODS + GAIN_PLATES * np.sqrt(self.plates)
        root = np.sqrt(gain**2 + 4 * GAIN_NODES * self.thickness_um / lattice)
        return float((root - gain) * lattice / (2 * GAIN_NODES))
