"""The sparse maps against SciPy's splines, scikit-image's block means and NumPy's interpolation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import BSpline
from skimage.measure import block_reduce

from osteon.augment.grids import SPLINE_EXTRA, linear_taps, mean_taps, spline_taps


@pytest.mark.parametrize(("size", "cells"), [(32, 4), (37, 5), (7, 1), (256, 8)])
def test_spline_taps_are_scipy_s_b_spline(size: int, cells: int) -> None:
    control = np.random.default_rng(0).normal(size=cells + SPLINE_EXTRA).astype(np.float32)
    out = spline_taps(size, cells).along(control, -1)
    knots = np.arange(-3, cells + 4)  # uniform: cell k lies between knots k and k + 1
    wanted = BSpline(knots, control, 3)((np.arange(size) + 0.5) * cells / size)
    np.testing.assert_allclose(out, wanted, atol=2e-6)


@pytest.mark.parametrize("axis", [-3, -2, -1])
def test_a_map_works_along_any_axis(axis: int) -> None:
    values = np.random.default_rng(0).normal(size=(2, 6, 6, 6)).astype(np.float32)
    taps = mean_taps(6, 4)
    out = taps.along(values, axis)
    wanted = np.apply_along_axis(lambda line: taps.along(line.astype(np.float32), -1), axis, values)
    np.testing.assert_array_equal(out, wanted)


def test_mean_taps_are_block_means() -> None:
    values = np.random.default_rng(0).normal(size=24).astype(np.float32)
    for factor in (1, 2, 3, 4):
        out = mean_taps(24, 24 // factor).along(values, -1)
        np.testing.assert_allclose(out, block_reduce(values, factor, np.mean), atol=1e-6)


@pytest.mark.parametrize(("size", "fewer"), [(10, 7), (256, 103), (9, 4), (5, 1), (33, 32)])
def test_a_pixel_between_two_larger_ones_counts_for_each_by_its_share(size, fewer) -> None:
    values = np.random.default_rng(1).normal(size=size).astype(np.float32)
    out = mean_taps(size, fewer).along(values, -1)
    # The integral of the steps between the edges of the larger pixels.
    integral = np.interp(
        np.linspace(0, size, fewer + 1), np.arange(size + 1), [0, *np.cumsum(values, dtype=float)]
    )
    np.testing.assert_allclose(out, np.diff(integral) * fewer / size, atol=1e-5)


@pytest.mark.parametrize(("fewer", "size"), [(4, 10), (1, 5), (2, 3), (103, 256), (7, 7)])
def test_linear_taps_interpolate(fewer: int, size: int) -> None:
    values = np.random.default_rng(2).normal(size=fewer).astype(np.float32)
    out = linear_taps(fewer, size).along(values, -1)
    wanted = np.interp((np.arange(size) + 0.5) / size, (np.arange(fewer) + 0.5) / fewer, values)
    np.testing.assert_allclose(out, wanted, atol=1e-6)
