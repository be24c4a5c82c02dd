"""The settings of ``osteon simulate``."""

from __future__ import annotations

from pydantic import Field

from osteon.settings.base import Settings


class SimulateSettings(Settings):
    """A cohort of simulated scans."""

    scans: int = Field(20, description="Scans.", ge=1, le=10_000)
    species: int = Field(
        5, description="Made-up species that the scans are spread over.", ge=1, le=5
    )
    kinds: tuple[str, ...] | None = Field(
        None,
        description="What scans show, in turn: shaft, end, vertebra, arch, flat, skull, rib, "
        "several, joint, interior. None: all of them, some more often than others.",
        min_length=1,
    )
    size: int = Field(192, description="Height and width of a slice, in voxels.", ge=64, le=4096)
    slices: int = Field(96, description="Slices of a scan.", ge=8, le=4096)
    seed: int = Field(42, description="Seed of everything random.", ge=0, lt=2**32)
