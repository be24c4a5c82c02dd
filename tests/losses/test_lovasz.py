"""Lovász-Softmax against the published code, and by what a Lovász extension is."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from osteon.labels import IGNORE
from osteon.losses import build_loss
from osteon.settings import LovaszSettings

from .cases import batch, hand_worked, value_and_gradient

LOVASZ = build_loss(LovaszSettings())


def jaccard_loss(truth: frozenset[int], mistakes: frozenset[int]) -> float:
    """Eq. 5 of the paper: the Jaccard loss of a class as a function of the set of mistakes."""
    return len(mistakes) / len(truth | mistakes)


def by_definition(errors: np.ndarray, truth: np.ndarray) -> float:
    """The convex closure of the Jaccard loss: the greatest of its chains over all orders.

    (The loss is submodular, so that its Lovász extension is its convex closure.)
    """
    members = frozenset(int(i) for i in np.flatnonzero(truth))

    def chain(order: tuple[int, ...]) -> float:
        steps = [jaccard_loss(members, frozenset(order[:k])) for k in range(len(order) + 1)]
        return float(np.dot(errors[list(order)], np.diff(steps)))

    return max(chain(order) for order in permutations(range(len(errors))))


@given(
    seed=st.integers(0, 2**31),
    voxels=st.integers(1, 6),
    classes=st.integers(2, 4),
    weighted=st.booleans(),
)
@hypothesis_settings(max_examples=25, deadline=None)
def test_it_is_the_convex_closure_of_the_jaccard_loss(
    seed: int, voxels: int, classes: int, weighted: bool
) -> None:
    logits, labels = batch(seed, classes=classes, shape=(1, 1, voxels), dtype=float)
    weights = tuple(1.0 + k for k in range(classes)) if weighted else (1.0,) * classes
    probability = logits.detach().softmax(1)[0, :, 0].numpy()
    truth = labels[0, 0].numpy()
    present = [k for k in range(classes) if (truth == k).any()]
    losses = [
        by_definition(np.where(truth == k, 1 - probability[k], probability[k]), truth == k)
        for k in present
    ]
    expected = np.average(losses, weights=[weights[k] for k in present])
    made = build_loss(LovaszSettings(class_weights=weights if weighted else None))
    assert made(logits, labels).item() == pytest.approx(expected, rel=1e-9)


@given(
    seed=st.integers(0, 2**31),
    classes=st.integers(2, 5),
    shape=st.sampled_from([(2, 12, 9), (1, 1, 1), (2, 4, 5, 6)]),
    ignored=st.sampled_from([0, 0.3, 0.9]),
    present=st.integers(1, 5),
)
@hypothesis_settings(max_examples=60, deadline=None)
def test_value_and_gradient_are_the_published_codes(
    seed: int, classes: int, shape: tuple[int, ...], ignored: float, present: int
) -> None:
    logits, labels = batch(
        seed, classes=classes, shape=shape, ignored=ignored, present=min(present, classes)
    )
    if bool((labels == IGNORE).all()):
        return  # there the published code has no value
    other = smp.losses.LovaszLoss("multiclass", ignore_index=IGNORE)
    expected, slope = value_and_gradient(other, logits, labels.long())
    value, gradient = value_and_gradient(LOVASZ, logits, labels)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, slope, rtol=1e-4, atol=1e-6)


def test_by_hand() -> None:
    # Class 0, voxel 0: errors 1/4 on it, 1/2 on the other. First the other: U = 2, I = 1, loss
    # 1/2; then its own: loss 1. 1/2·1/2 + 1/4·1/2 = 3/8.
    # Class 1, voxel 1: errors 1/4 on the other, 1/2 on it. First its own: loss 1; then nothing
    # more. 1/2·1 + 1/4·0 = 1/2.
    logits, labels = hand_worked()
    assert LOVASZ(logits, labels).item() == pytest.approx((3 / 8 + 1 / 2) / 2, rel=1e-6)
    weighted = build_loss(LovaszSettings(class_weights=(1, 3)))
    assert weighted(logits, labels).item() == pytest.approx((3 / 8 + 3 / 2) / 4, rel=1e-6)


def test_the_mean_is_over_the_classes_that_are_present() -> None:
    logits, labels = hand_worked()
    logits = torch.cat([logits, torch.full((1, 1, 1, 2), -40.0)], dim=1)
    assert LOVASZ(logits, labels).item() == pytest.approx(7 / 16, rel=1e-6)


def test_a_large_batch_has_the_gradient_of_float64() -> None:
    # The published code's differences of nearly equal numbers lose most digits here.
    logits, labels = batch(3, shape=(1, 512, 512), dtype=float)
    value, gradient = value_and_gradient(LOVASZ, logits, labels)
    single, slope = value_and_gradient(LOVASZ, logits.float(), labels)
    assert single.item() == pytest.approx(value.item(), rel=1e-6)
    published = smp.losses.LovaszLoss("multiclass", ignore_index=IGNORE)
    _, theirs = value_and_gradient(published, logits.float(), labels.long())
    norm = gradient.norm()
    assert (slope - gradient).norm() < 1e-5 * norm
    assert (theirs - gradient).norm() < 3e-2 * norm  # the same gradient, but for its noise


def test_equal_errors_are_taken_in_their_order() -> None:
    # The same on every path of sorting, so that a run can be repeated.
    logits, labels = batch(4, shape=(1, 40, 40))
    flat = torch.zeros_like(logits)
    _, single = value_and_gradient(LOVASZ, flat, labels)
    _, double = value_and_gradient(LOVASZ, flat.double(), labels)
    torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-9)
