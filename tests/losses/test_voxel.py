"""Cross-entropy and focal loss against torch and two libraries, and by hand."""

from __future__ import annotations

import math

import monai.losses
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from segmentation_models_pytorch.losses._functional import softmax_focal_loss_with_logits
from torch.nn import functional

from osteon.labels import IGNORE
from osteon.losses import CrossEntropyLoss, build_loss
from osteon.settings import FocalSettings

from .cases import batch, hand_worked, value_and_gradient

SHAPES = st.sampled_from([(2, 9, 7), (1, 1, 1), (2, 3, 5, 4)])


def focal(gamma: float, weights: tuple[float, ...] | None = None) -> torch.nn.Module:
    return build_loss(FocalSettings(gamma=gamma, class_weights=weights))


@given(
    seed=st.integers(0, 2**31),
    shape=SHAPES,
    ignored=st.sampled_from([0, 0.5]),
    weights=st.none() | st.tuples(*[st.floats(0.01, 10)] * 3),
)
@hypothesis_settings(max_examples=60, deadline=None)
def test_cross_entropy_is_torchs_and_so_is_focal_without_a_focus(
    seed: int, shape: tuple[int, ...], ignored: float, weights: tuple[float, ...] | None
) -> None:
    logits, labels = batch(seed, shape=shape, ignored=ignored)
    if bool((labels == IGNORE).all()):
        return  # torch's is NaN there
    weight = None if weights is None else torch.tensor(weights)
    other = torch.nn.CrossEntropyLoss(weight=weight, ignore_index=IGNORE)
    expected, slope = value_and_gradient(other, logits, labels.long())
    for loss in (CrossEntropyLoss(weights), focal(0, weights)):
        value, gradient = value_and_gradient(loss, logits, labels)
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(gradient, slope, rtol=1e-4, atol=1e-7)


@given(seed=st.integers(0, 2**31), shape=SHAPES, gamma=st.sampled_from([1.0, 2.0, 3.5]))
@hypothesis_settings(max_examples=60, deadline=None)
def test_focal_is_segmentation_models_pytorchs_of_the_softmax(
    seed: int, shape: tuple[int, ...], gamma: float
) -> None:
    logits, labels = batch(seed, shape=shape, ignored=0.3)
    kept = labels != IGNORE
    if not bool(kept.any()):
        return
    alone = logits.movedim(1, -1)[kept]  # it has no ignored label
    expected = softmax_focal_loss_with_logits(alone, labels[kept].long(), gamma=gamma)
    (slope,) = torch.autograd.grad(expected, logits)
    value, gradient = value_and_gradient(focal(gamma), logits, labels)
    torch.testing.assert_close(value, expected.detach(), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(gradient, slope, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("ignored", [None, 0.4])
@pytest.mark.parametrize("shape", [(2, 9, 7), (2, 3, 5, 4)])
def test_focal_is_monais(shape: tuple[int, ...], ignored: float | None) -> None:
    logits, labels = batch(1, shape=shape, ignored=ignored or 0)
    other = monai.losses.FocalLoss(
        to_onehot_y=True,
        use_softmax=True,
        gamma=2,
        ignore_index=None if ignored is None else IGNORE,
    )
    expected, slope = value_and_gradient(other, logits, labels.long().unsqueeze(1))
    factor = 3 if ignored is None else 1  # it averages over the classes too, but then
    value, gradient = value_and_gradient(focal(2), logits, labels)
    torch.testing.assert_close(value, factor * expected, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(gradient, factor * slope, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_with_weights_by_hand(gamma: float) -> None:
    # The true classes have 3/4 and 1/2; their weights are 1 and 3.
    expected = -(0.25**gamma * math.log(0.75) + 3 * 0.5**gamma * math.log(0.5)) / 4
    assert focal(gamma, (1, 3))(*hand_worked()).item() == pytest.approx(expected, rel=1e-6)


def test_voxels_of_a_class_without_weight_do_not_dilute_the_mean() -> None:
    logits, labels = batch(2, ignored=0.2)
    last = labels == 2
    alone = torch.where(last, labels, IGNORE)
    for gamma in (0.0, 2.0):
        torch.testing.assert_close(
            focal(gamma, (0, 0, 5))(logits, labels), focal(gamma)(logits, alone)
        )


@pytest.mark.parametrize("gamma", [0.0, 0.1, 0.5, 1.0, 2.0])
def test_a_voxel_that_is_right_for_certain_has_a_finite_gradient(gamma: float) -> None:
    logits = torch.tensor([200.0, 0, 0]).reshape(1, 3, 1, 1)
    assert functional.softmax(logits, 1).max() == 1
    labels = torch.zeros(1, 1, 1, dtype=torch.uint8)
    value, gradient = value_and_gradient(focal(gamma), logits, labels)
    assert value.item() == 0
    assert (gradient.abs() < 1e-6).all()
