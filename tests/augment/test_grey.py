"""Changes of grey values against the simulation's degradations, scikit-image, and by hand."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from skimage import exposure, filters

from osteon.augment import grey
from osteon.augment.grey import Scale
from osteon.simulation import degrade

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
Z = Scale.of((-5.0, 5.0), strength=1, isotropic=True)


class Drawn:
    """A generator whose draws within bounds are given, in their order."""

    def __init__(self, *given: float, seed: int = 0):
        self._given, self._rng = list(given), np.random.default_rng(seed)

    def uniform(self, low: float, high: float) -> float:
        value = self._given.pop(0)
        assert low <= value <= high
        return value

    def random(self) -> float:
        return self._given.pop(0)

    def standard_normal(self, *args: Any, **named: Any) -> np.ndarray:
        return self._rng.standard_normal(*args, **named)


def image(shape: tuple[int, ...] = (1, 40, 40), seed: int = 3) -> np.ndarray:
    values = np.random.default_rng(seed).normal(0, 1, shape)
    return ndimage.gaussian_filter(values, 1, axes=(-2, -1)).astype(np.float32) * 3


def test_gamma_is_scikit_image_s_between_the_extremes() -> None:
    given = image()
    out = grey.gamma(given.copy(), Drawn(np.log(1.3)), Z)
    low, high = given.min(), given.max()
    wanted = exposure.adjust_gamma(((given - low) / (high - low)).astype(float), 1.3)
    np.testing.assert_allclose(out, wanted * (high - low) + low, atol=1e-5)
    flat = np.full((1, 4, 4), 2, np.float32)
    np.testing.assert_array_equal(grey.gamma(flat.copy(), Drawn(np.log(1.3)), Z), flat)


@pytest.mark.parametrize("fraction", [0.3, -0.05])
def test_cupping_is_the_simulation_s(fraction: float) -> None:
    given = image()
    # Fraction, axis (y, x) from the middle, radius in sides.
    out = grey.cupping(given.copy(), Drawn(fraction, -7.0, 25.0, 1.5), Z)
    middle = 20.0 - 7.0, 20.0 + 25.0
    if fraction > 0:
        wanted = degrade.add_cupping(
            given[0], fraction=fraction, centre=middle, radius=60.0, black=grey.AIR
        )
    else:  # which the simulation does not know: brighter towards the axis
        y, x = np.indices((40, 40))
        r = np.minimum(np.hypot(y - middle[0], x - middle[1]) / 60, 1)
        wanted = (given[0] - grey.AIR) * (1 + 0.05 * (1 - r**2)) + grey.AIR
    np.testing.assert_allclose(out[0], wanted, atol=1e-5)


def test_blur_is_scikit_image_s() -> None:
    given = image((3, 40, 40))
    out = grey.blur(given, Drawn(0.9), Z)
    for channel, result in zip(given, out, strict=True):
        wanted = filters.gaussian(channel, 0.9, mode="reflect", truncate=3, preserve_range=True)
        np.testing.assert_allclose(result, wanted, atol=1e-5)


def test_sharpening_is_scikit_image_s_unsharp_mask() -> None:
    given = image((1, 60, 60))
    out = grey.sharpen(given.copy(), Drawn(0.8, 1.0), Z)
    wanted = filters.unsharp_mask(given[0], radius=1.0, amount=0.8, preserve_range=True)
    np.testing.assert_allclose(out[0], wanted, atol=0.02)  # its kernel ends at 4 SD


def test_coarser_by_two_is_the_simulation_s_half_resolution() -> None:
    given = image((2, 40, 40))
    out = grey.coarser(given, Drawn(2.0), Z)
    for channel, result in zip(given, out, strict=True):
        np.testing.assert_allclose(result, degrade.half_resolution(channel), atol=1e-5)
    block = image((1, 12, 20, 20))
    out = grey.coarser(block, Drawn(2.0), Z)
    np.testing.assert_allclose(out[0], degrade.half_resolution(block[0]), atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 256, 256), (1, 24, 64, 64)])
@pytest.mark.parametrize("correlation", [None, 0.7])
def test_noise_has_the_sd_and_correlation_asked_for(shape, correlation) -> None:
    draws = (0.5, 0.1) if correlation is None else (0.5, 0.9, correlation)
    added = grey.noise(np.zeros(shape, np.float32), Drawn(*draws), Z)[0]
    # Within four standard errors of independent samples, of which correlation leaves a fifth.
    assert added.std() == pytest.approx(0.5, rel=4 / np.sqrt(2 * added.size / 5))
    assert added.mean() == pytest.approx(0, abs=0.02)
    for axis in range(added.ndim):
        lag = np.moveaxis(added, axis, 0)
        found = np.corrcoef(lag[1:].ravel(), lag[:-1].ravel())[0, 1]
        # White noise smoothed by a Gaussian of sigma: exp(-lag² / (4 sigma²)), continuous; the
        # sampled kernel's own autocorrelation is the reference.
        kernel = np.exp(-0.5 * (np.arange(-2, 3) / (correlation or 1e-9)) ** 2)
        wanted = np.correlate(kernel, kernel, "full")[5] / (kernel**2).sum()
        assert found == pytest.approx(wanted, abs=0.02)


def test_slices_of_2_5d_have_noise_of_one_kind_each_its_own() -> None:
    added = grey.noise(np.zeros((3, 128, 128), np.float32), Drawn(0.4, 0.9, 1.0), Z)
    np.testing.assert_allclose(added.std(axis=(1, 2)), 0.4, rtol=0.05)
    assert abs(np.corrcoef(added[0].ravel(), added[1].ravel())[0, 1]) < 0.05


@pytest.mark.parametrize("offset", [(3.0, -5.0), (60.0, 64.0)])
def test_rings_are_constant_about_their_axis(offset: tuple[float, float]) -> None:
    sds = []
    for seed in range(60):
        added = grey.rings(
            np.zeros((2, 64, 64), np.float32), Drawn(0.3, 1.5, *offset, seed=seed), Z
        )
        np.testing.assert_array_equal(added[0], added[1])
        y, x = np.indices((64, 64))
        radius = np.hypot(y - 32 - offset[0], x - 32 - offset[1])
        order = np.argsort(radius.ravel())
        profile, radii = added[0].ravel()[order], radius.ravel()[order]
        # Neighbours in radius are alike, however far apart in the patch.
        close = np.diff(radii) < 0.02
        assert np.abs(np.diff(profile)[close]).max() < 0.25
        assert np.median(np.abs(np.diff(profile)[close])) < 0.01
        sds.append(np.interp(np.arange(radii[0], radii[-1], 0.5), radii, profile).std())
    assert np.sqrt(np.mean(np.square(sds))) == pytest.approx(0.3, rel=0.12)


def test_rings_are_as_wide_as_the_simulation_s() -> None:
    def lag(added: np.ndarray) -> float:
        line = added[32, 34:]
        return float(np.mean(line[1:] * line[:-1]) / np.mean(line**2))

    ours, theirs = [], []
    for seed in range(400):
        zeros = np.zeros((1, 64, 64), np.float32)
        ours.append(grey.rings(zeros, Drawn(0.3, 1.5, 0.0, 0.0, seed=seed), Z)[0])
        theirs.append(degrade.add_rings(zeros[0], sd=0.3, seed=seed, width=1.5, centre=(32, 32)))
    a, b = np.stack(ours)[:, 32, 34:], np.stack(theirs)[:, 32, 34:]
    for step in (1, 2, 3):
        mine = (a[:, step:] * a[:, :-step]).mean() / (a**2).mean()
        other = (b[:, step:] * b[:, :-step]).mean() / (b**2).mean()
        assert mine == pytest.approx(other, abs=0.04)


def test_contrast_and_brightness_by_hand() -> None:
    given = np.array([[[-2.0, 0.0, 3.0]]], np.float32)
    np.testing.assert_allclose(
        grey.contrast(given.copy(), Drawn(np.log(1.5)), Z), [[[-3, 0, 4.5]]], rtol=1e-6
    )
    np.testing.assert_allclose(
        grey.brightness(given.copy(), Drawn(-0.25), Z), [[[-2.25, -0.25, 2.75]]], rtol=1e-6
    )


def test_a_min_max_scale_has_smaller_units() -> None:
    scale = Scale.of((0.0, 1.0), strength=1, isotropic=True)
    assert (scale.unit, scale.air, scale.middle) == (0.2, 0.0, 0.5)
    half = np.full((1, 128, 128), 0.5, np.float32)
    assert grey.noise(half.copy(), Drawn(0.5, 0.1), scale).std() == pytest.approx(0.1, rel=0.03)
    out = grey.contrast(np.array([[[0.5, 0.7]]], np.float32), Drawn(np.log(1.5)), scale)
    np.testing.assert_allclose(out, [[[0.5, 0.8]]], rtol=1e-6)
    # Air stays black under cupping.
    out = grey.cupping(np.zeros((1, 8, 8), np.float32), Drawn(0.3, 0, 0, 1), scale)
    np.testing.assert_array_equal(out, 0)


def test_strength_scales_the_sizes() -> None:
    for strength in (0.5, 2.0):
        scale = Scale.of((-5.0, 5.0), strength=strength, isotropic=True)
        out = grey.brightness(np.zeros((1, 2, 2), np.float32), Drawn(0.3), scale)
        np.testing.assert_allclose(out, 0.3 * strength)
        out = grey.contrast(np.ones((1, 2, 2), np.float32), Drawn(np.log(1.4)), scale)
        np.testing.assert_allclose(out, 1.4**strength, rtol=1e-6)


@pytest.mark.parametrize("isotropic", [True, False])
@pytest.mark.parametrize(
    ("change", "draws"), [(grey.blur, (1.0,)), (grey.coarser, (2.0,)), (grey.sharpen, (0.5, 1.0))]
)
def test_slices_of_unlike_spacing_are_not_mixed(change, draws, isotropic: bool) -> None:
    block = np.zeros((1, 8, 8, 8), np.float32)
    block[:, 4] = 1  # one bright slice
    scale = Scale.of((-5.0, 5.0), strength=1, isotropic=isotropic)
    out = change(block.copy(), Drawn(*draws), scale)
    assert np.allclose(out, block, atol=1e-5) == (not isotropic)


def test_the_degradations_of_the_results_lie_within_the_ranges(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    results = importlib.import_module("degrade")
    # Measured on the vertebrae: 30 grey values are 0.49 to 0.73 normalised (docs/augmentation.md).
    for unit in (0.49 / 30, 0.73 / 30):
        assert grey.NOISE[0] <= results.NOISE_SD * unit <= grey.NOISE[1]
        assert grey.RINGS[0] <= results.RINGS_SD * unit <= grey.RINGS[1]
    assert grey.NOISE_CORRELATION[0] <= results.NOISE_CORRELATION <= grey.NOISE_CORRELATION[1]
    assert grey.CUPPING[0] <= results.CUPPING <= grey.CUPPING[1]
    assert grey.RINGS_WIDTH[0] <= results.RINGS_WIDTH <= grey.RINGS_WIDTH[1]
    assert grey.COARSER[0] <= 2 <= grey.COARSER[1]
