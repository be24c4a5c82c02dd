"""Procedural bones: from a specification in µm to labels, and what an image is made of.

Everything is a signed distance in µm (positive inside): the envelope on a coarse grid, the
cortex as the part of it near the surface, trabeculae, and canals, pores and lesions that are
carved out. Bone is where the distance is at least 0, which is where a voxel is at least half
mineral. What each case is labelled as follows docs/labelling.md.

The labels depend on the specification, the key of the generator and the shape alone. Distances
are computed in one thread in a fixed order, in double precision, and stored as float32; another
machine's mathematical library may differ in the last bit, which moves a label only where a
distance is 0 to within 1e-7: less than a voxel in a scan of this kind.
"""

from osteon.simulation.anatomy.features import Feature, GrowthPlate, Hole, Lesion, Sheet
from osteon.simulation.anatomy.scene import build_anatomy, build_scene
from osteon.simulation.anatomy.specs import (
    MIN_CANAL_VOXELS,
    MIN_CORTEX_VOXELS,
    MIN_TRABECULA_VOXELS,
    Anatomy,
    BoneSpec,
    CanalSpec,
    SceneSpec,
    share,
)

__all__ = [
    "MIN_CANAL_VOXELS",
    "MIN_CORTEX_VOXELS",
    "MIN_TRABECULA_VOXELS",
    "Anatomy",
    "BoneSpec",
    "CanalSpec",
    "Feature",
    "GrowthPlate",
    "Hole",
    "Lesion",
    "SceneSpec",
    "Sheet",
    "build_anatomy",
    "build_scene",
    "share",
]
