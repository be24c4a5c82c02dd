"""One bone as it is measured: its voxels, region and compartments, made once and shared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from osteon.errors import InputError
from osteon.morphometry.compartments import CORTICAL, TRABECULAR
from osteon.morphometry.ridge import Mask
from osteon.morphometry.thickness import Map, local_thickness
from osteon.morphometry.values import Grid
from osteon.settings.measuring import MeasureSettings

#: Takes a map of a bone: its name, and (z, y, x) values within the bone's box.
Sink = Callable[[str, Map], None]


def no_sink(name: str, values: Map) -> None:
    """Keep no maps."""


@dataclass(frozen=True)
class Bone:
    """A bone in its box; all arrays (z, y, x) of the same shape.

    Attributes:
        bone: Bone; also outside of the region, so that its cut is no surface.
        outline: Everything inside the periosteal surface.
        region: The region; None: all.
        compartments: 1 cortical, 2 trabecular; None: not told apart.
        grid: Voxel size.
        settings: How it is measured.
        density: mgHA/cm³ of each voxel; None where the scan is not calibrated.
        first: Number of the first slice.
        sink: Takes maps of thickness.
    """

    bone: Mask
    outline: Mask
    region: Mask | None
    compartments: npt.NDArray[np.uint8] | None
    grid: Grid
    settings: MeasureSettings
    density: npt.NDArray[Any] | None = None
    first: int = 0
    sink: Sink = no_sink

    def inside(self, mask: Mask) -> Mask:
        """Return the part of a mask that is within the region."""
        return mask if self.region is None else mask & self.region

    @cached_property
    def trabecular(self) -> Mask:
        """The trabecular compartment, also outside of the region."""
        if self.compartments is None:
            if self.settings.content == "trabecular":
                return self.outline
            return np.zeros_like(self.outline)
        chosen: Mask = self.compartments == TRABECULAR
        return chosen

    @cached_property
    def cortical(self) -> Mask:
        """The cortical compartment with its pores, also outside of the region."""
        if self.compartments is None:
            return np.zeros_like(self.outline)
        chosen: Mask = self.compartments == CORTICAL
        return chosen

    def thickness(self, mask: Mask, name: str) -> npt.NDArray[np.float32] | None:
        """Return the local thickness of a structure at its voxels within the region.

        Args:
            mask: The structure, also outside of the region.
            name: Name of the map.

        Returns:
            Values in µm or voxels; None if the structure fills the box, so that it has none.
        """
        if mask.all():
            return None
        values = local_thickness(mask, self.grid.working)
        values *= np.float32(min(self.grid.spacing))
        self.sink(name, values)
        found: npt.NDArray[np.float32] = values[self.inside(mask)]
        return found

    def check(self) -> None:
        """Refuse a region without any bone or pores.

        Raises:
            InputError: If nothing of the bone is within the region.
        """
        if not self.inside(self.outline).any():
            raise InputError(
                "nothing of the bone is within the region",
                where="region",
                mend="the region is given in µm (z, y, x) from the first voxel of the volume",
            )
