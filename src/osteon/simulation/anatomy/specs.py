"""What bones are described by, and what they become."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from osteon.errors import UsageError
from osteon.labels import BONE_PORES, IGNORE
from osteon.simulation.anatomy.features import Feature
from osteon.simulation.envelope import EnvelopeSpec
from osteon.simulation.trabeculae import TrabecularSpec

Float32 = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]

BACKGROUND, BONE, PORES = (BONE_PORES.value(n) for n in ("background", "bone", "pores"))

#: Trabeculae thinner than this many voxels cannot be labelled and are refused.
MIN_TRABECULA_VOXELS = 1.5
#: A cortex is at least this thick, in voxels, so that pores never touch the outside.
MIN_CORTEX_VOXELS = 2.0
#: Canals under this many voxels wide are labelled bone (docs/labelling.md).
MIN_CANAL_VOXELS = 3.0
#: Bones in one field of view: their numbers are stored in a byte.
MAX_BONES = 255


@dataclass(frozen=True)
class CanalSpec:
    """Canals of the cortex, about along the axis of the bone; or resorption spaces: short ones.

    Attributes:
        diameter_um: Mean diameter in µm.
        per_mm2: Canals per mm² of a cross-section of the cortex.
        variation: Relative standard deviation of the diameter.
        length_diameters: A canal is this many diameters long.
    """

    diameter_um: float
    per_mm2: float
    variation: float = 0.4
    length_diameters: float = 40.0

    def __post_init__(self) -> None:
        if self.diameter_um <= 0 or self.per_mm2 < 0 or self.variation < 0:
            raise UsageError("diameter, density and variation of canals cannot be negative")
        if self.length_diameters < 1:
            raise UsageError("a canal is at least as long as it is wide")


@dataclass(frozen=True)
class BoneSpec:
    """One bone and its place in the field of view; lengths in µm.

    Attributes:
        envelope: The outer shape.
        cortex_um: How deep the cortex is, on average over the surface. Its Ct.Th (maximal spheres,
            weighed by volume) is larger where it varies: by about 4 % at a variation of 0.15 and
            13 % at 0.3.
        cortex_variation: Relative standard deviation of a smooth variation of it.
        trabeculae: What fills the marrow space, None for an empty cavity.
        cavity: Share of the depth below the cortex, from the middle, without trabeculae, 0..1.
        canals: Canals of the cortex, None for a solid one.
        resorption: Larger and shorter spaces in the cortex, None for none.
        features: Growth plates, lesions, holes, cracks and sutures.
        closed_below_um: Holes narrower than this are foramina: the envelope is closed flat across
            them, so that what they hold is pores; wider ones are background.
    """

    envelope: EnvelopeSpec
    cortex_um: float
    cortex_variation: float = 0.15
    trabeculae: TrabecularSpec | None = None
    cavity: float = 0.0
    canals: CanalSpec | None = None
    resorption: CanalSpec | None = None
    features: tuple[Feature, ...] = ()
    closed_below_um: float = 0.0

    def __post_init__(self) -> None:
        if self.cortex_um <= 0 or self.cortex_variation < 0 or self.closed_below_um < 0:
            raise UsageError("a cortex has a positive thickness and no negative variation")
        if not 0 <= self.cavity <= 1:
            raise UsageError(f"the share of the cavity must be 0 to 1, not {self.cavity}")


@dataclass(frozen=True)
class SceneSpec:
    """The bones in a field of view. Each has its own envelope and cortex; between is background.

    Attributes:
        bones: The bones. Where two would overlap, each ends half-way: they touch at a surface
            that both have a cortex at, so that no bone fills another's pores.
        gap_um: The least distance of two bones; 0 lets them touch.
    """

    bones: tuple[BoneSpec, ...]
    gap_um: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= len(self.bones) <= MAX_BONES or self.gap_um < 0:
            raise UsageError(f"a scene has 1 to {MAX_BONES} bones and no negative gap")


@dataclass(frozen=True)
class Anatomy:
    """Bones on the voxels of a field of view.

    Attributes:
        labels: uint8 (z, y, x): 0 background, 1 bone, 2 pores, 255 not judged.
        mineral: Share of bone in each voxel, float32 (z, y, x), 0..1.
        depth_um: Distance from the nearest envelope, float32 (z, y, x), positive inside; right
            near a bone, to several voxels far outside of it.
        voxel_um: Voxel size in µm.
        envelope: The outer shape of the first bone.
        objects: uint8 (z, y, x): the number of the bone that a voxel belongs to, from 1; 0
            outside.
        cartilage: Share of growth-plate cartilage in each voxel, float32 (z, y, x), or None.
        metal: Share of metal in holes, float32 (z, y, x), or None.
    """

    labels: Labels
    mineral: Float32
    depth_um: Float32
    voxel_um: float
    envelope: EnvelopeSpec = field(repr=False)
    objects: Labels
    cartilage: Float32 | None = None
    metal: Float32 | None = None

    @property
    def inside(self) -> Float32:
        """Share of each voxel inside an envelope, float32 (z, y, x), 0..1."""
        out = share(self.depth_um, voxel_um=self.voxel_um)
        # Where two bones touch, each has half of the voxel.
        return np.maximum(out, self.mineral, out=out)

    @property
    def judged(self) -> bool:
        """Whether every voxel has a class."""
        return not bool((self.labels == IGNORE).any())


def share(distance: Float32, *, voxel_um: float) -> Float32:
    """Return the share of each voxel that lies inside a surface, to first order.

    Args:
        distance: Signed distance of the voxel centres in µm, positive inside.
        voxel_um: Voxel size in µm.

    Returns:
        float32 array of 0..1: 0.5 at distance 0, linear over one voxel.
    """
    out: Float32 = distance / np.float32(voxel_um)
    out += np.float32(0.5)
    return np.clip(out, 0, 1, out=out)
