"""What fills pores, and how much mineral bone has."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from osteon.labels import BONE_PORES
from osteon.simulation.anatomy import Anatomy, share
from osteon.simulation.grids import CoarseGrid, voxel_positions
from osteon.simulation.materials.bodies import Rod, drawn
from osteon.simulation.materials.spec import InteriorSpec
from osteon.simulation.randomness import SmoothField

Float32 = npt.NDArray[np.float32]

#: Spread of the radii of bubbles: the standard deviation of their logarithm.
BUBBLE_SPREAD = 0.4
#: Amplitude of the border of drained marrow over the height of the field of view.
BORDER_WAVE = 0.04


def pore_level(
    anatomy: Anatomy,
    spec: InteriorSpec,
    level: Float32,
    *,
    grid: CoarseGrid,
    rng: np.random.Generator,
) -> Float32:
    """Return the attenuation of what fills the pores.

    Args:
        anatomy: The bones.
        spec: Bubbles and drained marrow.
        level: Attenuation of marrow, float32 (z, y, x); used up.
        grid: The grid of the field of view.
        rng: The generator.

    Returns:
        Attenuation, float32 (z, y, x); of use in pores alone.
    """
    if spec.bubbles > 0:
        middles = np.flatnonzero(anatomy.labels.ravel() == BONE_PORES.value("pores"))
        if len(middles) > 0:
            chosen = middles[rng.integers(len(middles), size=spec.bubbles)]
            index = np.stack(np.unravel_index(chosen, anatomy.labels.shape), axis=1)
            at = (index - (np.array(grid.shape) - 1) / 2) * grid.voxel_um
            radii = spec.bubble_um * np.exp(BUBBLE_SPREAD * rng.standard_normal(spec.bubbles))
            balls = [Rod(p, p, float(r)) for p, r in zip(at, radii, strict=True)]
            level *= 1 - drawn(grid, balls)
    if spec.drained > 0:
        height = grid.shape[1] * grid.voxel_um
        wave = SmoothField.draw(rng, wavelength_um=0.8 * height)(*grid.mesh)
        y = voxel_positions(grid.shape, voxel_um=grid.voxel_um)[1][None, :, None]
        border = grid.to_voxels((spec.drained - 0.5 + BORDER_WAVE * wave) * height)
        level *= share(np.asarray(y - border, dtype=np.float32), voxel_um=grid.voxel_um)
    return level


def bone_level(anatomy: Anatomy, spec: InteriorSpec, level: Float32) -> Float32:
    """Take mineral out of young bone: of its outer layers, and of what lies deep within.

    Args:
        anatomy: The bones.
        spec: How much, and over what depth.
        level: Attenuation of bone, float32 (z, y, x); used up.

    Returns:
        Attenuation, float32 (z, y, x); of use in bone alone.
    """
    if spec.outer_loss == 0 and spec.inner_loss == 0:
        return level
    depth = np.maximum(anatomy.depth_um, 0)
    if spec.outer_loss > 0:
        level *= 1 - np.float32(spec.outer_loss) * np.exp(depth / np.float32(-spec.outer_um))
    if spec.inner_loss > 0:
        grown = 1 - np.exp(depth / np.float32(-spec.inner_um))
        level *= 1 - np.float32(spec.inner_loss) * grown
    return level
