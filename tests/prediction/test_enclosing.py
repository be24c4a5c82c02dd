"""The walk that makes the coarse pass agree with itself in space."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from osteon.prediction.enclosing import CONTRAST, LEAST, PULL, SIDE, enclosed, walked

Real = npt.NDArray[np.float64]


def dense(inside: Real, grey: Real) -> Real:
    """The same by its definition: the sum's derivatives are 0, all equations solved at once."""
    size, shape = inside.size, inside.shape
    certain = (2 * inside - 1) ** 2 + LEAST
    matrix, index = np.diag(certain.ravel()), np.arange(size).reshape(shape)
    spread = grey.var() or 1.0
    for here in np.ndindex(shape):
        for axis in range(3):
            there = tuple(n + (i == axis) for i, n in enumerate(here))
            if there[axis] < shape[axis]:
                a, b = index[here], index[there]
                tie = PULL * np.exp(-CONTRAST * (grey[here] - grey[there]) ** 2 / spread)
                matrix[a, a] += tie
                matrix[b, b] += tie
                matrix[a, b] -= tie
                matrix[b, a] -= tie
    return np.linalg.solve(matrix, (certain * inside).ravel()).reshape(shape)


@pytest.mark.parametrize("shape", [(5, 6, 7), (1, 9, 11), (3, 1, 1), (1, 1, 1)])
def test_it_is_the_smallest_sum(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    inside, grey = rng.uniform(size=shape), rng.normal(size=shape)
    np.testing.assert_allclose(walked(inside, grey), dense(inside, grey), atol=3e-4)


def bone(*, canal: bool) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """A block of bone in tissue with a canal through it, or with a closed space of the same size.

    Of the space the coarse pass says 0.6; of all else what is so.
    """
    grey = np.zeros((40, 40, 40), np.float32)
    grey[8:32, 8:32, 8:32] = 1.0
    inside = np.where(grey > 0, 0.98, 0.02).astype(np.float32)
    length = slice(8, 32) if canal else slice(11, 29)
    grey[length, 15:25, 15:25] = 0.0
    inside[length, 15:25, 15:25] = 0.6
    return inside, grey


def test_a_canal_is_outside_and_what_is_closed_stays_inside() -> None:
    for canal in (True, False):
        inside, grey = bone(canal=canal)
        found = enclosed(inside, grey)
        middle = found[12:28, 17:23, 17:23]
        assert (middle < 0.5).all() if canal else (middle > 0.55).all()
        sure = (inside < 0.1) | (inside > 0.9)
        assert ((found > 0.5) == (inside > 0.5))[sure].all()


def test_nothing_changes_where_all_agrees() -> None:
    grey = np.random.default_rng(1).normal(size=(9, 70, 83)).astype(np.float32)
    for p in (0.0, 0.3, 0.5, 1.0):
        given = np.full(grey.shape, p, np.float32)
        np.testing.assert_allclose(enclosed(given, grey), np.clip(p, 1e-3, 1 - 1e-3), atol=2e-3)
    flat = np.zeros((4, 5, 6), np.float32)
    np.testing.assert_allclose(enclosed(flat + 0.7, flat), 0.7, atol=2e-3)  # one grey value alone


def test_no_axis_or_direction_is_another() -> None:
    inside, grey = bone(canal=True)
    inside, grey = inside[:, 3:, 5:], grey[:, 3:, 5:]
    found = enclosed(inside, grey)
    for order in itertools.permutations(range(3)):
        turned = enclosed(inside.transpose(order)[::-1], grey.transpose(order)[::-1])
        np.testing.assert_allclose(turned[::-1], found.transpose(order), atol=2e-4)


def test_what_is_finer_than_the_grid_is_kept() -> None:
    assert SIDE < 131
    inside, grey = (np.repeat(np.repeat(v, 3, 1), 4, 2)[:37, :113, :131] for v in bone(canal=True))
    inside = inside.copy()
    inside[20, 60, 70], inside[20, 60, 71] = 0.9, 0.1
    found = enclosed(inside, grey)
    assert found.shape == inside.shape
    assert found.dtype == np.float32
    # The grid's change is the same for both neighbours, in log-odds.
    odds = np.log(found / (1 - found))[20, 60, 70:72]
    assert odds[0] - odds[1] == pytest.approx(2 * np.log(9), abs=0.3)
