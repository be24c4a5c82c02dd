"""The settings of ``osteon fit``; the defaults are those of the paper (Lee et al. 2026)."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from osteon.errors import UsageError
from osteon.settings.base import Settings
from osteon.settings.common import choice
from osteon.settings.data import (
    AugmentationSettings,
    NormalisationSettings,
    PatchSettings,
    SimulationSettings,
    ValidationSettings,
)
from osteon.settings.losses import JaccardSettings, LossSettings
from osteon.settings.network import NetworkSettings
from osteon.settings.optimising import (
    AdamSettings,
    CosineSchedule,
    OptimiserSettings,
    ScheduleSettings,
    TrainingSettings,
)
from osteon.tables.networks import check_decoder, check_pair, form

Mode = Literal["2D", "2.5D", "3D"]
#: The recipe that simulated slices are normalised by.
SIMULATED_RECIPE = "edges"


class FitSettings(Settings):
    """All settings of a fit."""

    seed: int = Field(42, description="Seed of everything random.", ge=0, lt=2**32)
    mode: Mode = Field(
        "2D",
        description="2D: slice by slice; 2.5D: a slice with its neighbours; 3D: blocks. 2.5D and "
        "3D need scans whose neighbouring slices are neighbours in space.",
    )
    voxel_size: float | None = Field(
        None,
        description="Voxel size in µm that scans are resampled to first (in 2D within the slice "
        "alone); the model remembers it. None: scans stay as they are.",
        gt=0,
    )
    surface: Literal["network", "half-maximum"] = Field(
        "network",
        description="Where predictions of the fitted model put the surface of bone. network: where "
        "it learned it from your labels; half-maximum: moved from there to where grey "
        "values are half-way (as bone-pores does). Figures of the fit are without it.",
    )
    network: NetworkSettings = NetworkSettings()
    patches: PatchSettings = PatchSettings()
    simulation: SimulationSettings = SimulationSettings()
    normalisation: NormalisationSettings = NormalisationSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    loss: Annotated[LossSettings, choice("jaccard"), Field(discriminator="name")] = Field(
        JaccardSettings(), description="Loss."
    )
    optimiser: Annotated[OptimiserSettings, choice("adam"), Field(discriminator="name")] = Field(
        AdamSettings(), description="Optimiser."
    )
    schedule: Annotated[ScheduleSettings, choice("cosine"), Field(discriminator="name")] = Field(
        CosineSchedule(), description="Learning-rate schedule, over the steps."
    )
    validation: ValidationSettings = ValidationSettings()
    training: TrainingSettings = TrainingSettings()

    @model_validator(mode="after")
    def _buildable(self) -> Self:
        """Refuse networks that cannot be built in this mode, before anything starts."""
        network, dimensions = self.network, 3 if self.mode == "3D" else 2
        try:
            check_pair(network.architecture, network.encoder, dimensions, self.in_channels)
            check_decoder(network.architecture, network.decoder_channels, dimensions=dimensions)
        except UsageError as error:
            raise ValueError(f"{error.what}; {error.mend or ''}".removesuffix("; ")) from None
        has_encoder = form(network.architecture, dimensions).encoder
        if network.encoder_learning_rate != 1 and not has_encoder:
            raise ValueError(
                "network.encoder_learning_rate needs an encoder, and the architecture "
                f"{network.architecture} has none in {self.mode}"
            )
        return self

    @property
    def in_channels(self) -> int:
        """Channels of the network's input."""
        if self.mode == "2.5D":
            return self.patches.slices
        return 2 if self.network.context else 1

    @model_validator(mode="after")
    def _flat(self) -> Self:
        if self.mode == "2D":
            return self
        for name, asked in (
            ("network.context", self.network.context),
            ("simulation.items", self.simulation.items > 0),
        ):
            if asked:
                raise ValueError(f"{name} works in 2D only, not in {self.mode}")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.simulation.items and self.normalisation.recipe != SIMULATED_RECIPE:
            raise ValueError(
                "simulated slices are normalised by one recipe: simulation.items needs "
                f"normalisation.recipe={SIMULATED_RECIPE}, not {self.normalisation.recipe}"
            )
        if self.validation.specimens is not None and self.validation.method != "specimens":
            raise ValueError("validation.specimens needs validation.method=specimens")
        if self.validation.method == "none":
            if self.schedule.name == "plateau":
                raise ValueError("schedule=plateau needs a validation, not validation.method=none")
            if self.training.patience is not None:
                raise ValueError("training.patience needs a validation, not validation.method=none")
        return self
