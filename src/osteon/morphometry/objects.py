"""Several bones in one scan: pieces of what lies inside the outline."""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import numpy as np
import numpy.typing as npt

from osteon.morphometry.ridge import Mask

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Objects:
    """The bones of a scan.

    Attributes:
        labels: (z, y, x) number of the piece of each voxel, 0 outside; numbers are not ordered.
        numbers: The numbers of the bones, the largest first.
        boxes: The box of each bone.
        fragments: How many pieces are too small to be a bone.
        fragment_voxels: Their volume in voxels.
    """

    labels: npt.NDArray[np.unsignedinteger]
    numbers: tuple[int, ...]
    boxes: tuple[Box, ...]
    fragments: int
    fragment_voxels: int


def find_objects(outline: Mask, *, least_share: float) -> Objects:
    """Find the bones of a scan: connected pieces (26 neighbours) of bone and pores.

    Memory: about 5 bytes a voxel.

    Args:
        outline: (z, y, x) everything inside the outlines.
        least_share: Pieces smaller than this part of the largest are fragments.

    Returns:
        The bones.
    """
    labels, count = cc3d.connected_components(outline, connectivity=26, return_N=True)
    if count == 0:
        return Objects(labels, (), (), 0, 0)
    found = cc3d.statistics(labels, no_slice_conversion=False)
    sizes = np.asarray(found["voxel_counts"], dtype=np.int64).copy()
    sizes[0] = 0
    order = np.argsort(-sizes[1:], kind="stable") + 1
    bones = [int(n) for n in order if sizes[n] >= least_share * sizes.max()]
    small = int(sizes.sum() - sizes[bones].sum())
    boxes = tuple(found["bounding_boxes"][n] for n in bones)
    return Objects(labels, tuple(bones), boxes, count - len(bones), small)
