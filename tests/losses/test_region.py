"""Jaccard, Dice and Tversky against two libraries and by hand."""

from __future__ import annotations

from typing import Any

import monai.losses
import pytest
import segmentation_models_pytorch as smp
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch.nn import functional

from osteon.labels import IGNORE
from osteon.losses import JaccardLoss, build_loss, soft_counts
from osteon.settings import JaccardSettings, TverskySettings

from .cases import KINDS, batch, hand_worked, value_and_gradient

ALPHA, BETA = 0.3, 1.4
OURS: dict[str, dict[str, Any]] = {
    "jaccard": {},
    "dice": {},
    "tversky": {"alpha": ALPHA, "beta": BETA},
}
SMP = {
    "jaccard": (smp.losses.JaccardLoss, {}),
    "dice": (smp.losses.DiceLoss, {}),
    "tversky": (smp.losses.TverskyLoss, {"alpha": ALPHA, "beta": BETA}),
}
MONAI = {
    "jaccard": (monai.losses.DiceLoss, {"jaccard": True}),
    "dice": (monai.losses.DiceLoss, {}),
    "tversky": (monai.losses.TverskyLoss, {"alpha": ALPHA, "beta": BETA}),
}
SPATIAL = st.one_of(
    st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 12)),
    st.tuples(st.integers(1, 2), st.integers(1, 4), st.integers(1, 6), st.integers(1, 6)),
)


@pytest.mark.parametrize("name", list(SMP))
@given(data=st.data(), seed=st.integers(0, 2**31), classes=st.integers(2, 5), shape=SPATIAL)
@hypothesis_settings(max_examples=60, deadline=None)
def test_value_and_gradient_are_segmentation_models_pytorchs(
    name: str, data: st.DataObject, seed: int, classes: int, shape: tuple[int, ...]
) -> None:
    weight = st.lists(st.sampled_from([0.1, 1.0, 3.0]), min_size=classes, max_size=classes)
    weights = data.draw(st.none() | weight)
    ignored = data.draw(st.sampled_from([0, 0.3, 0.9, 1.1]))
    present = data.draw(st.integers(1, classes))  # the other classes are absent
    logits, labels = batch(seed, classes=classes, shape=shape, ignored=ignored, present=present)
    kind, parameters = SMP[name]
    other = kind("multiclass", ignore_index=IGNORE, class_weights=weights, **parameters)
    expected, slope = value_and_gradient(other, logits, labels.long())
    made = build_loss(
        KINDS[name](class_weights=None if weights is None else tuple(weights), **OURS[name]),
        classes=classes,
    )
    value, gradient = value_and_gradient(made, logits, labels)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, slope, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 9, 7), (2, 3, 5, 4)])
@pytest.mark.parametrize("ignored", [0, 0.4])
@pytest.mark.parametrize("name", list(MONAI))
def test_value_and_gradient_are_monais_where_every_class_is_present(
    name: str, ignored: float, shape: tuple[int, ...]
) -> None:
    logits, labels = batch(1, shape=shape, ignored=ignored)
    kind, parameters = MONAI[name]
    other = kind(
        softmax=True,
        to_onehot_y=True,
        batch=True,
        smooth_nr=0,
        smooth_dr=0,
        ignore_index=IGNORE,
        **parameters,
    )
    expected, slope = value_and_gradient(other, logits, labels.long().unsqueeze(1))
    value, gradient = value_and_gradient(build_loss(KINDS[name](**OURS[name])), logits, labels)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, slope, rtol=1e-4, atol=1e-6)


def before(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The unweighted Jaccard loss as first published results were made by it, 2D alone."""
    valid = labels != IGNORE
    probability = logits.float().softmax(1) * valid.unsqueeze(1)
    index = torch.where(valid, labels, 0).long()
    truth = functional.one_hot(index, logits.shape[1]).movedim(-1, 1) * valid.unsqueeze(1)
    shared = (probability * truth).sum((0, 2, 3))
    present = truth.sum((0, 2, 3)).float()
    union = probability.sum((0, 2, 3)) + present - shared
    loss = 1 - shared / union.clamp_min(1e-7)
    return (loss * (present > 0)).sum() / loss.shape[0]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_default_loss_keeps_its_bits(layout: torch.memory_format, dtype: torch.dtype) -> None:
    for seed in range(20):
        logits, labels = batch(
            seed, shape=(2, 31 + seed, 67), ignored=0.3 * (seed % 2), present=2 + seed % 2
        )
        logits = logits.detach().to(dtype).to(memory_format=layout)
        value, gradient = value_and_gradient(build_loss(JaccardSettings()), logits, labels)
        leaf = logits.requires_grad_()
        expected = before(leaf, labels)
        assert torch.equal(value, expected.detach())
        assert torch.equal(gradient, torch.autograd.grad(expected, leaf)[0])


def test_jaccard_by_hand() -> None:
    # Class 0: 0.75 / (1.25 + 1 - 0.75) = 1/2. Class 1: 0.5 / (0.75 + 1 - 0.5) = 2/5.
    logits, labels = hand_worked()
    assert JaccardLoss()(logits, labels).item() == pytest.approx(1 - (0.5 + 0.4) / 2, rel=1e-6)


def test_dice_by_hand() -> None:
    # Class 0: 1.5 / (1.25 + 1) = 2/3. Class 1: 1 / (0.75 + 1) = 4/7.
    value = build_loss(KINDS["dice"]())(*hand_worked()).item()
    assert value == pytest.approx(1 - (2 / 3 + 4 / 7) / 2, rel=1e-6)


@pytest.mark.parametrize(("alpha", "beta"), [(2, 0.5), (0.5, 2), (1.25, 1.25)])
def test_alpha_weighs_false_positives_and_beta_false_negatives(alpha: float, beta: float) -> None:
    # Class 0: TP 0.75, FP 0.5, FN 0.25. Class 1: TP 0.5, FP 0.25, FN 0.5.
    value = build_loss(TverskySettings(alpha=alpha, beta=beta))(*hand_worked()).item()
    first = 0.75 / (0.75 + alpha * 0.5 + beta * 0.25)
    second = 0.5 / (0.5 + alpha * 0.25 + beta * 0.5)
    assert value == pytest.approx(1 - (first + second) / 2, rel=1e-6)


def test_the_weights_of_the_classes_by_hand() -> None:
    # Losses of the classes 1/2 and 3/5, weights 1 and 3.
    value = build_loss(JaccardSettings(class_weights=(1, 3)))(*hand_worked()).item()
    assert value == pytest.approx((0.5 + 3 * 0.6) / 4, rel=1e-6)


def test_a_class_that_the_labels_lack_counts_zero() -> None:
    # As in the paper's program, and divided by the number (or weight) of all classes.
    logits, labels = hand_worked()
    logits = torch.cat([logits, torch.full((1, 1, 1, 2), -40.0)], dim=1)
    assert JaccardLoss()(logits, labels).item() == pytest.approx((0.5 + 0.6) / 3, rel=1e-6)
    weighted = build_loss(JaccardSettings(class_weights=(1, 3, 5)))
    assert weighted(logits, labels).item() == pytest.approx((0.5 + 3 * 0.6) / 9, rel=1e-6)


def test_soft_counts_by_hand() -> None:
    logits, labels = hand_worked()
    logits = torch.cat([logits, torch.full((1, 2, 1, 1), 9.0)], dim=3)
    labels = torch.cat([labels, torch.full((1, 1, 1), IGNORE, dtype=torch.uint8)], dim=2)
    shared, predicted, present = soft_counts(logits, labels)
    torch.testing.assert_close(shared, torch.tensor([0.75, 0.5]))
    torch.testing.assert_close(predicted, torch.tensor([1.25, 0.75]))
    assert present.tolist() == [1, 1]


def test_settings_are_optional_for_the_default_loss() -> None:
    logits, labels = batch(10)
    assert torch.equal(JaccardLoss()(logits, labels), build_loss(JaccardSettings())(logits, labels))
