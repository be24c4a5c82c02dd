"""The settings of the losses: a row of the table of losses each."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from osteon.settings.base import Settings


class ClassWeighted(Settings):
    """What all losses share."""

    class_weights: tuple[Annotated[float, Field(ge=0)], ...] | Literal["data"] | None = Field(
        None,
        description="Weights of the classes, in their order; data: inverse to how many voxels each "
        "has in the slices learned from. None: equal.",
    )

    @field_validator("class_weights")
    @classmethod
    def _some(cls, value: tuple[float, ...] | str | None) -> tuple[float, ...] | str | None:
        if isinstance(value, tuple) and not any(value):
            raise ValueError("at least one class needs a weight above 0")
        return value


class JaccardSettings(ClassWeighted):
    """Soft Jaccard loss."""

    name: Literal["jaccard"] = "jaccard"


class DiceSettings(ClassWeighted):
    """Soft Dice loss."""

    name: Literal["dice"] = "dice"


class LovaszSettings(ClassWeighted):
    """Lovász-Softmax loss (Berman et al. 2018)."""

    name: Literal["lovasz"] = "lovasz"


class FocalSettings(ClassWeighted):
    """Focal loss (Lin et al. 2017)."""

    name: Literal["focal"] = "focal"
    gamma: float = Field(2.0, description="Focus on voxels that are hard; 0: cross-entropy.", ge=0)


class TverskySettings(ClassWeighted):
    """Tversky loss (Salehi et al. 2017)."""

    name: Literal["tversky"] = "tversky"
    alpha: float = Field(1.25, description="Weight of false positives.", ge=0)
    beta: float = Field(1.25, description="Weight of false negatives.", ge=0)

    @model_validator(mode="after")
    def _something(self) -> Self:
        _not_both_0(alpha=self.alpha, beta=self.beta)
        return self


class FocalTverskySettings(ClassWeighted):
    """A weighted sum of focal and Tversky loss, as in the paper's program."""

    name: Literal["focal-tversky"] = "focal-tversky"
    alpha: float = Field(1.25, description="Weight of false positives.", ge=0)
    beta: float = Field(1.25, description="Weight of false negatives.", ge=0)
    gamma: float = Field(2.0, description="Focus on voxels that are hard.", ge=0)
    focal_weight: float = Field(0.5, description="Weight of the focal loss.", ge=0)
    tversky_weight: float = Field(0.5, description="Weight of the Tversky loss.", ge=0)

    @model_validator(mode="after")
    def _something(self) -> Self:
        _not_both_0(alpha=self.alpha, beta=self.beta)
        _not_both_0(focal_weight=self.focal_weight, tversky_weight=self.tversky_weight)
        return self


class DiceCrossEntropySettings(ClassWeighted):
    """Soft Dice loss plus cross-entropy."""

    name: Literal["dice-ce"] = "dice-ce"
    cross_entropy_weight: float = Field(
        1.0, description="Weight of the cross-entropy beside the Dice loss.", ge=0
    )


class JaccardCrossEntropySettings(ClassWeighted):
    """Soft Jaccard loss plus cross-entropy."""

    name: Literal["jaccard-ce"] = "jaccard-ce"
    cross_entropy_weight: float = Field(
        1.0, description="Weight of the cross-entropy beside the Jaccard loss.", ge=0
    )


def _not_both_0(**weights: float) -> None:
    """Refuse a loss that would be the same whatever the network says."""
    if not any(weights.values()):
        raise ValueError(f"{' and '.join(weights)} cannot both be 0")


LossSettings = (
    JaccardSettings
    | DiceSettings
    | LovaszSettings
    | FocalSettings
    | TverskySettings
    | FocalTverskySettings
    | DiceCrossEntropySettings
    | JaccardCrossEntropySettings
)
