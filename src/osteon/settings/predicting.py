"""The settings of ``osteon predict``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from osteon.settings.base import Settings
from osteon.settings.cleaning import CleanUpSettings
from osteon.settings.common import Precision, at_least_one, known, yes_or_no
from osteon.tables.choices import AUTO, BACKENDS


class PredictSettings(Settings):
    """How a scan is segmented."""

    backend: str = Field(
        AUTO,
        description=f"One of: {', '.join(BACKENDS.names())}; auto: the fastest of those installed, "
        "measured.",
    )
    speed: Literal["normal", "fast", "int8"] = Field(
        "normal",
        description="fast: the network in whole numbers (int8, on the CPU), where that saves time "
        "and is found to give the same labels in 99.9 % of the voxels of held-back slices; int8: "
        "also where it saves none.",
    )
    device: str = Field(
        "auto", description="auto, cpu, cuda, cuda:1, mps; auto takes a GPU where there is one."
    )
    precision: Precision = Field(
        "auto", description="Arithmetic; auto: the fastest by a short measured probe."
    )
    memory: str = Field(
        "2GiB", description="Memory for the network's activations and the slices in flight."
    )
    threads: int | Literal["auto"] = Field("auto", description="CPU threads.")
    contiguous: Literal["auto", "yes", "no"] = Field(
        "auto",
        description="Whether neighbouring slices are neighbours in space; auto: judged from the "
        "image. Models that seek the outline of bones in a coarse pass ask: in the whole scan, or "
        "in each slice on its own.",
    )

    within_bone: Literal["auto", "yes", "no"] = Field(
        "auto",
        description="Whether all of the scan lies within a bone (a cube of trabecular bone, a "
        "biopsy), so that nothing is outside; auto: if no gap in it is as wide as a third of the "
        "view. Models that seek the outline of bones ask.",
    )

    resample: bool = Field(
        False,
        description="Resample a scan whose voxels lie outside what the model was fitted to, or "
        "whose bone is thinner in pixels, to the nearest that lies inside; the labels come back on "
        "the scan's own grid. Models fitted with voxel_size always do.",
    )

    views: Literal[1, 4, 8] = Field(
        1,
        description="Views of each input whose class probabilities are averaged: 4 mirrors it "
        "along y and x, 8 turns it by 90° as well. The time goes up as many times.",
    )

    axes: Literal[1, 3] = Field(
        1,
        description="Axes along which a 2D model sees the scan: 3 averages the class probabilities "
        "of slices across z, y and x. The time goes up as many times.",
    )
    skip_air: bool = Field(
        True,
        description="Leave out what holds only air, if an audit of a random sample finds nothing "
        "in it. Not with axes=3.",
    )

    surface: Literal["auto", "network", "half-maximum"] = Field(
        "auto",
        description="Where the surface of bone is put: network: where the network draws it; "
        "half-maximum: moved by up to two pixels, three times, to where grey values are half-way "
        "between bone and what lies beside it; auto: as the model asks for (bone-pores: "
        "half-maximum; models that are fitted: network, for they learn it from their labels).",
    )

    probabilities: bool = Field(
        False,
        description="Also write the probability of each class "
        "(<name>.probabilities.ome.zarr, 255 is 1).",
    )
    uncertainty: bool = Field(
        False,
        description="Also write the uncertainty of each label, the entropy of the probabilities "
        "(<name>.uncertainty.ome.zarr, 255 is 1: all classes are as likely).",
    )

    cleanup: CleanUpSettings = Field(CleanUpSettings(), description="Clean-up by class.")

    report: bool = Field(
        True, description="Write a report with pictures beside the labels (<name>.report.html)."
    )

    @field_validator("backend")
    @classmethod
    def _backend(cls, value: str) -> str:
        return AUTO if value.lower() == AUTO else known(BACKENDS, value)

    @field_validator("contiguous", "within_bone", mode="before")
    @classmethod
    def _contiguous(cls, value: object) -> object:
        return yes_or_no(value)

    @field_validator("threads")
    @classmethod
    def _threads(cls, value: int | str) -> int | str:
        return at_least_one(value)
