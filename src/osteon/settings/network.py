"""The settings of the network."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from osteon.errors import UsageError
from osteon.settings.base import Settings
from osteon.settings.common import known
from osteon.tables.encoders import ENCODERS
from osteon.tables.networks import (
    ARCHITECTURES,
    DEFAULT_ENCODER,
    check_decoder,
    check_pair,
    dimensions_of,
)
from osteon.tables.timm import TIMM


class NetworkSettings(Settings):
    """The network."""

    architecture: str = Field("unet", description="Architecture, see `osteon model list`.")
    encoder: str = Field(
        DEFAULT_ENCODER,
        description="Encoder, see `osteon model list`; or tu- before the name of a model of timm.",
    )
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
    context: bool = Field(
        False,
        description="A second input channel (2D only): where the inside of a bone is, as far as a "
        "first pass of the same network over the reduced slice could tell.",
    )
    decoder_channels: tuple[Annotated[int, Field(ge=1, le=1024)], ...] | None = Field(
        None,
        description="Channels of the decoder's stages, deepest first; fewer are faster (U-Net, "
        "UNet++, MAnet: 5 numbers; PSPNet, DeepLabV3, DeepLabV3+, PAN, UPerNet, Segformer: 1; "
        "none of the others). None: the architecture's own (U-Net: 256, 128, 64, 32, 16).",
        min_length=1,
        max_length=8,
    )

    @field_validator("architecture")
    @classmethod
    def _architecture(cls, value: str) -> str:
        return known(ARCHITECTURES, value)

    @field_validator("encoder")
    @classmethod
    def _encoder(cls, value: str, info: ValidationInfo) -> str:
        name = _timm(value) if value.lower().startswith(TIMM) else known(ENCODERS, value)
        if "architecture" in info.data:
            _works(info.data["architecture"], name)
        return name

    @field_validator("decoder_channels")
    @classmethod
    def _decoder(
        cls, value: tuple[int, ...] | None, info: ValidationInfo
    ) -> tuple[int, ...] | None:
        if {"architecture", "encoder"} <= info.data.keys():
            _works(info.data["architecture"], info.data["encoder"], value)
        return value


def _timm(name: str) -> str:
    try:
        return ENCODERS.row(name).name
    except UsageError as error:
        raise ValueError(f"{error.what}; {error.mend or ''}") from None


def _works(architecture: str, encoder: str, channels: tuple[int, ...] | None = None) -> None:
    # The mode is not known here: what works in one of them passes; a fit checks its own.
    refusals = []
    for dimensions in dimensions_of(architecture):
        try:
            check_pair(architecture, encoder, dimensions)
            check_decoder(architecture, channels, dimensions=dimensions)
        except UsageError as error:
            refusals.append(f"{error.what}; {error.mend or ''}".removesuffix("; "))
        else:
            return
    raise ValueError(refusals[0])
