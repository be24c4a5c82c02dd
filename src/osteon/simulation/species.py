"""Made-up species: the ranges that bones and voxel sizes are drawn from.

The ranges of sizes follow published ones of mouse, rat, bird, primate and ungulate bones
(docs/simulation); none stands for a real species. Sizes in µm and the voxel size are drawn
separately, so that thickness in voxels varies as it does between laboratories.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from osteon.errors import UsageError
from osteon.simulation.anatomy import (
    MIN_CORTEX_VOXELS,
    BoneSpec,
    CanalSpec,
)
from osteon.simulation.envelope import EnvelopeSpec, Shape
from osteon.simulation.grids import Shape as VolumeShape
from osteon.simulation.randomness import log_uniform
from osteon.simulation.trabeculae import TrabecularSpec

Range = tuple[float, float]

#: Width of a bone over that of the field of view: from small in it to cut by its edges.
WIDTH_IN_VIEW = (0.4, 1.5)
#: Share of the field of view that is left outside a bone that is cut, at one side.
LEFT_OUTSIDE = (0.06, 0.25)
#: Draws of sizes before giving up: the ranges overlap far more often than this.
MAX_DRAWS = 5000
#: Trabeculae are drawn at least this thick, in voxels: thinner rods would be in pieces.
MIN_THICKNESS_VOXELS = 2.0
#: Trabeculae are at most this share of their spacing thick, or the space would be closed.
MAX_THICKNESS_TO_SPACING = 0.5
#: Narrower spaces are blurred into one grey, and make the network slow to draw.
MIN_SPACING_VOXELS = 8.0


@dataclass(frozen=True)
class Species:
    """Ranges (lowest, highest); lengths in µm, drawn log-uniform.

    Attributes:
        voxel_um: Voxel size.
        width_um: Width of a bone.
        cortex_um: Thickness of the cortex.
        thickness_um: Thickness of trabeculae.
        spacing_um: Width of the marrow space between them.
        canal_um: Diameter of canals of the cortex.
        canals_per_mm2: Their number per mm² of the cortex's cross-section.
        plates: Share of plates among the faces of the trabecular mosaic.
        anisotropy: Height over width of its cells.
        sites: The bones that are drawn.
    """

    voxel_um: Range
    width_um: Range
    cortex_um: Range
    thickness_um: Range
    spacing_um: Range
    canal_um: Range
    canals_per_mm2: Range
    plates: Range = (0.0, 0.6)
    anisotropy: Range = (1.0, 1.7)
    sites: tuple[Shape, ...] = ("shaft", "end", "vertebra")


SPECIES: dict[str, Species] = {
    "shrewlet": Species(
        voxel_um=(4, 20),
        width_um=(800, 2_400),
        cortex_um=(80, 300),
        thickness_um=(30, 90),
        spacing_um=(120, 400),
        canal_um=(5, 25),
        canals_per_mm2=(5, 40),
        plates=(0.0, 0.4),
    ),
    "burrower": Species(
        voxel_um=(8, 35),
        width_um=(1_800, 5_000),
        cortex_um=(120, 500),
        thickness_um=(60, 150),
        spacing_um=(200, 800),
        canal_um=(8, 40),
        canals_per_mm2=(5, 30),
    ),
    "strider": Species(
        voxel_um=(10, 45),
        width_um=(3_000, 9_000),
        cortex_um=(200, 700),
        thickness_um=(60, 250),
        spacing_um=(300, 1_500),
        canal_um=(10, 60),
        canals_per_mm2=(3, 15),
        plates=(0.1, 0.5),
    ),
    "climber": Species(
        voxel_um=(15, 70),
        width_um=(4_000, 12_000),
        cortex_um=(200, 1_000),
        thickness_um=(90, 250),
        spacing_um=(400, 1_200),
        canal_um=(20, 150),
        canals_per_mm2=(3, 12),
    ),
    "grazer": Species(
        voxel_um=(25, 100),
        width_um=(6_000, 24_000),
        cortex_um=(600, 2_400),
        thickness_um=(150, 350),
        spacing_um=(400, 1_000),
        canal_um=(30, 200),
        canals_per_mm2=(2, 8),
        plates=(0.2, 0.8),
    ),
}


def species_of(name: str) -> Species:
    """Find a species by name.

    Args:
        name: A key of :data:`SPECIES`.

    Returns:
        Its ranges.

    Raises:
        UsageError: If there is none of that name.
    """
    if name not in SPECIES:
        raise UsageError(
            f"there is no simulated species '{name}'", mend=f"choose one of: {', '.join(SPECIES)}"
        )
    return SPECIES[name]


def draw_bone(
    species: Species,
    rng: np.random.Generator,
    *,
    shape: VolumeShape,
    voxel_um: float | None = None,
) -> tuple[BoneSpec, float]:
    """Draw a bone and a voxel size.

    Args:
        species: The ranges.
        rng: The generator.
        shape: (z, y, x) of the field of view in voxels.
        voxel_um: The voxel size in µm; drawn from the species' range by default.

    Returns:
        The bone and the voxel size in µm.

    Raises:
        UsageError: If no bone of the species fits such a field of view: its trabeculae would be
            thinner than 2 voxels, or the bone far larger or smaller than the view.
    """
    for _ in range(MAX_DRAWS):
        voxel = log_uniform(rng, species.voxel_um) if voxel_um is None else voxel_um
        width = log_uniform(rng, species.width_um)
        cortex = log_uniform(rng, species.cortex_um)
        thickness = log_uniform(rng, species.thickness_um)
        spacing = log_uniform(rng, species.spacing_um)
        view = min(shape[1:]) * voxel
        if (
            WIDTH_IN_VIEW[0] <= width / view <= WIDTH_IN_VIEW[1]
            and thickness >= MIN_THICKNESS_VOXELS * voxel
            and cortex >= (MIN_CORTEX_VOXELS + 0.5) * voxel
            and spacing >= MIN_SPACING_VOXELS * voxel
            and thickness <= MAX_THICKNESS_TO_SPACING * spacing
            and 2 * cortex + 1.5 * spacing <= 0.8 * width
        ):
            network = TrabecularSpec(
                thickness,
                spacing,
                plates=float(rng.uniform(*species.plates)),
                anisotropy=float(rng.uniform(*species.anisotropy)),
            )
            return _bone(species, rng, shape, voxel, (width, cortex), network), voxel
    given = "" if voxel_um is None else f" with voxels of {voxel_um:g} µm"
    raise UsageError(
        f"no bone of this species fits {' × '.join(map(str, shape))} voxels (z, y, x){given}",
        mend=f"use more voxels, or a voxel size of {species.voxel_um[0]:g} to "
        f"{species.voxel_um[1]:g} µm",
    )


def _bone(
    species: Species,
    rng: np.random.Generator,
    shape: VolumeShape,
    voxel: float,
    sizes: tuple[float, float],
    network: TrabecularSpec,
) -> BoneSpec:
    width, cortex = sizes
    site = species.sites[int(rng.integers(len(species.sites)))]
    view = tuple(n * voxel for n in shape)
    flatness = float(rng.uniform(0.65, 1.0))
    length = {
        "shaft": max(3 * width, view[0]),
        "end": float(rng.uniform(1.5, 2.5)) * width,
        "vertebra": min(float(rng.uniform(0.6, 1.1)) * width, 0.85 * view[0])
        if rng.random() < 0.7
        else float(rng.uniform(0.8, 1.2)) * width,
    }[site]
    lobes = tuple(
        (k, float(rng.normal(0, 0.10 / k)), float(rng.uniform(0, 2 * np.pi))) for k in (1, 2, 3, 4)
    )
    envelope = EnvelopeSpec(
        site,
        radius_um=width / 2,
        length_um=length,
        aspect=flatness,
        exponent=float(rng.uniform(2.0, 4.5 if site == "vertebra" else 2.6)),
        lobes=lobes,
        waist=float(rng.uniform(0.05, 0.3)),
        flare=float(rng.uniform(0.1, 0.45)),
        rounding_um=float(rng.uniform(0.1, 0.5)) * width,
        bend_um=float(rng.uniform(0, 0.06)) * width,
        tilt=(float(rng.normal(0, 0.08)), float(rng.normal(0, 0.08))),
        roughness_um=float(rng.uniform(0.003, 0.012)) * width,
        centre_um=_place(rng, site, width, length, view),
    )
    canals = CanalSpec(
        log_uniform(rng, species.canal_um), per_mm2=log_uniform(rng, species.canals_per_mm2)
    )
    cavity = {"shaft": rng.uniform(0.5, 1.0), "end": rng.uniform(0.0, 0.4), "vertebra": 0.0}[site]
    return BoneSpec(
        envelope,
        cortex_um=cortex * (0.6 if site == "vertebra" else 1.0)
        if cortex * 0.6 > (MIN_CORTEX_VOXELS + 0.5) * voxel
        else cortex,
        cortex_variation=float(rng.uniform(0.1, 0.3)),
        trabeculae=network,
        cavity=float(cavity),
        canals=canals,
    )


def _place(
    rng: np.random.Generator, site: Shape, width: float, length: float, view: tuple[float, ...]
) -> tuple[float, float, float]:
    """Put the bone so that some of its outside is in view: the middle of the bone in µm."""
    side = min(view[1:])
    free = (side - width) / 2
    if free > 0.06 * side:
        y, x = rng.uniform(-0.7, 0.7, 2) * free
    else:
        # Cut by the edges of the field of view on one side, some air left on the other.
        shift = (width - side) / 2 + float(rng.uniform(*LEFT_OUTSIDE)) * side
        angle = rng.integers(4) * np.pi / 2
        along = rng.uniform(-0.3, 0.3) * side
        y = shift * np.sin(angle) + along * abs(np.cos(angle))
        x = shift * np.cos(angle) + along * abs(np.sin(angle))
    if site == "vertebra":
        z = rng.uniform(-0.5, 0.5) * abs(view[0] - length)
    elif site == "end":
        # The cap lies between just above the field of view and its upper half.
        z = rng.uniform(0.15, 0.55) * view[0] - length / 2
    else:
        z = rng.uniform(-0.5, 0.5) * length / 2
    return float(z), float(y), float(x)
