"""Sums of losses: what is added, and by which weights."""

from __future__ import annotations

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from torch.nn import functional

from osteon.labels import IGNORE
from osteon.losses import build_loss
from osteon.settings import (
    DiceCrossEntropySettings,
    FocalSettings,
    FocalTverskySettings,
    JaccardCrossEntropySettings,
    JaccardSettings,
    TverskySettings,
)

from .cases import SHAPES, batch, hand_worked, value_and_gradient

WEIGHTS = (0.5, 2.0, 1.25)


@pytest.mark.parametrize("shape", SHAPES.values())
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize(
    ("kind", "region"),
    [
        (DiceCrossEntropySettings, smp.losses.DiceLoss),
        (JaccardCrossEntropySettings, smp.losses.JaccardLoss),
    ],
)
def test_region_and_cross_entropy_are_the_other_libraries(
    kind, region, weights: tuple[float, ...] | None, shape: tuple[int, ...]
) -> None:
    first = region("multiclass", ignore_index=IGNORE, class_weights=weights)
    second = torch.nn.CrossEntropyLoss(
        weight=None if weights is None else torch.tensor(weights), ignore_index=IGNORE
    )

    class Both(torch.nn.Module):
        def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return first(logits, labels) + 0.7 * second(logits, labels)

    for seed in range(5):
        logits, labels = batch(seed, shape=shape, ignored=0.3)
        expected, slope = value_and_gradient(Both(), logits, labels.long())
        made = build_loss(kind(cross_entropy_weight=0.7, class_weights=weights), classes=3)
        value, gradient = value_and_gradient(made, logits, labels)
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(gradient, slope, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("weight", [0.0, 0.5, 3.0])
def test_the_weight_of_the_cross_entropy_by_hand(weight: float) -> None:
    cross_entropy = -(np.log(0.75) + np.log(0.5)) / 2
    for kind, region in (
        (JaccardCrossEntropySettings, 0.55),
        (DiceCrossEntropySettings, 1 - (2 / 3 + 4 / 7) / 2),
    ):
        value = build_loss(kind(cross_entropy_weight=weight))(*hand_worked()).item()
        assert value == pytest.approx(region + weight * cross_entropy, rel=1e-6)


def test_focal_tversky_is_half_of_each_by_default() -> None:
    # Tversky by 1.25: TP 0.75, FP + FN 0.75; TP 0.5, FP + FN 0.75. Focal by the square.
    tversky = 1 - (0.75 / (0.75 + 1.25 * 0.75) + 0.5 / (0.5 + 1.25 * 0.75)) / 2
    focal = -(0.25**2 * np.log(0.75) + 0.5**2 * np.log(0.5)) / 2
    value = build_loss(FocalTverskySettings())(*hand_worked()).item()
    assert value == pytest.approx(0.5 * focal + 0.5 * tversky, rel=1e-6)


def test_focal_tversky_takes_all_its_parameters() -> None:
    logits, labels = batch(1, ignored=0.3)
    made = FocalTverskySettings(
        alpha=0.3, beta=1.4, gamma=1.5, focal_weight=0.2, tversky_weight=3, class_weights=WEIGHTS
    )
    focal = build_loss(FocalSettings(gamma=1.5, class_weights=WEIGHTS))(logits, labels)
    tversky = build_loss(TverskySettings(alpha=0.3, beta=1.4, class_weights=WEIGHTS))(
        logits, labels
    )
    torch.testing.assert_close(build_loss(made)(logits, labels), 0.2 * focal + 3 * tversky)


def test_jaccard_and_cross_entropy_without_weights_keep_their_bits() -> None:
    # As the published results on vertebrae were made.
    logits, labels = batch(2, shape=(2, 61, 67), ignored=0.3)
    total = functional.cross_entropy(logits, labels.long(), ignore_index=IGNORE, reduction="sum")
    jaccard = build_loss(JaccardSettings())(logits, labels)
    expected = jaccard + 1.0 * total / (labels != IGNORE).sum()
    assert torch.equal(build_loss(JaccardCrossEntropySettings())(logits, labels), expected)
