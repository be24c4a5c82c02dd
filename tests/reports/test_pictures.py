from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.measure import block_reduce

from osteon.errors import UsageError
from osteon.labels import BONE_PORES, LabelClass, LabelScheme
from osteon.reports import pictures
from osteon.reports.pictures import (
    FALSE,
    MISSED,
    SlicePicture,
    data_uri,
    scale_bar,
    slice_disagreement,
    slice_overlay,
    slice_picture,
    to_display_size,
)

GREY = (0.0, 255.0)  # a window that leaves 8-bit intensities as they are


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 2500), st.integers(1, 2500))
def test_a_constant_comes_back_constant_and_keeps_its_proportions(height: int, width: int) -> None:
    out = to_display_size(np.full((height, width), 7, np.uint8))
    np.testing.assert_allclose(out, 7, rtol=1e-5)
    assert max(out.shape) <= pictures.MAX_SIDE
    if min(out.shape) > 20:
        assert out.shape[0] / out.shape[1] == pytest.approx(height / width, rel=0.05)


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_scaling_down_is_the_average_over_areas(factor: int) -> None:
    plane = np.random.default_rng(0).random((pictures.MAX_SIDE * factor, 300 * factor))
    expected = block_reduce(plane, (factor, factor), np.mean)
    np.testing.assert_allclose(to_display_size(plane), expected, atol=1e-4)


def test_scaling_down_by_no_whole_number_keeps_the_mean() -> None:
    plane = np.random.default_rng(0).random((1013, 777))
    assert to_display_size(plane).mean() == pytest.approx(plane.mean(), abs=1e-3)


def test_small_slices_are_enlarged_voxel_by_voxel() -> None:
    plane = np.array([[1, 2], [3, 4]])
    out = to_display_size(plane)
    assert out.shape == (360, 360)
    np.testing.assert_array_equal(out[::180, ::180], plane)
    np.testing.assert_array_equal(out[179::180, 179::180], plane)


def test_window_is_from_percentiles_of_finite_values() -> None:
    image = np.append(np.arange(1000.0), [np.nan, np.inf]).reshape(2, 501)
    low, high = pictures.contrast_window(image)
    expected = np.percentile(np.arange(1000.0), pictures.WINDOW_PERCENTILES)
    assert (low, high) == pytest.approx(tuple(expected))
    assert pictures.contrast_window(np.full((3, 3), 5)) == (4.0, 6.0)
    assert pictures.contrast_window(np.full((3, 3), np.nan)) == (0.0, 1.0)


def test_grey_picture() -> None:
    out = slice_picture(np.array([[0.0, 127.5], [255, np.nan]]), window=GREY)
    assert out[0, 0].tolist() == [0, 0, 0]
    assert out[0, -1].tolist() == [128, 128, 128]
    assert out[-1, 0].tolist() == [255, 255, 255]
    assert out[-1, -1].tolist() == [0, 0, 0]


def test_overlay_blends_colours_and_leaves_the_background_clear() -> None:
    image = np.full((2, 2), 100, np.uint8)
    out = slice_overlay(
        image, np.array([[0, 1], [2, 0]], np.uint8), scheme=BONE_PORES, alpha=0.5, window=GREY
    )
    assert out[0, 0].tolist() == [100, 100, 100]
    assert out[0, -1].tolist() == [165, 130, 50]  # half of (230, 159, 0), rounded half to even
    assert out[-1, 0].tolist() == [93, 140, 166]  # half of (86, 180, 233)


def test_thin_structures_fade_instead_of_vanishing() -> None:
    labels = np.zeros((1400, 1400), np.uint8)
    labels[:, 700] = 1  # one voxel wide, at half size
    out = slice_overlay(
        np.zeros((1400, 1400), np.uint8), labels, scheme=BONE_PORES, alpha=1.0, window=GREY
    )
    assert (out[:, 350] == [115, 80, 0]).all()
    assert not out[:, 349].any()


def test_disagreement_tells_missed_from_false_and_ignores_unlabelled() -> None:
    truth = np.array([[1, 0, 2, 255], [1, 2, 0, 0]], np.uint8)
    prediction = np.array([[0, 1, 0, 1], [1, 2, 0, 2]], np.uint8)
    out = slice_disagreement(np.zeros((2, 4), np.uint8), truth, prediction, focus=1, window=GREY)
    step = out.shape[1] // 4
    pixels = out[::step, ::step][:2]
    assert pixels[0, 0].tolist() == list(MISSED)
    assert pixels[0, 1].tolist() == list(FALSE)
    assert pixels[0, 2].tolist() == list(pictures.CONFUSED)
    assert pixels[0, 3].tolist() == [round(0.7 * v) for v in pictures.UNLABELLED]
    assert pixels[1, 3].tolist() == list(pictures.CONFUSED)
    assert not pixels[1, :3].any()
    legend = pictures.disagreement_legend(BONE_PORES, 1)
    assert [text for text, _ in legend] == [
        "missed bone", "false bone", "background / pores mixed up"
    ]  # fmt: skip


def test_focus_is_bone_or_the_first_class() -> None:
    classes = tuple(LabelClass(n, i, (i, i, i)) for i, n in enumerate(["air", "tooth", "bone"]))
    assert pictures.focus_class(LabelScheme(classes)) == 2
    assert pictures.focus_class(LabelScheme(classes[:2])) == 1


@pytest.mark.parametrize(
    ("width", "pixel", "share", "text"),
    [
        (1000, 10.0, 0.2, "2 mm"),  # of 10 mm at most 3
        (1000, 1.7, 500 / 1700, "500 µm"),
        (128, 39.0, 1000 / (128 * 39), "1 mm"),
        (7, 0.3, 0.5 / 2.1, "0.5 µm"),
    ],
)
def test_scale_bar_is_a_round_length(width, pixel, share, text) -> None:
    assert scale_bar(width, pixel) == (pytest.approx(share), text)
    assert scale_bar(width, None) is None


@pytest.mark.parametrize("side", [40, 500])
def test_data_uri_decodes_to_the_picture(side: int) -> None:
    picture = np.zeros((side, side, 3), np.uint8)
    picture[: side // 2] = (230, 159, 0)
    head, data = data_uri(picture).split(",")
    assert head == f"data:image/{'png' if side == 40 else 'jpeg'};base64"
    decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"), int)
    assert np.abs(decoded - picture).max() <= (0 if side == 40 else 12)


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(UsageError, match="slice 3"):
        SlicePicture("a", 3, np.zeros((2, 3)), np.zeros((2, 2), np.uint8))
