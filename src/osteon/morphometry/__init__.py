"""Bone morphometry: label volumes → BV/TV, Tb.Th, Tb.Sp, Ct.Th … by the published definitions.

Definitions, sources, units and limits are in docs/morphometry.md.
"""

from osteon.morphometry.compartments import COMPARTMENTS, separate
from osteon.morphometry.measuring import (
    BYTES_PER_VOXEL,
    MeasureStopped,
    Sources,
    measure,
)
from osteon.morphometry.regions import bounding_box, describe
from osteon.morphometry.thickness import Thickness, local_thickness, mid_axes
from osteon.morphometry.topology import Euler, euler_number, euler_of_slabs, purify
from osteon.morphometry.values import NOT_RESOLVED, BoneMeasures, Figure

__all__ = [
    "BYTES_PER_VOXEL",
    "COMPARTMENTS",
    "NOT_RESOLVED",
    "BoneMeasures",
    "Euler",
    "Figure",
    "MeasureStopped",
    "Sources",
    "Thickness",
    "bounding_box",
    "describe",
    "euler_number",
    "euler_of_slabs",
    "local_thickness",
    "measure",
    "mid_axes",
    "purify",
    "separate",
]
