"""The thickness of bone in pixels, and what is warned of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from osteon.errors import OsteonWarning
from osteon.intensity import statistics
from osteon.prediction.checks import check_features
from osteon.prediction.features import Features, look, mean_thickness, thicknesses, widest_gap
from osteon.prediction.scale import choose_scale
from osteon.volume import ArrayVolume

from .faking import SPEC

Scan = npt.NDArray[np.uint8]
PLAIN = Features(10.0, 0.3, 0.0, 8.0)


def plates(thickness: float, *, angle: float = 0.4, shape: tuple[int, int] = (360, 420)) -> object:
    """Share of bone in each pixel, of parallel plates three times as far apart as thick."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    place = (np.cos(angle) * x + np.sin(angle) * y) % (3 * thickness) - 1.5 * thickness
    return np.clip(thickness / 2 - np.abs(place) + 0.5, 0, 1)


def rings(thickness: float) -> object:
    y, x = np.mgrid[-200:200, -200:200]
    return np.clip(thickness / 2 - np.abs(np.hypot(y, x) - 120) + 0.5, 0, 1)


def scan(bone: object, *, noise: float, blur: float = 1.0, seed: int = 0) -> ArrayVolume:
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(2):
        image = ndimage.gaussian_filter(np.asarray(bone, float), blur)
        grain = ndimage.gaussian_filter(rng.normal(size=image.shape), 0.6)
        images.append(60 + 110 * (image + noise * grain / grain.std()))
    return ArrayVolume(np.clip(np.round(images), 1, 255).astype(np.uint8))


def seen(volume: ArrayVolume) -> Features:
    return look(volume, statistics(volume, "edges"))


@pytest.mark.parametrize("thickness", [3, 4, 5, 8, 14, 25, 40])
@pytest.mark.parametrize("noise", [0.02, 0.15, 0.25])
def test_the_thickness_of_plates(thickness: int, noise: float) -> None:
    found = seen(scan(plates(thickness), noise=noise)).thickness_px
    assert found == pytest.approx(thickness, rel=0.25)


@pytest.mark.parametrize("thickness", [6, 20, 60])
def test_the_thickness_of_a_shaft(thickness: int) -> None:
    found = seen(scan(rings(thickness), noise=0.1)).thickness_px
    assert found == pytest.approx(thickness, rel=0.25)


def test_a_mask_by_hand() -> None:
    mask = np.zeros((60, 200), bool)
    mask[10:19] = True  # 9 px thick
    mask[40:50] = True  # 10 px thick
    assert mean_thickness([thicknesses(mask)]) == pytest.approx(9.5, abs=0.5)
    mask[30, 5:8] = True  # a speck
    assert mean_thickness([thicknesses(mask)]) == pytest.approx(9.5, abs=0.5)
    assert mean_thickness([thicknesses(np.zeros((60, 60), bool))]) is None
    assert mean_thickness([thicknesses(np.ones((60, 60), bool))]) is None


def test_the_models_recipe_does_not_matter() -> None:
    volume = scan(plates(12), noise=0.1)
    assert look(volume, statistics(volume, "zscore")) == seen(volume)


def test_bone_as_it_should_be_is_not_warned_of() -> None:
    for volume in (scan(plates(8), noise=0.15), scan(rings(30), noise=0.1)):
        check_features(volume, seen(volume))  # warnings are errors here


def test_noise_alone_has_no_edges() -> None:
    volume = scan(np.zeros((300, 300)), noise=0.2)
    found = seen(volume)
    assert (found.strength, found.thickness_px) == (0, None)
    with pytest.warns(OsteonWarning, match=r"\[no-bone-like-edges\]"):
        check_features(volume, found)


def test_metal_is_warned_of() -> None:
    volume = scan(plates(10), noise=0.05)
    values = volume.array.astype(np.uint16)
    values[:, 100:110, 100:110] = 1500
    bright = ArrayVolume(values)
    with pytest.warns(OsteonWarning, match=r"\[metal\]"):
        check_features(bright, seen(bright))


WANTS = replace(SPEC, feature_px=(4.0, 16.0))
VOLUME = scan(plates(10), noise=0.05)


def test_thick_bone_is_reduced_to_the_end_of_the_range() -> None:
    choice = choose_scale(VOLUME, WANTS, replace(PLAIN, thickness_px=24.0))
    assert choice is not None
    assert choice.factor == 1.5  # 24 px become 16
    assert "24.0 pixels thick on average, so the slices are reduced 1.50 times" in choice.why


@pytest.mark.parametrize("thickness", [4.0, 9.0, 16.0, None])
def test_bone_within_the_range_stays(thickness: float | None) -> None:
    choice = choose_scale(VOLUME, WANTS, replace(PLAIN, thickness_px=thickness))
    assert choice is not None
    assert choice.factor == 1


def test_thin_bone_is_warned_of() -> None:
    with pytest.warns(OsteonWarning, match=r"2.5 pixels.*4 to 16.*\[bone-too-thin\]"):
        choice = choose_scale(VOLUME, WANTS, replace(PLAIN, thickness_px=2.5))
    assert choice is not None
    assert choice.factor == 1


def test_a_model_without_a_range_does_not_choose() -> None:
    assert choose_scale(VOLUME, SPEC, PLAIN) is None


# --- room beside bone ------------------------------------------------------------------------


def test_the_widest_gap_by_hand() -> None:
    mask = np.zeros((100, 300), bool)
    mask[:, :140] = mask[:, 200:] = True  # 60 px between walls, farther from bone nowhere
    assert widest_gap(mask) == pytest.approx(0.6, abs=0.01)
    mask[50, 169:172] = True  # a speck in the middle
    assert widest_gap(mask) == pytest.approx(0.6, abs=0.01)
    assert widest_gap(np.ones((9, 9), bool)) == 0
    assert widest_gap(np.zeros((9, 9), bool)) == np.inf


@pytest.mark.parametrize("noise", [0.02, 0.25])
@pytest.mark.parametrize(
    ("bone", "within"), [(plates(8), True), (plates(25), True), (rings(20), False)]
)
def test_a_view_that_is_full_of_bone_lies_within_it(
    bone: object, within: bool, noise: float
) -> None:
    found = seen(scan(bone, noise=noise))
    assert found.widest_gap is not None
    assert found.within_bone is within


def test_one_slice_with_room_is_enough() -> None:
    full, half = np.array(plates(8)), np.array(plates(8))
    half[:, 180:] = 0
    images = [scan(bone, noise=0.05).read(slice(0, 1)) for bone in (full, half)]
    assert not seen(ArrayVolume(np.concatenate(images))).within_bone


def test_noise_alone_lies_within_nothing() -> None:
    image = np.random.default_rng(0).normal(100, 20, (2, 200, 200)).clip(1, 255)
    found = seen(ArrayVolume(image.astype(np.uint8)))
    assert found.widest_gap is None
    assert not found.within_bone
    assert not replace(PLAIN, widest_gap=0.1, strength=0.0).within_bone
    assert replace(PLAIN, widest_gap=0.1).within_bone
