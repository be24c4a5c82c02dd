"""Areas and second moments of area, slice by slice (z is the axis of the bone)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from osteon.morphometry.compartments import CORTICAL
from osteon.morphometry.ridge import Mask, Spacing

Labels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


@dataclass(frozen=True)
class Section:
    """One slice of a bone; areas in squares, moments in fourth powers of the voxel size's unit.

    Attributes:
        z: The slice.
        total: Tt.Ar, area inside the outline.
        bone: B.Ar, area of bone.
        cortex: Ct.Ar, area of the cortex with its pores; None without compartments.
        cortex_bone: Ct.B.Ar, the same without its pores.
        largest: Imax of bone about the slice's centroid of bone.
        smallest: Imin.
    """

    z: int
    total: float
    bone: float
    cortex: float | None
    cortex_bone: float | None
    largest: float
    smallest: float

    @property
    def marrow(self) -> float | None:
        """Ma.Ar, area inside the cortex."""
        return None if self.cortex is None else self.total - self.cortex

    @property
    def polar(self) -> float:
        """J about the axis z through the slice's centroid: Imax + Imin."""
        return self.largest + self.smallest


def sections(
    bone: Mask, outline: Mask, spacing: Spacing, *, compartments: Labels | None, first: int = 0
) -> list[Section]:
    """Measure the slices of a bone.

    Args:
        bone: (z, y, x) bone.
        outline: (z, y, x) everything inside the periosteal surface.
        spacing: Voxel size along (z, y, x).
        compartments: (z, y, x) 1 cortical, 2 trabecular; None: not told apart.
        first: Number of the first slice.

    Returns:
        One section for each slice that the outline is in.
    """
    pixel = spacing[1] * spacing[2]
    out = []
    for z in range(bone.shape[0]):
        total = int(np.count_nonzero(outline[z]))
        if total == 0:
            continue
        cortex = None if compartments is None else compartments[z] == CORTICAL
        largest, smallest = moments(bone[z], (spacing[1], spacing[2]))
        out.append(
            Section(
                z=first + z,
                total=total * pixel,
                bone=np.count_nonzero(bone[z]) * pixel,
                cortex=None if cortex is None else np.count_nonzero(cortex) * pixel,
                cortex_bone=(
                    None if cortex is None else np.count_nonzero(cortex & bone[z]) * pixel
                ),
                largest=largest,
                smallest=smallest,
            )
        )
    return out


def moments(bone: Mask, spacing: tuple[float, float]) -> tuple[float, float]:
    """Return the principal second moments of area about the centroid.

    Each pixel counts with its own moment (side⁴/12 for a square), as in BoneJ.

    Args:
        bone: (y, x) bone.
        spacing: Pixel size along (y, x).

    Returns:
        Imax and Imin, in the fourth power of the pixel size's unit; 0 without bone.
    """
    y, x = np.nonzero(bone)
    if y.size == 0:
        return 0.0, 0.0
    height, width = spacing
    dy, dx = (y - y.mean()) * height, (x - x.mean()) * width
    area = height * width
    about_x = area * float((dy**2).sum() + y.size * height**2 / 12)
    about_y = area * float((dx**2).sum() + x.size * width**2 / 12)
    product = area * float((dy * dx).sum())
    middle, spread = (about_x + about_y) / 2, np.hypot((about_x - about_y) / 2, product)
    return float(middle + spread), float(middle - spread)
