"""What lies in and around bones: media, containers, things that are as bright as bone.

Attenuation is relative: 0 is air, 1 dense cortical bone. The values are those at 50 to 90 kVp
(docs/simulation.md); nothing here changes a label.
"""

from osteon.simulation.materials.drawing import (
    draw_interior,
    draw_medium,
    draw_surroundings,
    medium_of,
)
from osteon.simulation.materials.interior import bone_level, pore_level
from osteon.simulation.materials.spec import MEDIA, METAL, PLASTIC, InteriorSpec, SurroundingsSpec
from osteon.simulation.materials.surroundings import around_bones

__all__ = [
    "MEDIA",
    "METAL",
    "PLASTIC",
    "InteriorSpec",
    "SurroundingsSpec",
    "around_bones",
    "bone_level",
    "draw_interior",
    "draw_medium",
    "draw_surroundings",
    "medium_of",
    "pore_level",
]
