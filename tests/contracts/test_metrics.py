"""What every row of the table of metrics must do, whoever added it."""

from __future__ import annotations

import numpy as np
import pytest

from osteon import metrics
from osteon.registry import Row
from osteon.tables.metrics import METRICS

ROWS = [
    row
    for row in METRICS
    if row.capabilities["source"] == "confusion" and row.capabilities["per"] == "class"
]


@pytest.fixture(params=ROWS, ids=lambda row: row.name)
def row(request: pytest.FixtureRequest) -> Row:
    return request.param


def test_declares_what_reports_need(row: Row) -> None:
    assert {"source", "per", "unit", "best", "label"} <= set(row.capabilities)
    assert row.help


def test_a_perfect_prediction_scores_best(row: Row) -> None:
    perfect = np.diag(np.array([7, 2, 5], np.int64))
    np.testing.assert_array_equal(metrics.score(row, perfect), [row.capabilities["best"]] * 3)


def test_an_absent_class_is_nan_and_the_rest_is_finite(row: Row) -> None:
    confusion = np.array([[5, 1, 0], [2, 3, 0], [0, 0, 0]], np.int64)
    values = metrics.score(row, confusion)
    assert np.isnan(values).tolist() == [False, False, True]
    assert values.dtype == np.float64


def test_order_of_classes_does_not_matter(row: Row) -> None:
    rng = np.random.default_rng(3)
    confusion = rng.integers(0, 50, (4, 4))
    order = rng.permutation(4)
    np.testing.assert_allclose(
        metrics.score(row, confusion[np.ix_(order, order)]), metrics.score(row, confusion)[order]
    )


def test_takes_a_stack_of_matrices(row: Row) -> None:
    stack = np.random.default_rng(4).integers(0, 50, (5, 2, 3, 3))
    values = metrics.score(row, stack)
    np.testing.assert_array_equal(values[3, 1], metrics.score(row, stack[3, 1]))


def test_has_no_overflow_on_a_terabyte_scan(row: Row) -> None:
    confusion = np.array([[10**12, 10**11], [10**11, 10**12]], np.int64)
    expected = metrics.score(row, confusion // 10**9)
    np.testing.assert_allclose(metrics.score(row, confusion), expected)
