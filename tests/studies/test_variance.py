from __future__ import annotations

import numpy as np
import pytest

from osteon.studies.variance import components, variance_split


def test_components_of_a_table_worked_by_hand() -> None:
    # Means of rows 2 and 6, of columns 3 and 5, of all 4; no interaction is left:
    # SSA = 2·(4 + 4) = 16, SSB = 2·(1 + 1) = 4, SSE = 0; each with one degree of freedom.
    fold, seed, residual = components(np.array([[1.0, 3.0], [5.0, 7.0]]))
    assert (fold, seed, residual) == pytest.approx((8.0, 2.0, 0.0))


def test_an_interaction_alone_gives_no_folds_and_no_seeds() -> None:
    # Row and column means are all equal: MSE = 4, the others (0 − 4)/2 < 0, set to 0.
    assert components(np.array([[1.0, -1.0], [-1.0, 1.0]])) == pytest.approx((0.0, 0.0, 4.0))


def test_known_components_come_back_on_average() -> None:
    draw, found = np.random.default_rng(1), []
    for _ in range(400):
        table = (
            draw.normal(0, 3, (20, 1)) + draw.normal(0, 2, (1, 20)) + draw.normal(0, 1, (20, 20))
        )
        found.append(components(table))
    assert np.mean(found, axis=0) == pytest.approx([9.0, 4.0, 1.0], rel=0.05)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    draw, inside = np.random.default_rng(2), 0
    for index in range(60):
        table = draw.normal(0, 2, (12, 1)) + draw.normal(0, 1, (12, 8))
        split = variance_split(table, resamples=200, seed=index)
        inside += split.residual.low <= 1.0 <= split.residual.high
    assert 50 <= inside <= 60


def test_a_large_fold_component_is_told_from_none() -> None:
    draw = np.random.default_rng(3)
    table = 0.9 + draw.normal(0, 0.05, (8, 1)) + draw.normal(0, 0.002, (8, 3))
    split = variance_split(table, resamples=500)
    assert split.fold.low > split.residual.high
    assert split.seed.variance < split.residual.high


@pytest.mark.parametrize(
    "table", [np.ones((1, 3)), np.ones((3, 1)), np.array([[1, np.nan], [1, 2]])]
)
def test_tables_that_say_nothing_are_refused(table: np.ndarray) -> None:
    with pytest.raises(ValueError, match="two folds"):
        components(table)
