from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from osteon.errors import InputError, UsageError
from osteon.intensity import SAMPLE_SLICES, Statistics, normalise, sample_slices, statistics
from osteon.intensity.anchoring import edges_of, weighted_median
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


def struts(*, outside: float = 40.0, seed: int = 0) -> np.ndarray:
    """A round bone of struts at 180, marrow at 100, in air or else, blurred and noisy, uint8."""
    shape = (3, 220, 240)
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[1], : shape[2]]
    radius = np.hypot(y - shape[1] / 2, x - shape[2] / 2)
    images = []
    for _ in range(shape[0]):
        field = ndimage.gaussian_filter(rng.normal(size=shape[1:]), 5)
        bone = ((field > 0.5 * field.std()) | (radius > 82)) & (radius < 90)
        image = np.where(bone, 180.0, np.where(radius < 90, 100.0, outside))
        grain = ndimage.gaussian_filter(rng.normal(size=image.shape), 0.6)
        images.append(ndimage.gaussian_filter(image, 1.0) + 6 * grain / grain.std())
    return np.clip(np.round(images), 1, 255).astype(np.uint8)


BONE = struts()


def drift(changed: np.ndarray, back: Callable[[float], float] = float) -> tuple[float, float]:
    """Shift of the centre in scales, and ratio of the scales, against the scan as it is."""
    a, b = (statistics(ArrayVolume(v), "edges") for v in (BONE, changed))
    low, high = back(b.low), back(b.high)
    return ((low + high) / 2 - a.centre) / a.width, (high - low) / 2 / a.width


@pytest.mark.parametrize(("outside", "dark"), [(100.0, 100.0), (40.0, 40.0)])
def test_the_anchors_are_both_sides_of_bone(outside: float, dark: float) -> None:
    # The strongest edges count most: in air those of the outside.
    found = statistics(ArrayVolume(struts(outside=outside)), "edges")
    # Struts of a few pixels, blurred, are not quite as bright, nor marrow between them as dark.
    assert found.low == pytest.approx(dark, abs=10)
    assert found.high == pytest.approx(180, abs=10)
    assert found.strength > 5


def test_a_picture_full_of_struts_has_edges() -> None:
    # No quiet place that noise could be judged by.
    inside = struts(outside=100)[:, 60:160, 70:170]
    found = statistics(ArrayVolume(inside), "edges")
    assert found.low == pytest.approx(100, abs=12)
    assert found.high == pytest.approx(180, abs=12)


@pytest.mark.parametrize("value", [0, 1, 97, 255], ids=["0", "minimum", "mean", "white"])
def test_padding_does_not_move_the_anchors(value: int) -> None:
    shift, scale = drift(np.pad(BONE, ((0, 0), (60, 60), (90, 30)), constant_values=value))
    assert abs(shift) < 0.03
    assert abs(scale - 1) < 0.02


def test_cropping_does_not_move_the_anchors() -> None:
    wide = np.pad(BONE, ((0, 0), (150, 150), (150, 150)), mode="reflect")[:, 75:-75, 75:-75]
    for changed in (BONE[:, 18:202, 28:212], BONE[:, :, :120], wide):
        shift, scale = drift(changed)
        assert abs(shift) < 0.05
        assert abs(scale - 1) < 0.05


def test_the_type_and_a_wider_window_do_not_move_the_anchors() -> None:
    shift, scale = drift(BONE.astype(np.uint16) * 211 + 3000, lambda v: (v - 3000) / 211)
    assert (shift, scale) == (pytest.approx(0, abs=1e-5), pytest.approx(1, abs=1e-5))
    wide = np.round(BONE * 0.7 + 30).astype(np.uint8)
    shift, scale = drift(wide, lambda v: (v - 30) / 0.7)
    assert abs(shift) < 0.02
    assert abs(scale - 1) < 0.02


def test_a_narrower_window_moves_the_anchors_little() -> None:
    # The darkest air is black, the brightest bone white.
    narrow = np.clip(np.round((BONE - 40.0) * 255 / 150), 0, 255).astype(np.uint8)
    shift, scale = drift(narrow, lambda v: v * 150 / 255 + 40)
    assert abs(shift) < 0.08
    assert abs(scale - 1) < 0.08


def test_a_metal_rod_does_not_move_the_anchors() -> None:
    rod = BONE.astype(np.uint16)
    y, x = np.mgrid[:220, :240]
    rod[:, np.hypot(y - 30, x - 30) < 7] = 900
    shift, scale = drift(rod)
    assert abs(shift) < 0.03
    assert abs(scale - 1) < 0.03
    assert normalise(rod, statistics(ArrayVolume(rod), "edges")).max() == 5  # clipped


@pytest.mark.parametrize("muscle", [60, 100])
def test_rings_and_muscle_around_a_small_bone_do_not_take_its_place(muscle: int) -> None:
    # Their edges are many times as many as those of bone, and less than half as strong.
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:320, :320] - 160.0
    radius = np.hypot(y, x)
    rings = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=300), 1.0)
    image = np.where(radius < 30, 230.0, np.where(radius < muscle, 75.0, 15.0))
    image += 6 * np.interp(radius, np.arange(300), rings / 0.53) + rng.normal(0, 3, image.shape)
    scan = np.clip(ndimage.gaussian_filter(image, 0.4), 0, 255)[np.newaxis].repeat(3, axis=0)
    found = statistics(ArrayVolume(scan.astype(np.uint8)), "edges")
    assert found.low == pytest.approx(75, abs=15)
    assert found.high == pytest.approx(230, abs=15)


def test_dark_padding_is_read_as_the_darkest_of_the_scan() -> None:
    padded = np.pad(BONE, ((0, 0), (60, 60), (60, 60)))
    found = statistics(ArrayVolume(padded), "edges")
    assert found.fill == 0
    assert found.fill_as == pytest.approx(np.percentile(BONE, 1), abs=1)
    assert found.n == BONE.size
    assert found.mean == pytest.approx(BONE.mean(), rel=1e-9)
    corner = normalise(padded, found)[:, :50, :50]
    assert np.unique(corner).tolist() == [
        pytest.approx((found.fill_as - found.centre) / found.width)
    ]


def test_what_the_window_cuts_off_is_no_padding() -> None:
    # Air is cut off at 0, from where grey values rise over some pixels.
    cut = np.clip(BONE.astype(int) - 70, 0, 255).astype(np.uint8)
    assert (cut[:, :20, :20] == 0).all()
    found = statistics(ArrayVolume(cut), "edges")
    assert found.fill is None
    assert found.n == cut.size
    assert found.low == pytest.approx(0, abs=3)
    assert found.high == pytest.approx(110, abs=10)


def test_nan_around_a_scan_is_padding() -> None:
    padded = np.pad(BONE.astype(np.float32), ((0, 0), (40, 40), (40, 40)), constant_values=np.nan)
    found = statistics(ArrayVolume(padded), "edges")
    assert math.isnan(found.fill)
    assert np.isfinite(normalise(padded, found)).all()
    shift, scale = drift(padded)
    assert abs(shift) < 0.02
    assert abs(scale - 1) < 0.02


def test_noise_has_no_edges_and_is_dark() -> None:
    noise = np.random.default_rng(0).normal(100, 10, (3, 200, 200)).astype(np.uint8)
    found = statistics(ArrayVolume(noise), "edges")
    assert found.strength == 0
    got = normalise(noise, found)
    assert got.mean() == pytest.approx(-1, abs=0.02)
    assert got.max() < 0


def test_the_weighted_median_by_hand() -> None:
    assert weighted_median(np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 1.0])) == 2
    assert weighted_median(np.array([3.0, 1.0, 2.0]), np.array([5.0, 1.0, 1.0])) == 3


def test_edges_of_a_step_by_hand() -> None:
    image = np.zeros((60, 80), np.float32)
    image[:, 40:] = 10
    image += np.random.default_rng(0).normal(0, 0.01, image.shape).astype(np.float32)
    found = edges_of(image)
    strong = found.gradient > 1
    assert strong.sum() == pytest.approx(60, abs=6)  # a ridge one pixel wide
    np.testing.assert_allclose(found.dark[strong], 0, atol=0.3)
    np.testing.assert_allclose(found.bright[strong], 10, atol=0.3)
    # A Gaussian edge of SD 1.5 has the slope 10 / (1.5 √(2 π)), central differences a little less.
    assert np.median(found.gradient[strong]) == pytest.approx(10 / (1.5 * 2.5066), rel=0.1)


def test_noise_moves_the_anchors_little() -> None:
    rng = np.random.default_rng(5)
    grain = ndimage.gaussian_filter(rng.normal(size=BONE.shape), (0, 0.6, 0.6))
    noisy = np.clip(BONE + 14 * grain / grain.std(), 0, 255).astype(np.uint8)
    shift, scale = drift(noisy)
    assert abs(shift) < 0.05
    assert abs(scale - 1) < 0.05


def test_edges_among_much_noise_are_found_by_their_lines() -> None:
    # A ring of bone that is 1/40 of the picture; its noise is 0.4 of the contrast.
    rng = np.random.default_rng(6)
    y, x = np.mgrid[-150:150, -150:150]
    image = np.where(np.abs(np.hypot(y, x) - 60) < 4, 160.0, 100.0)
    images = ndimage.gaussian_filter(image, 1) + rng.normal(0, 24, (4, 300, 300))
    found = statistics(ArrayVolume(np.clip(images, 0, 255).astype(np.uint8)), "edges")
    assert found.strength > 0
    assert found.low == pytest.approx(100, abs=20)
    assert found.high == pytest.approx(160, abs=20)
