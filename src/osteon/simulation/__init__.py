"""Micro-CT scans of procedural bones with exact labels, and image-domain degradations.

``cohort`` draws, makes and writes scans; ``anatomy`` makes bones, ``imaging`` images of them,
``degrade`` worse images; ``species`` holds the ranges. Everything is seeded.
"""

from osteon.simulation.anatomy import Anatomy, BoneSpec, CanalSpec, build_anatomy
from osteon.simulation.cohort import (
    Output,
    ScanSpec,
    SimulatedScan,
    draw_scan,
    make_scan,
    simulate_cohort,
    simulate_scan,
)
from osteon.simulation.envelope import EnvelopeSpec
from osteon.simulation.imaging import ImagingSpec, draw_imaging, make_image
from osteon.simulation.species import SPECIES, Species
from osteon.simulation.trabeculae import TrabecularSpec

__all__ = [
    "SPECIES",
    "Anatomy",
    "BoneSpec",
    "CanalSpec",
    "EnvelopeSpec",
    "ImagingSpec",
    "Output",
    "ScanSpec",
    "SimulatedScan",
    "Species",
    "TrabecularSpec",
    "build_anatomy",
    "draw_imaging",
    "draw_scan",
    "make_image",
    "make_scan",
    "simulate_cohort",
    "simulate_scan",
]
