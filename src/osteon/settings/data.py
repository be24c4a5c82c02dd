"""The settings of what a fit learns from: patches, grey values, augmentation, validation."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from osteon.settings.base import Settings
from osteon.settings.common import known
from osteon.tables.augmentations import AUGMENTATIONS
from osteon.tables.choices import RECIPES

#: Height and width of patches are multiples of this, the stride of the deepest encoder stage.
PATCH_STEP = 32
#: Neighbouring slices that a 2.5D network can see.
NEIGHBOURS = (3, 5, 7, 9)


class PatchSettings(Settings):
    """Random patches that the network is fitted to."""

    size: int = Field(
        256,
        description="Height and width of a patch, in pixels; a multiple of 32.",
        ge=32,
        le=2048,
        multiple_of=PATCH_STEP,
    )
    per_slice: int = Field(4, description="Patches cut from each slice in an epoch.", ge=1, le=1024)
    max_overlap: float = Field(
        0.3,
        description="Largest overlap of two patches of one slice, as a share of a patch; "
        "given up after 100 tries (then any place is taken).",
        ge=0,
        le=1,
    )
    slices: int = Field(
        3,
        description="Neighbouring slices that are seen at once (2.5D only): 3, 5, 7 or 9; the "
        "labels are the middle one's.",
    )
    depth: int = Field(
        32,
        description="Depth of a patch in slices (3D only); a multiple of 32. patches.per_slice "
        "then counts patches for every so many slices.",
        ge=32,
        le=512,
        multiple_of=PATCH_STEP,
    )
    must_hold: str = Field(
        "foreground",
        description="Class that patches.share of the patches must hold: its name, or foreground "
        "(any but the background).",
        min_length=1,
    )
    share: float = Field(
        0.0,
        description="Share of a slice's patches (rounded) that must hold patches.must_hold, where "
        "the slice has it; 3D: of the patches of a run of slices.",
        ge=0,
        le=1,
    )
    skip_empty: bool = Field(False, description="Leave out slices whose labels are all background.")

    @field_validator("slices")
    @classmethod
    def _slices(cls, value: int) -> int:
        if value not in NEIGHBOURS:
            raise ValueError(f"must be one of {', '.join(map(str, NEIGHBOURS))}")
        return value


class SimulationSettings(Settings):
    """Simulated slices to learn from, instead of a dataset or beside it (2D alone)."""

    items: int = Field(
        0,
        description="Simulated slices of patches.size in an epoch, never the same; 0: none. "
        "Without a dataset, validation is on simulated slices too.",
        ge=0,
        le=10_000_000,
    )
    validation_items: int = Field(
        400,
        description="Simulated slices that are measured after each epoch, where there is no "
        "dataset; the same in every epoch.",
        ge=1,
        le=100_000,
    )


class NormalisationSettings(Settings):
    """How grey values are normalised, by statistics of each scan."""

    recipe: str = Field("zscore", description=f"One of: {', '.join(RECIPES.names())}.")

    @field_validator("recipe")
    @classmethod
    def _recipe(cls, value: str) -> str:
        return known(RECIPES, value)


class AugmentationSettings(Settings):
    """Random changes of the patches, so that the network generalises."""

    preset: str = Field("reference", description=f"One of: {', '.join(AUGMENTATIONS.names())}.")
    strength: float = Field(
        1.0,
        description="Scales how often and how much the preset strong changes patches, 0 to 2; "
        "other presets have no strength.",
        ge=0,
        le=2,
    )

    @field_validator("preset")
    @classmethod
    def _preset(cls, value: str) -> str:
        return known(AUGMENTATIONS, value)

    @model_validator(mode="after")
    def _has_strength(self) -> Self:
        if self.strength != 1 and not AUGMENTATIONS.row(self.preset).capabilities.get("strength"):
            with_it = [row.name for row in AUGMENTATIONS if row.capabilities.get("strength")]
            raise ValueError(
                f"strength={self.strength:g} needs preset={' or '.join(with_it)}, "
                f"not preset={self.preset}"
            )
        return self


class ValidationSettings(Settings):
    """Which slices are kept back to measure each epoch."""

    method: Literal["specimens", "slabs", "none"] = Field(
        "specimens",
        description="specimens: whole specimens are kept back; slabs: the last slices of each "
        "scan, behind a gap (for a single specimen; optimistic); none: fit to everything, keep "
        "the last weights.",
    )
    share: float = Field(
        0.2,
        description="Share of the specimens (rounded, at least one) or of the slices kept back.",
        gt=0,
        lt=1,
    )
    specimens: tuple[str, ...] | None = Field(
        None, description="Names of the specimens kept back, instead of a random share."
    )
    gap: int = Field(8, description="Slices left out between the slabs (slabs only).", ge=0)
    max_slices: int | None = Field(
        None,
        description="At most so many slices of each scan are measured, evenly spaced and the same "
        "in every epoch; none: all.",
        ge=1,
    )
