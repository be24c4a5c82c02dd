"""Losses against other libraries and by hand; what every row of the table must do."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch.nn import functional

from osteon.labels import IGNORE
from osteon.losses import JaccardLoss, build_loss, soft_counts
from osteon.registry import Row
from osteon.settings import JaccardCrossEntropySettings, JaccardSettings, LossSettings
from osteon.tables.losses import LOSSES

KINDS = {kind.model_fields["name"].default: kind for kind in get_args(LossSettings)}


@pytest.fixture(params=list(LOSSES), ids=lambda row: row.name)
def loss(request: pytest.FixtureRequest) -> torch.nn.Module:
    row: Row = request.param
    return build_loss(KINDS[row.name]())


def batch(
    seed: int = 0, *, classes: int = 3, shape: tuple[int, int, int] = (2, 9, 7), ignored: float = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (shape[0], classes, *shape[1:])).astype(np.float32)
    labels = rng.integers(0, classes, shape).astype(np.uint8)
    labels[rng.random(shape) < ignored] = IGNORE
    return torch.from_numpy(logits).requires_grad_(), torch.from_numpy(labels)


def value_and_gradient(
    module: torch.nn.Module, logits: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    logits = logits.detach().clone().requires_grad_()
    value = module(logits, labels)
    (gradient,) = torch.autograd.grad(value, logits)
    return value.detach(), gradient


def reference(name: str, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    jaccard = smp.losses.JaccardLoss("multiclass", ignore_index=IGNORE)
    value: torch.Tensor = jaccard(logits, labels.long())
    if name == "jaccard-ce":
        value = value + functional.cross_entropy(logits, labels.long(), ignore_index=IGNORE)
    return value


@pytest.mark.parametrize("name", ["jaccard", "jaccard-ce"])
@given(
    seed=st.integers(0, 2**31),
    classes=st.integers(2, 5),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 12)),
    ignored=st.sampled_from([0, 0.3, 0.9]),
)
@hypothesis_settings(max_examples=40, deadline=None)
def test_value_and_gradient_are_the_other_libraries(
    name: str, seed: int, classes: int, shape: tuple[int, int, int], ignored: float
) -> None:
    logits, labels = batch(seed, classes=classes, shape=shape, ignored=ignored)
    if bool((labels == IGNORE).all()):
        return  # cross_entropy is NaN there; the loss is tested on it below
    value, gradient = value_and_gradient(build_loss(KINDS[name]()), logits, labels)
    expected = reference(name, logits, labels)
    (slope,) = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(value, expected.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, slope, rtol=1e-4, atol=1e-7)


def hand_worked() -> tuple[torch.Tensor, torch.Tensor]:
    """Two voxels with probabilities (3/4, 1/4) and (1/2, 1/2), of classes 0 and 1."""
    probability = torch.tensor([[0.75, 0.5], [0.25, 0.5]])
    return probability.log().reshape(1, 2, 1, 2), torch.tensor([[[0, 1]]], dtype=torch.uint8)


def test_jaccard_by_hand() -> None:
    # Class 0: 0.75 / (1.25 + 1 - 0.75) = 1/2. Class 1: 0.5 / (0.75 + 1 - 0.5) = 2/5.
    logits, labels = hand_worked()
    assert JaccardLoss()(logits, labels).item() == pytest.approx(1 - (0.5 + 0.4) / 2, rel=1e-6)


@pytest.mark.parametrize("weight", [0.0, 0.5, 3.0])
def test_the_weight_of_the_cross_entropy_by_hand(weight: float) -> None:
    logits, labels = hand_worked()
    made = build_loss(JaccardCrossEntropySettings(cross_entropy_weight=weight))
    cross_entropy = -(np.log(0.75) + np.log(0.5)) / 2
    assert made(logits, labels).item() == pytest.approx(0.55 + weight * cross_entropy, rel=1e-6)


def test_soft_counts_by_hand() -> None:
    logits, labels = hand_worked()
    logits = torch.cat([logits, torch.full((1, 2, 1, 1), 9.0)], dim=3)
    labels = torch.cat([labels, torch.full((1, 1, 1), IGNORE, dtype=torch.uint8)], dim=2)
    shared, predicted, present = soft_counts(logits, labels)
    torch.testing.assert_close(shared, torch.tensor([0.75, 0.5]))
    torch.testing.assert_close(predicted, torch.tensor([1.25, 0.75]))
    assert present.tolist() == [1, 1]


def test_a_class_that_the_labels_lack_counts_zero() -> None:
    # The published loss does so, and divides by the number of all classes.
    logits, labels = hand_worked()
    third = torch.full((1, 1, 1, 2), -40.0)
    value = JaccardLoss()(torch.cat([logits, third], dim=1), labels)
    assert value.item() == pytest.approx((0.5 + 0.6) / 3, rel=1e-6)


# --- what every row of the table must do ------------------------------------------------------


def test_perfect_logits_lose_nothing_and_worse_ones_more(loss: torch.nn.Module) -> None:
    _, labels = batch(1)
    truth = functional.one_hot(labels.long(), 3).movedim(-1, 1).float()
    values = [loss(scale * truth, labels).item() for scale in (40, 4, 1, 0, -4)]
    assert values[0] == pytest.approx(0, abs=1e-5)
    assert values == sorted(values)
    assert values[-1] > 0.5


def test_ignored_voxels_have_no_part_in_it(loss: torch.nn.Module) -> None:
    logits, labels = batch(2, ignored=0.4)
    ignored = (labels == IGNORE).unsqueeze(1)
    value, gradient = value_and_gradient(loss, logits, labels)
    other = torch.where(ignored, torch.randn_like(logits) * 50, logits)
    again, slope = value_and_gradient(loss, other, labels)
    assert torch.equal(value, again)
    assert torch.equal(gradient, slope)
    assert (gradient.masked_select(ignored) == 0).all()
    assert (gradient.masked_select(~ignored) != 0).any()


def test_it_is_the_loss_of_the_labelled_voxels_alone(loss: torch.nn.Module) -> None:
    logits, labels = batch(3, ignored=0.4)
    kept = labels != IGNORE
    alone = logits.movedim(1, -1)[kept].T.reshape(1, 3, 1, -1)
    torch.testing.assert_close(loss(logits, labels), loss(alone, labels[kept].reshape(1, 1, -1)))


def test_a_batch_of_only_ignored_voxels_is_zero_and_moves_nothing(loss: torch.nn.Module) -> None:
    logits, labels = batch(4, ignored=1.1)
    value, gradient = value_and_gradient(loss, logits, labels)
    assert value.item() == 0
    assert (gradient == 0).all()


def test_sure_and_wrong_logits_stay_finite(loss: torch.nn.Module) -> None:
    logits, labels = batch(5)
    for wild in (logits * 1e4, torch.zeros_like(logits), -logits * 1e4):
        value, gradient = value_and_gradient(loss, wild, labels)
        assert torch.isfinite(value)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_summed_in_full(
    loss: torch.nn.Module, dtype: torch.dtype
) -> None:
    # 260 × 260 voxels: a sum in float16 would overflow, in bfloat16 stop growing at 256.
    logits, labels = batch(6, shape=(1, 260, 260))
    low = logits.detach().to(dtype)
    assert loss(low, labels).dtype == torch.float32
    assert torch.equal(loss(low, labels), loss(low.float(), labels))


def test_the_type_of_the_labels_does_not_matter(loss: torch.nn.Module) -> None:
    logits, labels = batch(7, ignored=0.2)
    assert torch.equal(loss(logits, labels), loss(logits, labels.long()))


def test_the_order_of_voxels_and_scans_does_not_matter(loss: torch.nn.Module) -> None:
    logits, labels = batch(8, ignored=0.2)
    torch.testing.assert_close(
        loss(logits.flip(0).transpose(2, 3), labels.flip(0).transpose(1, 2)), loss(logits, labels)
    )


@pytest.mark.parametrize("row", list(LOSSES), ids=lambda row: row.name)
def test_a_row_is_built_from_its_own_settings(row: Row) -> None:
    assert type(build_loss(KINDS[row.name]())) is LOSSES.load(row.name)


def test_a_step_down_the_gradient_lowers_it(loss: torch.nn.Module) -> None:
    logits, labels = batch(9, ignored=0.2)
    value, gradient = value_and_gradient(loss, logits, labels)
    lower: Any = loss(logits - 0.1 * gradient / gradient.norm(), labels)
    assert lower.item() < value.item()


def test_settings_are_optional_for_the_default_loss() -> None:
    logits, labels = batch(10)
    assert torch.equal(JaccardLoss()(logits, labels), build_loss(JaccardSettings())(logits, labels))
