"""Micro-CT scans of procedural bones with exact labels, and image-domain degradations.

``cohort`` draws, makes and writes scans; ``drawing`` draws what they show, from the ranges in
``species``; ``anatomy`` makes bones, ``materials`` what is in and around them, ``imaging`` images,
``degrade`` worse images. Everything is seeded.
"""

from osteon.simulation.anatomy import (
    Anatomy,
    BoneSpec,
    CanalSpec,
    GrowthPlate,
    Hole,
    Lesion,
    SceneSpec,
    Sheet,
    build_anatomy,
    build_scene,
)
from osteon.simulation.cohort import (
    Output,
    ScanSpec,
    SimulatedScan,
    draw_scan,
    make_scan,
    simulate_cohort,
    simulate_scan,
)
from osteon.simulation.drawing import KINDS
from osteon.simulation.envelope import ArchSpec, EnvelopeSpec
from osteon.simulation.imaging import ImagingSpec, draw_imaging, make_image
from osteon.simulation.materials import MEDIA, InteriorSpec, SurroundingsSpec
from osteon.simulation.species import SPECIES, Species
from osteon.simulation.trabeculae import TrabecularSpec

__all__ = [
    "KINDS",
    "MEDIA",
    "SPECIES",
    "Anatomy",
    "ArchSpec",
    "BoneSpec",
    "CanalSpec",
    "EnvelopeSpec",
    "GrowthPlate",
    "Hole",
    "ImagingSpec",
    "InteriorSpec",
    "Lesion",
    "Output",
    "ScanSpec",
    "SceneSpec",
    "Sheet",
    "SimulatedScan",
    "Species",
    "SurroundingsSpec",
    "TrabecularSpec",
    "build_anatomy",
    "build_scene",
    "draw_imaging",
    "draw_scan",
    "make_image",
    "make_scan",
    "simulate_cohort",
    "simulate_scan",
]
