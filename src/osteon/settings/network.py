"""The settings of the network."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from osteon.settings.base import Settings
from osteon.settings.common import known
from osteon.tables.choices import ARCHITECTURES, ENCODERS


class NetworkSettings(Settings):
    """The network."""

    architecture: str = Field("unet", description="Architecture, see `osteon model list`.")
    encoder: str = Field("resnet18", description="Encoder, see `osteon model list`.")
    weights: str = Field(
        "random",
        description="Weights to start from: random; imagenet (the encoder's, downloaded once); or "
        "a model file: osteon's .safetensors or the original's .pth.",
        min_length=1,
    )
    encoder_learning_rate: float = Field(
        1.0,
        description="Learning rate of the encoder as a share of the others'; 0 freezes it, with "
        "the statistics of its batch normalisation.",
        ge=0,
        le=1,
    )
    decoder_channels: tuple[Annotated[int, Field(ge=1, le=1024)], ...] | None = Field(
        None,
        description="Channels of the decoder's stages, deepest first; fewer are faster (U-Net, "
        "UNet++: 5). None: the architecture's own (U-Net: 256, 128, 64, 32, 16).",
        min_length=1,
        max_length=8,
    )

    @field_validator("architecture")
    @classmethod
    def _architecture(cls, value: str) -> str:
        return known(ARCHITECTURES, value)

    @field_validator("encoder")
    @classmethod
    def _encoder(cls, value: str) -> str:
        return known(ENCODERS, value)
