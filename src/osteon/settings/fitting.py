"""The settings of ``osteon fit``; the defaults are those of the paper (Lee et al. 2026)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from osteon.registry import Table
from osteon.settings.base import Settings
from osteon.tables.choices import ARCHITECTURES, AUGMENTATIONS, ENCODERS, RECIPES

Precision = Literal["auto", "fp32", "bf16", "fp16"]

#: Height and width of patches are multiples of this, the stride of the deepest encoder stage.
PATCH_STEP = 32


def _choice(default: str) -> BeforeValidator:
    """A choice may be given by its name alone, or by parameters of the default alone."""

    def by_name(value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, dict) and "name" not in value:
            return {"name": default, **value}
        return value

    return BeforeValidator(by_name)


def at_least_one(value: int | str) -> int | str:
    """Refuse a number below 1.

    Args:
        value: A number, or ``auto``.

    Raises:
        ValueError: If it is a number below 1.
    """
    if isinstance(value, int) and value < 1:
        raise ValueError("must be at least 1, or auto")
    return value


def known(table: Table, name: str) -> str:
    """Find the name of a row.

    Args:
        table: The table.
        name: Its name or an alias.

    Returns:
        The row's name.

    Raises:
        ValueError: If there is no such row; pydantic turns it into a message.
    """
    from osteon.errors import UsageError

    try:
        return table.row(name).name
    except UsageError as error:
        raise ValueError(f"{error.what}. {error.mend or ''}") from None


class NetworkSettings(Settings):
    """The network."""

    architecture: str = Field("unet", description="Architecture, see `osteon model list`.")
    encoder: str = Field("resnet18", description="Encoder, see `osteon model list`.")
    weights: Literal["random"] = Field("random", description="Weights to start from.")
    decoder_channels: tuple[Annotated[int, Field(ge=1, le=1024)], ...] = Field(
        (256, 128, 64, 32, 16),
        description="Channels of the decoder's stages, deepest first; fewer are faster.",
        min_length=5,
        max_length=5,
    )

    @field_validator("architecture")
    @classmethod
    def _architecture(cls, value: str) -> str:
        return known(ARCHITECTURES, value)

    @field_validator("encoder")
    @classmethod
    def _encoder(cls, value: str) -> str:
        return known(ENCODERS, value)


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

    @field_validator("preset")
    @classmethod
    def _preset(cls, value: str) -> str:
        return known(AUGMENTATIONS, value)


class JaccardSettings(Settings):
    """Soft Jaccard loss."""

    name: Literal["jaccard"] = "jaccard"


class JaccardCrossEntropySettings(Settings):
    """Soft Jaccard loss plus cross-entropy."""

    name: Literal["jaccard-ce"] = "jaccard-ce"
    cross_entropy_weight: float = Field(
        1.0, description="Weight of the cross-entropy beside the Jaccard loss.", ge=0
    )


LossSettings = JaccardSettings | JaccardCrossEntropySettings


class AdamSettings(Settings):
    """Adam (Kingma & Ba 2015)."""

    name: Literal["adam"] = "adam"
    learning_rate: float = Field(1e-3, description="Learning rate at its highest.", gt=0, le=1)


class AdamWSettings(Settings):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    name: Literal["adamw"] = "adamw"
    learning_rate: float = Field(1e-3, description="Learning rate at its highest.", gt=0, le=1)
    weight_decay: float = Field(0.01, description="Decoupled weight decay.", ge=0, le=1)


class SgdSettings(Settings):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"] = "sgd"
    learning_rate: float = Field(1e-2, description="Learning rate at its highest.", gt=0, le=10)
    momentum: float = Field(0.9, description="Momentum.", ge=0, lt=1)
    weight_decay: float = Field(0.0, description="L2 penalty.", ge=0, le=1)


OptimiserSettings = AdamSettings | AdamWSettings | SgdSettings


class CosineSchedule(Settings):
    """Cosine annealing over all steps (Loshchilov & Hutter 2017)."""

    name: Literal["cosine"] = "cosine"
    final_learning_rate: float = Field(1e-6, description="Learning rate at the end.", ge=0, le=1)


class OneCycleSchedule(Settings):
    """A warm-up, then cosine annealing (Smith & Topin 2019)."""

    name: Literal["one-cycle"] = "one-cycle"
    warmup: float = Field(
        0.2, description="Share of the steps in which the learning rate rises.", gt=0, lt=1
    )


class ConstantSchedule(Settings):
    """The same learning rate throughout."""

    name: Literal["constant"] = "constant"


ScheduleSettings = CosineSchedule | OneCycleSchedule | ConstantSchedule


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


class TrainingSettings(Settings):
    """How long and how the network is fitted."""

    epochs: int = Field(25, description="Epochs.", ge=1, le=100_000)
    max_minutes: float | None = Field(
        None,
        description="Time for the whole fit with its validation, in minutes: turned once, by "
        "timing the first steps, into a number of steps, which is recorded. None: all epochs.",
        gt=0,
    )
    batch_size: int = Field(32, description="Patches in a step of the optimiser.", ge=1, le=4096)
    workers: int | Literal["auto"] = Field(
        "auto",
        description="Processes that read and augment patches (0: the main process). The result "
        "does not depend on it.",
    )
    threads: int | Literal["auto"] = Field(
        "auto", description="CPU threads of the network's arithmetic; recorded."
    )
    precision: Precision = Field(
        "auto", description="Arithmetic; auto: the fastest by a short measured probe."
    )
    cache: str = Field(
        "1GiB",
        description="Memory for decoded slices, over all workers; slices beyond are re-read.",
    )

    @field_validator("workers")
    @classmethod
    def _count(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 0:
            raise ValueError("cannot be negative")
        return value

    @field_validator("threads")
    @classmethod
    def _threads(cls, value: int | str) -> int | str:
        return at_least_one(value)


class FitSettings(Settings):
    """All settings of a fit."""

    seed: int = Field(42, description="Seed of everything random.", ge=0, lt=2**32)
    network: NetworkSettings = NetworkSettings()
    patches: PatchSettings = PatchSettings()
    normalisation: NormalisationSettings = NormalisationSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    loss: Annotated[LossSettings, _choice("jaccard"), Field(discriminator="name")] = Field(
        JaccardSettings(), description="Loss."
    )
    optimiser: Annotated[OptimiserSettings, _choice("adam"), Field(discriminator="name")] = Field(
        AdamSettings(), description="Optimiser."
    )
    schedule: Annotated[ScheduleSettings, _choice("cosine"), Field(discriminator="name")] = Field(
        CosineSchedule(), description="Learning-rate schedule, over the steps."
    )
    validation: ValidationSettings = ValidationSettings()
    training: TrainingSettings = TrainingSettings()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.validation.specimens is not None and self.validation.method != "specimens":
            raise ValueError("validation.specimens needs validation.method=specimens")
        return self
