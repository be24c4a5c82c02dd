"""Removal of bone that hangs in the air."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Float32 = npt.NDArray[np.float32]

#: A bone fragment with fewer voxels than a ball of this many thicknesses in diameter is dropped.
FRAGMENT_DIAMETERS = 2.5
#: Fragments of fewer voxels are dropped whatever the thickness of trabeculae.
MIN_FRAGMENT = 27
#: Distance in µm, far outside, that erased bone is given.
ERASED = -1e3


def drop_fragments(
    bone: Float32, depth_um: Float32, *, thickness_um: float, voxel_um: float
) -> None:
    """Remove, in place, bone that touches neither the cortex nor the edge of the field of view.

    Args:
        bone: Signed distance from bone in µm (z, y, x).
        depth_um: Depth below the envelope in µm.
        thickness_um: Thickness of trabeculae in µm.
        voxel_um: Voxel size in µm.
    """
    found, n = ndimage.label(bone >= 0)
    if n < 2:
        return
    faces = [found[s] for a in range(3) for s in (_face(a, 0), _face(a, -1))]
    kept = np.unique(np.concatenate([f.ravel() for f in faces]))
    sizes = np.bincount(found.ravel(), minlength=n + 1)
    cortical = np.unique(found[(depth_um >= 0) & (depth_um < voxel_um)])
    lost = np.ones(n + 1, dtype=bool)
    lost[kept] = lost[cortical] = lost[0] = False
    limit = FRAGMENT_DIAMETERS * thickness_um / voxel_um
    lost &= sizes < max(np.pi / 6 * limit**3, MIN_FRAGMENT)
    for k, box in enumerate(ndimage.find_objects(found), start=1):
        if box is not None and lost[k]:
            _erase(bone, found, k, box)


def _face(axis: int, index: int) -> tuple[slice | int, ...]:
    return tuple(index if a == axis else slice(None) for a in range(3))


def _erase(
    bone: Float32, found: npt.NDArray[np.int32], k: int, box: tuple[slice, slice, slice]
) -> None:
    """Make one fragment and its soft edge vanish."""
    wide = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
    fragment = ndimage.binary_dilation(found[wide] == k, np.ones((3, 3, 3)))
    part = bone[wide]
    # Neighbours that are bone belong to another fragment and stay.
    part[fragment & ((found[wide] == k) | (found[wide] == 0))] = ERASED
