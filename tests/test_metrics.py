from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from torchmetrics.classification import (
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassJaccardIndex,
    MulticlassPrecision,
    MulticlassRecall,
)

from osteon import metrics
from osteon.errors import InputError, UsageError
from osteon.metrics import confusion_matrix

# Worked by hand: rows truth, columns prediction.
#            bg  bone pores
HAND = np.array([[50, 10, 0], [5, 30, 5], [0, 0, 0]], np.int64)


@st.composite
def label_pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    classes = draw(st.sampled_from([2, 3, 4, 5, 9, 255]))
    shape = draw(npst.array_shapes(min_dims=1, max_dims=3, max_side=9))
    values = st.integers(0, classes - 1)
    prediction = draw(npst.arrays(np.uint8, shape, elements=values))
    truth = draw(npst.arrays(np.uint8, shape, elements=st.one_of(values, st.just(255))))
    return truth, prediction, classes


@settings(max_examples=40, deadline=None)
@given(label_pairs())
def test_confusion_matrix_is_torchmetrics(pair: tuple[np.ndarray, np.ndarray, int]) -> None:
    truth, prediction, classes = pair
    reference = MulticlassConfusionMatrix(classes, ignore_index=255)
    expected = reference(torch.from_numpy(prediction).long(), torch.from_numpy(truth).long())
    np.testing.assert_array_equal(
        confusion_matrix(truth, prediction, classes=classes), expected.numpy()
    )


@settings(max_examples=20, deadline=None)
@given(label_pairs())
@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("iou", MulticlassJaccardIndex),
        ("dice", MulticlassF1Score),
        ("precision", MulticlassPrecision),
        ("recall", MulticlassRecall),
    ],
)
def test_scores_are_torchmetrics(name, reference, pair) -> None:
    truth, prediction, classes = pair
    ours = metrics.scores(confusion_matrix(truth, prediction, classes=classes))[name]
    theirs = reference(classes, average=None, ignore_index=255)(
        torch.from_numpy(prediction).long(), torch.from_numpy(truth).long()
    ).numpy()
    seen = truth != 255
    present = np.union1d(truth[seen], prediction[seen]).astype(int)
    np.testing.assert_allclose(ours[present], theirs[present], rtol=1e-6)
    # torchmetrics gives 0 for a class that is nowhere; ours has no score.
    assert np.isnan(np.delete(ours, present)).all()


@pytest.mark.parametrize("classes", [3, 9])
def test_more_than_one_chunk_and_strided_views(classes: int) -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, classes, (3, 300, 401), np.uint8)
    prediction = rng.integers(0, classes, (3, 300, 401), np.uint8)
    assert truth.size > metrics.CHUNK
    expected = np.zeros((classes, classes), np.int64)
    np.add.at(expected, (truth.ravel(), prediction.ravel()), 1)
    np.testing.assert_array_equal(confusion_matrix(truth, prediction, classes=classes), expected)
    np.testing.assert_array_equal(
        confusion_matrix(truth.T, prediction.T, classes=classes), expected
    )
    line = confusion_matrix(truth[0, 0, ::2], prediction[0, 0, ::2], classes=classes)
    assert line.sum() == 201
    np.testing.assert_array_equal(
        line,
        confusion_matrix(truth[0, 0, ::2].copy(), prediction[0, 0, ::2].copy(), classes=classes),
    )


def test_scores_worked_by_hand() -> None:
    got = metrics.scores(HAND)
    assert got["iou"] == pytest.approx([50 / 65, 30 / 50, 0.0])
    assert got["dice"] == pytest.approx([100 / 115, 60 / 80, 0.0])
    assert got["precision"] == pytest.approx([50 / 55, 30 / 40, 0.0])
    assert got["recall"] == pytest.approx([50 / 60, 30 / 40, 0.0])


def test_a_class_in_neither_has_no_score_and_one_in_truth_alone_scores_zero() -> None:
    nowhere = np.array([[4, 0, 0], [0, 0, 0], [3, 0, 0]], np.int64)
    for name, values in metrics.scores(nowhere).items():
        assert math.isnan(values[1]), name
        assert values[2] == 0, name
    mean, n = metrics.mean_defined(metrics.iou(nowhere))
    assert (mean, n) == (pytest.approx((4 / 7 + 0) / 2), 2)
    mean, n = metrics.mean_defined([math.nan, math.nan])
    assert math.isnan(mean)
    assert n == 0


def test_leading_axes_are_kept() -> None:
    stack = np.stack([HAND, HAND.T])
    np.testing.assert_array_equal(metrics.iou(stack)[1], metrics.iou(HAND.T))
    np.testing.assert_array_equal(metrics.precision(stack)[1], metrics.recall(HAND))


def test_everything_ignored_gives_zeros() -> None:
    truth = np.full((4, 4), 255, np.uint8)
    assert not confusion_matrix(truth, np.ones((4, 4), np.uint8), classes=3).any()


@pytest.mark.parametrize("classes", [3, 9])
def test_foreign_values_are_named(classes: int) -> None:
    good = np.zeros((2, 5), np.uint8)
    bad = good.copy()
    bad[1, 2], bad[0, 0] = 128, 255
    with pytest.raises(InputError, match=r"prediction holds the values 128, 255, .* 0\.\."):
        confusion_matrix(good, bad, classes=classes)
    with pytest.raises(InputError, match="truth holds the value 128, which is"):
        confusion_matrix(bad, good, classes=classes)
    # Also where the truth is ignored: a label volume never holds anything but classes.
    with pytest.raises(InputError, match="prediction holds the value"):
        confusion_matrix(np.full((2, 5), 255, np.uint8), bad, classes=classes)


def test_wrong_use_is_refused() -> None:
    a = np.zeros((2, 2), np.uint8)
    with pytest.raises(InputError, match=r"differ in shape: \(2, 2\) and \(4,\)"):
        confusion_matrix(a, a.reshape(4), classes=3)
    with pytest.raises(UsageError, match="uint8, not float64"):
        confusion_matrix(a.astype(float), a, classes=3)
    with pytest.raises(UsageError, match="2 to 255 classes"):
        confusion_matrix(a, a, classes=1)
    with pytest.raises(UsageError, match="to ignore, 2"):
        confusion_matrix(a, a, classes=3, ignore=2)
