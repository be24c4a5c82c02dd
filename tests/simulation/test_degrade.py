"""Degradations measured back."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.transform import downscale_local_mean, resize

from osteon.errors import UsageError
from osteon.simulation import degrade


def flat(value=120, shape=(256, 256), dtype=np.uint8):
    return np.full(shape, value, dtype=dtype)


@pytest.mark.parametrize("correlation", [0.0, 0.7, 1.5])
@pytest.mark.parametrize("shape", [(400, 400), (32, 96, 96)])
def test_noise_has_the_deviation_and_correlation_asked_for(shape, correlation):
    noisy = degrade.add_noise(
        flat(1000, shape, np.uint16), sd=50, seed=3, correlation=correlation
    ).astype(float)
    assert noisy.std() == pytest.approx(50, rel=0.03)
    assert noisy.mean() == pytest.approx(1000, abs=2)
    d = noisy - noisy.mean()
    neighbour = (d[..., 1:] * d[..., :-1]).mean() / d.var()
    # White noise smoothed by a Gaussian s has the autocorrelation exp(-x² / 4 s²).
    expected = 0.0 if correlation == 0 else np.exp(-1 / (4 * correlation**2))
    assert neighbour == pytest.approx(expected, abs=0.03)


def test_noise_is_seeded_and_stays_in_range():
    a, b, c = (degrade.add_noise(flat(250), sd=30, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()
    # A wrapped value would be dark.
    assert a.max() == 255
    assert a.min() > 90


def test_cupping_darkens_the_centre_and_not_the_rim():
    image = flat(200, (101, 201))
    cupped = degrade.add_cupping(image, fraction=0.33)
    assert cupped[50, 100] == 134  # 200 × 0.67
    # At the rim, half a voxel within the radius: 200 × (1 − 0.33 × (1 − (100 / 100.5)²)) = 199.3.
    assert cupped[50, 0] == cupped[50, 200] == 199
    # Half-way out: 200 × (1 − 0.33 × (1 − (50 / 100.5)²)) = 150.3.
    assert cupped[50, 50] == 150
    lifted = degrade.add_cupping(image, fraction=0.5, black=100)
    assert lifted[50, 100] == 150
    moved = degrade.add_cupping(image, fraction=0.5, centre=(50, 0), radius=20)
    assert moved[50, 0] == 100
    assert (moved[:, 21:] == 200).all()


def test_rings_are_functions_of_the_radius_alone():
    image = flat(1000, (3, 301, 301), np.uint16)
    out = degrade.add_rings(image, sd=40, seed=5, width=1.0).astype(float)
    np.testing.assert_array_equal(out[0], out[2])
    np.testing.assert_array_equal(out[0], np.rot90(out[0]))
    profile = out[0, 150, 150:]
    assert profile.std() == pytest.approx(40, rel=0.2)
    # (90, 120) is at the radius of (0, 150).
    assert out[0, 150 + 90, 150 + 120] == profile[150]


@pytest.mark.parametrize("shape", [(64, 48), (16, 32, 24)])
def test_half_resolution_is_that_of_scikit_image(shape):
    image = np.random.default_rng(1).integers(0, 65535, shape).astype(np.uint16)
    small = downscale_local_mean(image.astype(float), (2,) * len(shape))
    expected = resize(small, shape, order=1, mode="edge", anti_aliasing=False)
    got = degrade.half_resolution(image)
    assert got.dtype == np.uint16
    assert np.abs(got.astype(float) - expected).max() <= 0.51


def test_half_resolution_keeps_odd_shapes_and_constants():
    np.testing.assert_array_equal(degrade.half_resolution(flat(77, (31, 1))), flat(77, (31, 1)))
    step = np.zeros((5, 7), np.uint8)
    step[:, 4:] = 200
    half = degrade.half_resolution(step)
    # Pairs are (0, 0), (0, 0), (200, 200), (200): worked out by hand at quarter positions.
    assert half[0].tolist() == [0, 0, 0, 50, 150, 200, 200]


def test_contrast_is_lowered_about_a_level():
    image = np.array([[0, 100, 250]], np.uint8)
    assert degrade.lower_contrast(image, factor=0.5, level=100).tolist() == [[50, 100, 175]]
    ramp = np.arange(201, dtype=np.uint8)[:, None]
    flatter = degrade.lower_contrast(ramp, factor=0.25)
    assert (flatter.min(), flatter[100, 0], flatter.max()) == (75, 100, 125)


def test_floats_are_not_rounded_or_clipped():
    image = np.full((64, 64), -0.5, np.float32)
    noisy = degrade.add_noise(image, sd=0.01, seed=1)
    assert noisy.dtype == np.float32
    assert noisy.std() == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize(
    "call",
    [
        lambda: degrade.add_noise(flat(), sd=-1, seed=1),
        lambda: degrade.add_noise(flat(), sd=1, seed=-1),
        lambda: degrade.add_cupping(flat(), fraction=1.5),
        lambda: degrade.add_cupping(flat(), fraction=0.2, radius=0),
        lambda: degrade.add_rings(flat(), sd=1, seed=1, width=-1),
        lambda: degrade.lower_contrast(flat(), factor=2),
        lambda: degrade.half_resolution(np.zeros(4, np.uint8)),
        lambda: degrade.half_resolution(np.zeros((4, 4), np.int16)),
    ],
)
def test_wrong_parameters_are_user_errors(call):
    with pytest.raises(UsageError):
        call()
