"""A slice of known materials, to compare scanners by."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from osteon.errors import UsageError
from osteon.simulation.randomness import generator

Float32 = npt.NDArray[np.float32]

#: Attenuation of marrow and of the soft tissue around the bone, relative to cortical bone.
MARROW, TISSUE = 0.2, 0.16
#: Radii relative to the width of the slice.
TISSUE_RADIUS, BONE_RADII, CORTEX = 0.47, (0.36, 0.30), 0.05
#: Trabeculae: spacing relative to the width, share of the marrow space.
SPACING, SHARE = 0.055, 0.25
WAVES = 24


def bone_phantom(size: int, *, supersample: int = 1, seed: int = 0) -> dict[str, Float32]:
    """Make a bone with a cortex and trabeculae in soft tissue, in air.

    Args:
        size: Height and width of the slice in voxels.
        supersample: The maps have voxels this many times smaller.
        seed: Seed of the trabeculae.

    Returns:
        Relative attenuation of ``bone`` and of ``water`` (tissue and marrow), float32 (y, x) of
        ``size * supersample`` voxels a side: the same slice at any supersampling.

    Raises:
        UsageError: If a size is not positive.
    """
    if min(size, supersample) < 1:
        raise UsageError(f"a phantom cannot have {size} voxels, {supersample} times finer")
    n = size * supersample
    at = ((np.arange(n) + 0.5) / n - 0.5).astype(np.float32)
    y, x = at[:, None], at[None, :]
    rng = generator(seed)
    angle, phase = rng.uniform(0, np.pi, WAVES), rng.uniform(0, 2 * np.pi, WAVES)
    texture = np.zeros((n, n), dtype=np.float32)
    for a, p in zip(angle, phase, strict=True):
        texture += np.cos(
            np.float32(2 * np.pi / SPACING)
            * (np.float32(np.cos(a)) * x + np.float32(np.sin(a)) * y)
            + np.float32(p)
        )
    outer = np.hypot(y / BONE_RADII[0], x / BONE_RADII[1])
    inner = np.hypot(y / (BONE_RADII[0] - CORTEX), x / (BONE_RADII[1] - CORTEX))
    trabeculae = texture > np.quantile(texture, 1 - SHARE)
    bone = (outer <= 1) & ((inner > 1) | trabeculae)
    tissue = np.hypot(y, x) <= TISSUE_RADIUS
    water = np.where(outer <= 1, np.float32(MARROW), np.float32(TISSUE))
    water *= (tissue | (outer <= 1)) & ~bone
    return {"bone": bone.astype(np.float32), "water": water}
