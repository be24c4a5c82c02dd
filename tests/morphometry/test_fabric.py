from __future__ import annotations

import numpy as np
import pytest

from osteon.morphometry.fabric import fabric, sphere_directions

from .shapes import CUBIC, TURN, Spacing, foam, grid, sphere, turned

HALF = (24.0, 16.0, 12.0)


@pytest.mark.parametrize("spacing", [CUBIC, (2.0, 1.0, 1.0)])
@pytest.mark.parametrize("place", [grid, turned])
def test_of_an_ellipsoid_mil_is_four_thirds_of_its_half_axes(
    spacing: Spacing, place: object
) -> None:
    # Volume 4/3 π abc by projected area π bc: the mean chord along a is 4/3 a.
    shape = (round(60 / spacing[0]), 60, 60)
    z, y, x = place(shape, spacing)  # type: ignore[operator]
    mask = (z / HALF[0]) ** 2 + (y / HALF[1]) ** 2 + (x / HALF[2]) ** 2 <= 1
    found = fabric(mask, spacing)
    assert found is not None
    np.testing.assert_allclose(found.axes, [4 / 3 * h for h in HALF], rtol=0.03)
    assert found.ratio == pytest.approx(2, rel=0.03)
    assert found.degree == pytest.approx(1 - 0.5**2, abs=0.02)
    longest = TURN[:, 0] if place is turned else np.array([1, 0, 0])
    assert abs(found.directions[0] @ longest) == pytest.approx(1, abs=0.01)


def test_a_sphere_and_foam_prefer_no_direction() -> None:
    ball = fabric(sphere(15, (40, 40, 40)), CUBIC)
    sponge = fabric(foam((60, 60, 60)), CUBIC)
    assert ball is not None
    assert sponge is not None
    assert ball.degree < 0.01
    assert sponge.degree < 0.15


def test_crossings_are_those_counted_along_the_axes() -> None:
    mask = foam((40, 40, 40), seed=2, share=0.5)
    for axis in range(3):
        mask = mask.repeat(2, axis)
    found = fabric(mask, CUBIC)
    assert found is not None
    matrix = sum(np.outer(d, d) / a**2 for d, a in zip(found.directions, found.axes, strict=True))
    for axis in range(3):
        counted = np.count_nonzero(np.diff(mask.astype(np.int8), axis=axis)) / 2
        length = 1 / np.sqrt(matrix[axis, axis])
        # Smoothing by one voxel loses the smallest folds, in all directions alike.
        assert length == pytest.approx(np.count_nonzero(mask) / counted, rel=0.1)


def test_the_cut_of_the_region_is_no_surface() -> None:
    z, _, _ = grid((60, 30, 30))
    mask = np.broadcast_to(np.sin(z / 3) > 0, (60, 30, 30)).copy()
    region = np.zeros_like(mask)
    region[10:50, 5:25, 5:25] = True
    assert fabric(mask, CUBIC, within=region) is None  # lines within the plates never leave them


def test_nothing_has_no_fabric() -> None:
    assert fabric(np.zeros((5, 5, 5), bool), CUBIC) is None
    assert fabric(np.ones((5, 5, 5), bool), CUBIC) is None
    assert fabric(np.ones((1, 5, 5), bool), CUBIC) is None


def test_directions_are_even() -> None:
    directions = sphere_directions(500)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
    np.testing.assert_allclose(directions.T @ directions / 500, np.eye(3) / 3, atol=2e-3)
