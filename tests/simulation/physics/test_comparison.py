"""The image-domain scanner against projection and reconstruction of the same slice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from osteon.errors import UsageError
from osteon.simulation.physics import fast, matching
from osteon.simulation.physics.phantom import BONE_RADII, CORTEX, MARROW, bone_phantom
from osteon.simulation.physics.projection import FILTERS, ScannerSpec, scan_slice
from osteon.simulation.randomness import generator

SIZE, FINER = 96, 2
SCANNER = ScannerSpec(supersample=FINER, angles=180, photons=30_000.0, blur=0.6, voxel_um=25.0)
#: Mean difference of the sorted grey values, relative to the step from air to bone.
MOST_DISTANCE = 0.015
#: Share of the noise's power that lies at other frequencies.
MOST_POWER_ELSEWHERE = 0.08


def noise_power(image, bins=8):
    power = np.abs(np.fft.fft2(image - image.mean())) ** 2
    f = np.hypot(np.fft.fftfreq(image.shape[0])[:, None], np.fft.fftfreq(image.shape[1])[None, :])
    which = np.minimum((f / 0.5 * bins).astype(int), bins)
    mean = np.array([power[which == b].mean() for b in range(bins)])
    return mean / mean.sum()


@pytest.fixture(scope="module")
def scans():
    """Twice projected and once without photons' noise, and the same in the image domain."""
    maps = bone_phantom(SIZE, supersample=FINER)
    attenuation = sum(maps.values()).reshape(SIZE, FINER, SIZE, FINER).mean((1, 3))
    attenuation = attenuation.astype(np.float32)
    spec = matching.match_fast_scanner(attenuation, SCANNER)
    projected = [scan_slice(maps, SCANNER, generator(s)) for s in (1, 2)]
    projected.append(scan_slice(maps, replace(SCANNER, photons=None), generator(1)))
    direct = [fast.image_slice(attenuation, spec, generator(s)) for s in (3, 4)]
    direct.append(fast.image_slice(attenuation, replace(spec, noise=0), generator(3)))
    return attenuation, projected, direct


def test_histograms_are_alike(scans):
    attenuation, projected, direct = scans
    for a, b in ((projected[0], direct[0]), (projected[2], direct[2])):
        assert wasserstein_distance(a.ravel(), b.ravel()) < MOST_DISTANCE
    # The bound means something: the slice itself is far beyond it.
    assert wasserstein_distance(projected[2].ravel(), attenuation.ravel()) > 2 * MOST_DISTANCE


def test_slices_are_alike_voxel_by_voxel(scans):
    attenuation, projected, direct = scans
    difference = (projected[2] - direct[2]).std()
    assert difference < 0.02
    assert difference < 0.15 * (projected[2] - attenuation).std()


def test_noise_is_alike_in_strength_and_spectrum(scans):
    _, projected, direct = scans
    middle = slice(SIZE // 2 - 32, SIZE // 2 + 32)
    a, b = (((s[0] - s[1]) / np.sqrt(2))[middle, middle] for s in (projected, direct))
    assert a.std() == pytest.approx(b.std(), rel=0.12)
    assert np.abs(noise_power(a) - noise_power(b)).sum() / 2 < MOST_POWER_ELSEWHERE
    white = np.random.default_rng(1).standard_normal(a.shape)
    assert np.abs(noise_power(a) - noise_power(white)).sum() / 2 > MOST_POWER_ELSEWHERE


@pytest.mark.parametrize("name", FILTERS)
def test_filters_of_the_reconstruction_lower_noise_and_widen_blur(name):
    attenuation = np.zeros((SIZE, SIZE), np.float32)
    spec = replace(SCANNER, filter=name, angles=120)
    empty = {"bone": np.zeros((SIZE * FINER, SIZE * FINER), np.float32)}
    measured = scan_slice(empty, spec, generator(5))[16:80, 16:80].std()
    matched = matching.match_fast_scanner(attenuation, spec)
    assert matched.noise == pytest.approx(measured, rel=0.1)
    assert matched.cupping == 0
    if name != "ramp":
        plain = matching.match_fast_scanner(attenuation, replace(spec, filter="ramp"))
        assert matched.blur > plain.blur
        assert matched.noise < plain.noise


def test_a_single_energy_is_matched_without_cupping():
    image = bone_phantom(48)["bone"]
    for voxel_um in (5.0, 20.0, 80.0):
        spec = replace(SCANNER, energies=1, voxel_um=voxel_um)
        assert matching.match_fast_scanner(image, spec).cupping == pytest.approx(0, abs=1e-9)
    hard = [
        matching.match_fast_scanner(image, replace(SCANNER, voxel_um=v)).cupping for v in (20, 80)
    ]
    assert hard[1] > 1.5 * hard[0] > 0.1


def test_the_phantom_is_the_same_at_any_supersampling():
    coarse, fine = bone_phantom(64), bone_phantom(64, supersample=4)
    mean = fine["bone"].reshape(64, 4, 64, 4).mean((1, 3))
    # Area of the cortex: π times the difference of the products of the half axes.
    (a, b), t = BONE_RADII, CORTEX
    whole, inner = np.pi * a * b, np.pi * (a - t) * (b - t)
    assert (fine["bone"] + (fine["water"] == np.float32(MARROW))).mean() == pytest.approx(
        whole, rel=0.01
    )
    assert whole - inner < mean.mean() < whole
    assert np.abs(coarse["bone"] - mean).mean() < 0.06
    with pytest.raises(UsageError, match="phantom"):
        bone_phantom(0)
