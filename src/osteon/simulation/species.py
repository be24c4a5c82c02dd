"""Made-up species: the ranges that bones and voxel sizes are drawn from.

The ranges of sizes follow published ones of mouse, rat, bird, primate and ungulate bones
(docs/simulation); none stands for a real species. Sizes in µm and the voxel size are drawn
separately, so that thickness in voxels varies as it does between laboratories.
"""

from __future__ import annotations

from dataclasses import dataclass

from osteon.errors import UsageError

Range = tuple[float, float]

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
