"""The settings of ``osteon measure``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from osteon.settings.base import Settings
from osteon.settings.common import choice, known, yes_or_no
from osteon.tables.measures import MEASURES

#: (z, y, x).
Triple = tuple[float, float, float]

_CENTRE = "Centre (z, y, x) in µm from the first voxel; in voxels where their size is unknown."
_TURN = (
    "Turn of the region in degrees about its own z, y and x axis, one after the other, by the "
    "right hand (about z: from x to y)."
)


class WholeRegion(Settings):
    """Everything."""

    name: Literal["whole"] = "whole"


class SlabRegion(Settings):
    """Slices between two heights."""

    name: Literal["slab"] = "slab"
    unit: Literal["um", "percent"] = Field(
        "percent",
        description="um: from the landmark; percent: of the length of each bone along z, from its "
        "first slice or the landmark. (In voxels where their size is unknown.)",
    )
    start: float = Field(45.0, description="Where the slab begins.")
    stop: float = Field(55.0, description="Where the slab ends; it may lie before the landmark.")
    landmark_um: float | None = Field(
        None,
        description="Height of a landmark in µm from the first slice, where 0 is; none: the first "
        "slice of the scan (um) or of the bone (percent).",
    )

    @model_validator(mode="after")
    def _order(self) -> SlabRegion:
        if self.stop <= self.start:
            raise ValueError("a slab must stop after it starts")
        return self


class BoxRegion(Settings):
    """A box, which may be turned."""

    name: Literal["box"] = "box"
    centre_um: Triple = Field((0.0, 0.0, 0.0), description=_CENTRE)
    size_um: Triple = Field((1000.0, 1000.0, 1000.0), description="Sides (z, y, x) in µm.")
    turn: Triple = Field((0.0, 0.0, 0.0), description=_TURN)

    @field_validator("size_um")
    @classmethod
    def _size(cls, value: Triple) -> Triple:
        return _positive(value)


class CylinderRegion(Settings):
    """A cylinder, which may be turned; its axis is z before."""

    name: Literal["cylinder"] = "cylinder"
    centre_um: Triple = Field((0.0, 0.0, 0.0), description=_CENTRE)
    radius_um: float = Field(500.0, description="Radius in µm.", gt=0)
    height_um: float = Field(1000.0, description="Height in µm.", gt=0)
    turn: Triple = Field((0.0, 0.0, 0.0), description=_TURN)


def _positive(value: Triple) -> Triple:
    if min(value) <= 0:
        raise ValueError("all must be greater than 0")
    return value


RegionSettings = WholeRegion | SlabRegion | BoxRegion | CylinderRegion


class CompartmentSettings(Settings):
    """How cortical and trabecular bone are told apart."""

    method: Literal["buie", "none"] = Field(
        "buie",
        description="buie: marrow spaces are opened and closed (Buie et al. 2007); none: the "
        "compartments are not told apart, and their measures are left out.",
    )
    canal_um: float = Field(
        100.0,
        description="Spaces narrower than this, in µm, are pores of the cortex.",
        gt=0,
    )
    trabecula_um: float = Field(
        300.0,
        description="Bone between marrow spaces that is thinner than this, in µm, is trabecular.",
        gt=0,
    )
    least_share: float = Field(
        0.01,
        description="Marrow spaces smaller than this part of the largest are pores of the cortex.",
        ge=0,
        le=1,
    )


class MeasureSettings(Settings):
    """What of a label volume is measured, and how."""

    region: Annotated[RegionSettings, choice("whole"), Field(discriminator="name")] = Field(
        WholeRegion(), description="The volume of interest."
    )
    content: Literal["bone", "trabecular"] = Field(
        "bone",
        description="What the region holds. bone: whole bones with their cortex; trabecular: "
        "trabecular bone and marrow alone, such as a core.",
    )
    compartments: CompartmentSettings = CompartmentSettings()
    objects: bool = Field(
        True, description="Measure each bone on its own; no: all together as one."
    )
    least_object: float = Field(
        0.01,
        description="Pieces smaller than this part of the largest bone's volume are no bones but "
        "fragments, which are counted and left out.",
        ge=0,
        le=1,
    )
    contiguous: Literal["auto", "yes", "no"] = Field(
        "auto",
        description="Whether neighbouring slices are neighbours in space; auto: judged from the "
        "labels. If not, areas alone are measured.",
    )
    resolved_voxels: float = Field(
        2.5,
        description="A mean thickness below so many voxels is 'not resolved'.",
        ge=0,
    )
    narrowest_canal_um: float = Field(
        25.0,
        description="Ct.Po is 'not resolved' if canals of this width, in µm, are below 3 voxels. "
        "Canals are 5 to 25 µm wide in rodents, mostly 20 to 100 in humans.",
        gt=0,
    )
    measures: tuple[str, ...] | None = Field(
        None,
        description="Names of measures, such as [bv-tv, tb-th]; none: all of docs/morphometry.md "
        "but smi, which has to be named.",
        min_length=1,
    )

    @field_validator("contiguous", mode="before")
    @classmethod
    def _contiguous(cls, value: object) -> object:
        return yes_or_no(value)

    @field_validator("measures")
    @classmethod
    def _measures(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if value is None else tuple(known(MEASURES, name) for name in value)
