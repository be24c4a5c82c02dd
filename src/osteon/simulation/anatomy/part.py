"""One bone in its box of the field of view, while it is made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from osteon.simulation.anatomy.specs import BoneSpec
from osteon.simulation.grids import CoarseGrid

Floats = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Part:
    """An envelope on voxels.

    Attributes:
        spec: The bone; its place is relative to the middle of the box.
        box: The voxels of the field of view, slices (z, y, x).
        grid: The coarse grid of the box.
        depth: Depth below the envelope in µm on it, before bones are kept apart.
        cortex: Thickness of the cortex in µm on it.
        depth_um: Depth below the envelope in µm, float32 (z, y, x) of the box.
        rng: The bone's generator.
    """

    spec: BoneSpec
    box: Box
    grid: CoarseGrid
    depth: Floats
    cortex: Floats
    depth_um: Float32
    rng: np.random.Generator


@dataclass(frozen=True)
class Solid:
    """A finished bone on the voxels of its box.

    Attributes:
        labels: uint8 (z, y, x).
        mineral: Share of bone, float32.
        depth_um: Depth below the envelope in µm, float32, open holes taken out.
        cartilage: Share of growth-plate cartilage, float32, or None.
    """

    labels: npt.NDArray[np.uint8]
    mineral: Float32
    depth_um: Float32
    cartilage: Float32 | None
