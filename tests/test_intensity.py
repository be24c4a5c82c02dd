from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osteon.errors import InputError, UsageError
from osteon.intensity import SAMPLE_SLICES, Statistics, normalise, sample_slices, statistics
from osteon.volume import ArrayVolume

ALL = ["zscore", "percentile", "edges", "reference-zscore-positive", "reference-minmax-positive"]


def scan(dtype: str, *, shape: tuple[int, int, int] = (5, 9, 7), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)


def test_unsigned_statistics_leave_out_zero() -> None:
    values = scan("uint16")
    found = statistics(ArrayVolume(values), "zscore")
    inside = values[values != 0].astype(np.longdouble)
    assert found.mean == pytest.approx(float(inside.mean()), rel=1e-14)
    assert found.std == pytest.approx(float(inside.std(ddof=0)), rel=1e-14)
    assert (found.minimum, found.maximum) == (inside.min(), inside.max())
    assert found.n == inside.size
    assert found.fill == 0


def test_by_hand() -> None:
    # 2, 4, 6 count, the zeros do not: mean 4, population SD sqrt(8/3).
    values = np.array([[[0, 2], [4, 6]], [[0, 0], [0, 0]]], np.uint8)
    found = statistics(ArrayVolume(values), "zscore")
    assert (found.mean, found.n) == (4.0, 3)
    assert found.std == pytest.approx(math.sqrt(8 / 3), rel=1e-15)
    got = normalise(values, found)
    # Fill goes where the smallest other voxel goes: (2 - 4)/SD.
    np.testing.assert_allclose(got[0], np.array([[-2, -2], [0, 2]]) / math.sqrt(8 / 3), rtol=1e-6)


def test_signed_scan_without_a_common_minimum_has_no_fill() -> None:
    values = np.random.default_rng(1).normal(300, 500, (4, 40, 40)).astype(np.int16)
    found = statistics(ArrayVolume(values), "zscore")
    assert found.fill is None
    assert found.mean == pytest.approx(values.mean(dtype=np.float64), rel=1e-12)
    assert found.std == pytest.approx(values.std(dtype=np.float64), rel=1e-12)


@pytest.mark.parametrize("fill", [-1024.0, -1e30, math.nan])
def test_float_fill_outside_the_field_of_view(fill: float) -> None:
    values = np.random.default_rng(2).normal(0.02, 0.01, (4, 30, 30)).astype(np.float32)
    inside = values.copy()
    values[:, :3] = fill  # 10 %
    found = statistics(ArrayVolume(values), "zscore")
    rest = inside[:, 3:].astype(np.float64)
    assert found.fill is not None
    assert np.array_equal(found.fill, np.float32(fill), equal_nan=True)
    assert found.mean == pytest.approx(rest.mean(), rel=1e-9)
    assert found.std == pytest.approx(rest.std(), rel=1e-9)
    got = normalise(values, found)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got[:, :3], (rest.min() - rest.mean()) / rest.std(), rtol=1e-5)
    np.testing.assert_allclose(got[:, 3:], (rest - rest.mean()) / rest.std(), rtol=1e-4, atol=1e-5)


def test_fill_needs_one_percent() -> None:
    values = np.arange(1000, dtype=np.int32).reshape(10, 10, 10)
    nine, ten = values.copy(), values.copy()
    nine.ravel()[:9] = -5
    ten.ravel()[:10] = -5
    assert statistics(ArrayVolume(nine), "zscore").fill is None
    assert statistics(ArrayVolume(ten), "zscore").fill == -5


def test_a_large_offset_does_not_cancel() -> None:
    values = (np.random.default_rng(3).integers(0, 100, (3, 20, 20)) + 2**31 - 200).astype(np.int64)
    found = statistics(ArrayVolume(values), "zscore")
    assert found.std == pytest.approx((values - (2**31 - 200)).std(), rel=1e-9)
    exact = (values - found.mean) / found.std
    np.testing.assert_allclose(normalise(values, found), exact, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_the_recipes_of_the_original_count_positive_voxels(dtype: str) -> None:
    values = (scan(dtype).astype(np.float64) - (0 if dtype == "uint8" else 90)).astype(dtype)
    inside = values[values > 0].astype(np.float64)
    zscored = statistics(ArrayVolume(values), "reference-zscore-positive")
    expected = (values.astype(np.float64) - inside.mean()) / inside.std()
    np.testing.assert_allclose(normalise(values, zscored), expected, rtol=1e-5, atol=1e-6)
    scaled = statistics(ArrayVolume(values), "reference-minmax-positive")
    expected = (values.astype(np.float64) - inside.min()) / (inside.max() - inside.min())
    np.testing.assert_allclose(normalise(values, scaled), expected, rtol=1e-5, atol=1e-6)
    assert zscored.fill is None
    assert zscored.n == inside.size


def test_percentiles_leave_out_the_fill() -> None:
    values = np.random.default_rng(4).gamma(2, 30, (6, 50, 50)).astype(np.uint16)
    found = statistics(ArrayVolume(values), "percentile")
    low, high = np.percentile(values[values > 0], [1, 99])
    assert (found.low, found.high) == (low, high)
    expected = -2 + 4 * (np.maximum(values, 1).astype(float) - low) / (high - low)
    np.testing.assert_allclose(normalise(values, found), expected, rtol=1e-5, atol=1e-5)


def test_percentiles_weigh_slices_by_what_they_have(monkeypatch: pytest.MonkeyPatch) -> None:
    # A dark slice in full view, a bright one with nine tenths of fill: 1000 dark, 100 bright.
    monkeypatch.setattr("osteon.intensity.taking.PERCENTILE_VOXELS", 100)
    values = np.full((2, 20, 50), 10, np.uint16)
    values[0] += np.random.default_rng(0).integers(0, 5, (20, 50)).astype(np.uint16)
    values[1] = 0
    values[1, :2] = 200
    monkeypatch.setattr("osteon.intensity.taking.PERCENTILES", (5.0, 85.0))
    assert statistics(ArrayVolume(values), "percentile").high < 20  # 85 % < 1000 / 1100


@given(st.integers(1, 5000), st.integers(1, 200))
def test_sample_is_even_and_within(depth: int, most: int) -> None:
    taken = sample_slices(depth, most=most)
    assert len(taken) == min(depth, most)
    assert taken[0] >= 0
    assert taken[-1] < depth
    steps = np.diff(taken)
    assert steps.size == 0 or (steps.min() >= 1 and steps.max() - steps.min() <= 1)
    # As far from the one end as from the other, to within a slice.
    assert abs(taken[0] - (depth - 1 - taken[-1])) <= 1


def test_only_the_sample_is_read() -> None:
    values = scan("uint8", shape=(300, 4, 4))
    found = statistics(ArrayVolume(values), "zscore")
    sample = values[sample_slices(300)]
    assert found.mean == pytest.approx(sample[sample > 0].mean(), rel=1e-12)
    assert found.sample == f"{SAMPLE_SLICES} of 300 slices, whole and evenly spaced"


@pytest.mark.parametrize("fill", [None, 0.0, -3.25, math.nan])
def test_statistics_survive_json(fill: float | None) -> None:
    made = Statistics("zscore", 1, 0.1, 1 / 3, -2.0, 9.5, fill, 12, "all")
    text = json.dumps(made.as_dict(), allow_nan=False)
    back = Statistics.from_dict(json.loads(text))
    assert repr(back) == repr(made)


def test_statistics_of_a_newer_version_are_refused() -> None:
    data = Statistics("zscore", 1, 0.0, 1.0, 0.0, 1.0, None, 1, "").as_dict()
    with pytest.raises(InputError, match="version 2 of the recipe 'zscore'"):
        Statistics.from_dict(data | {"version": 2})
    with pytest.raises(InputError, match="cannot be read"):
        Statistics.from_dict({k: v for k, v in data.items() if k != "mean"})
    with pytest.raises(InputError, match="not those of a scan"):
        Statistics.from_dict(data | {"std": 0.0})


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("recipe", ALL)
def test_scattered_nan_or_infinity_is_an_error(bad: float, recipe: str) -> None:
    values = scan("float32", shape=(3, 20, 20))
    values[1, 4, 5] = bad
    with pytest.raises(InputError, match="1 of 400 grey values are NaN or infinite") as error:
        statistics(ArrayVolume(values), recipe)
    assert "slice 1" in str(error.value.where)


def test_nan_beyond_the_sample_is_an_error_when_normalised() -> None:
    values = scan("float32", shape=(2, 20, 20))
    found = statistics(ArrayVolume(values), "zscore")
    values[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="NaN or infinite"):
        normalise(values, found)


@pytest.mark.parametrize("recipe", ALL)
def test_a_constant_scan_is_an_error(recipe: str) -> None:
    with pytest.raises(InputError, match="constant: every voxel that counts is 7"):
        statistics(ArrayVolume(np.full((3, 4, 4), 7, np.uint8)), recipe)


@pytest.mark.parametrize("recipe", ALL)
def test_an_empty_scan_is_an_error(recipe: str) -> None:
    # Nothing says that 0 is not grey to ``edges``, which goes by the borders of padding.
    with pytest.raises(InputError, match="constant" if recipe == "edges" else "no voxel"):
        statistics(ArrayVolume(np.zeros((3, 4, 4), np.uint8)), recipe)


def test_an_unknown_recipe_suggests() -> None:
    with pytest.raises(UsageError) as error:
        statistics(ArrayVolume(scan("uint8")), "zscores")
    assert "zscore" in str(error.value.mend)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["uint8", "int16", "float32"]))
def test_normalising_does_not_change_its_input(seed: int, dtype: str) -> None:
    values = scan(dtype, shape=(2, 6, 6), seed=seed)
    before = values.copy()
    normalise(values, statistics(ArrayVolume(values), "zscore"))
    np.testing.assert_array_equal(values, before)
