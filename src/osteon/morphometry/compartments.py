"""Cortical and trabecular bone told apart, by the marrow between the trabeculae.

After Buie et al. 2007 (10.1016/j.bone.2007.07.007), whose steps are dilations and erosions, a
fixed number of voxels wide. Here they are distances in µm, so that a voxel's size or shape does
not matter, and the periosteal surface is that of the labels.
"""

from __future__ import annotations

import cc3d
import numpy as np
import numpy.typing as npt

from osteon.labels import LabelClass, LabelScheme
from osteon.morphometry.ridge import Mask, Spacing
from osteon.morphometry.thickness import squared_distance
from osteon.settings.measuring import CompartmentSettings

#: Values in a file of compartments.
CORTICAL, TRABECULAR = 1, 2
#: Names and colours of the compartments.
COMPARTMENTS = LabelScheme(
    (
        LabelClass("background", 0, (0, 0, 0)),
        LabelClass("cortical", CORTICAL, (230, 159, 0)),
        LabelClass("trabecular", TRABECULAR, (0, 158, 115)),
    ),
    protocol="compartments/1",
)


def separate(
    bone: Mask, outline: Mask, spacing: Spacing, *, settings: CompartmentSettings, planar: bool
) -> npt.NDArray[np.uint8]:
    """Tell the cortical from the trabecular compartment.

    1. Spaces inside the outline are opened by a ball ``canal_um`` across: what is narrower is a
       pore of the cortex. 2. Of what is left, pieces below ``least_share`` of the largest are, too.
    3. The rest is closed by a ball ``trabecula_um`` across: thinner bone between spaces is
       trabecular. 4. What is left inside the outline is cortical.

    Edges of the image are no surface. Memory: about 20 bytes a voxel.

    Args:
        bone: (z, y, x) bone.
        outline: (z, y, x) everything inside the periosteal surface.
        spacing: Voxel size along (z, y, x), in µm.
        settings: The widths.
        planar: Do it slice by slice, because neighbouring slices are not neighbours in space.

    Returns:
        uint8 (z, y, x): 0 outside, 1 cortical, 2 trabecular.
    """
    if planar:
        slices = [
            separate(b[np.newaxis], o[np.newaxis], spacing, settings=settings, planar=False)
            for b, o in zip(bone, outline, strict=True)
        ]
        return np.concatenate(slices)
    out = np.where(outline, CORTICAL, 0).astype(np.uint8)
    marrow = _opened(outline & ~bone, spacing, settings.canal_um / 2)
    marrow = _large(marrow, settings.least_share)
    if not marrow.any():
        return out
    closed = _closed(marrow, spacing, settings.trabecula_um / 2)
    out[closed & outline] = TRABECULAR
    return out


def _opened(mask: Mask, spacing: Spacing, radius: float) -> Mask:
    """Erode and dilate by a ball; edges of the image are not surface."""
    core: Mask = squared_distance(mask, spacing) > radius**2
    if not core.any():
        return core
    grown: Mask = squared_distance(~core, spacing) <= radius**2
    return grown & mask


def _closed(mask: Mask, spacing: Spacing, radius: float) -> Mask:
    """Dilate and erode by a ball; beyond the image goes on what is at its edge."""
    # Room for what the dilation adds: it must not be held up by the end of the array, or the
    # erosion would not take it back.
    room = [int(radius / size) + 2 for size in spacing]
    padded = np.pad(mask, [(n, n) for n in room], mode="edge")
    grown: Mask = squared_distance(~padded, spacing) <= radius**2
    shrunk: Mask = squared_distance(grown, spacing) > radius**2
    inner = tuple(slice(n, -n) for n in room)
    return shrunk[inner] | mask


def _large(mask: Mask, share: float) -> Mask:
    labels, count = cc3d.connected_components(mask, connectivity=6, return_N=True)
    if count == 0:
        return mask
    sizes = np.bincount(labels.reshape(-1), minlength=count + 1)
    sizes[0] = 0
    kept: Mask = (sizes >= max(1.0, share * float(sizes.max())))[labels]
    return kept
