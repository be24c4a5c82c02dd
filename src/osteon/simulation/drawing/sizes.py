"""Draws the sizes of a bone and the voxel size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from osteon.simulation.anatomy import MIN_CORTEX_VOXELS
from osteon.simulation.drawing.kinds import KINDS
from osteon.simulation.grids import Shape
from osteon.simulation.randomness import log_uniform
from osteon.simulation.species import (
    MAX_THICKNESS_TO_SPACING,
    MIN_SPACING_VOXELS,
    MIN_THICKNESS_VOXELS,
    Species,
)
from osteon.simulation.trabeculae import TrabecularSpec

#: Draws of sizes before giving up: the ranges overlap far more often than this.
MAX_DRAWS = 5000
#: Room for roughness: a cortex is drawn by this many voxels thicker than the least.
CORTEX_SLACK = 0.5
#: Shares of networks whose cells follow arcs, change in scale, change in density.
ARCADES, GRADIENTS, DENSITIES = 0.35, 0.4, 0.4


@dataclass(frozen=True)
class Sizes:
    """Sizes of one bone, in µm.

    Attributes:
        voxel: Voxel size.
        view: (z, y, x) of the field of view.
        width: Width of the bone.
        cortex: Thickness of the cortex.
        network: The trabeculae.
    """

    voxel: float
    view: tuple[float, float, float]
    width: float
    cortex: float
    network: TrabecularSpec

    @property
    def side(self) -> float:
        """Width of the field of view."""
        return min(self.view[1:])


def draw_sizes(
    species: Species,
    kind: str,
    rng: np.random.Generator,
    *,
    shape: Shape,
    voxel_um: float | None,
) -> Sizes | None:
    """Draw sizes that go together; None if there are none for such a field of view.

    Args:
        species: The ranges.
        kind: The kind of scene, which says how large its bones are in the field of view.
        rng: The generator.
        shape: (z, y, x) of the field of view in voxels.
        voxel_um: The voxel size in µm, or None to draw it.
    """
    (least, most), smaller = KINDS[kind].width, KINDS[kind].smaller
    for _ in range(MAX_DRAWS):
        voxel = log_uniform(rng, species.voxel_um) if voxel_um is None else voxel_um
        width = smaller * log_uniform(rng, species.width_um)
        cortex = smaller * log_uniform(rng, species.cortex_um)
        thickness = log_uniform(rng, species.thickness_um)
        spacing = log_uniform(rng, species.spacing_um)
        if (
            least <= width / (min(shape[1:]) * voxel) <= most
            and thickness >= MIN_THICKNESS_VOXELS * voxel
            and cortex >= (MIN_CORTEX_VOXELS + CORTEX_SLACK) * voxel
            and spacing >= MIN_SPACING_VOXELS * voxel
            and thickness <= MAX_THICKNESS_TO_SPACING * spacing
            and 2 * cortex + 1.5 * spacing <= 0.8 * width
        ):
            z, y, x = (n * voxel for n in shape)
            half = max(min(width, y, x), z) / 2
            network = _network(species, rng, (thickness, spacing), half=half, width=width)
            return Sizes(voxel, (z, y, x), width, cortex, network)
    return None


def _network(
    species: Species,
    rng: np.random.Generator,
    sizes: tuple[float, float],
    *,
    half: float,
    width: float,
) -> TrabecularSpec:
    """Draw trabeculae; their gradients are small over half the bone or field of view."""
    thickness, spacing = sizes
    plates, anisotropy = (
        float(rng.uniform(*species.plates)),
        float(rng.uniform(*species.anisotropy)),
    )
    arcade, gradient, density = rng.random(3)
    radius = width * float(rng.uniform(1.5, 4.0)) * float(rng.choice([-1, 1]))
    direction = rng.standard_normal(3)
    direction *= float(rng.uniform(0.1, 0.35)) / half / np.linalg.norm(direction)
    z, y, x = (float(v) for v in direction)
    rise = float(rng.uniform(-0.3, 0.5)) * thickness / half
    return TrabecularSpec(
        thickness,
        spacing,
        plates=plates,
        anisotropy=anisotropy,
        arcade_per_um=1 / radius if arcade < ARCADES else 0.0,
        gradient_per_um=(z, y, x) if gradient < GRADIENTS else (0.0, 0.0, 0.0),
        density_per_um=(rise, 0.0, 0.0) if density < DENSITIES else (0.0, 0.0, 0.0),
    )
