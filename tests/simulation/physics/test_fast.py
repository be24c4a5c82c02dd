"""The image-domain artefacts, measured back."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy import ndimage
from scipy.special import erf
from skimage.transform import iradon, radon

from osteon.errors import UsageError
from osteon.simulation.physics import fast
from osteon.simulation.physics.fast import sinogram
from osteon.simulation.randomness import generator


def flat(value=1.0, shape=(256, 256)):
    return np.full(shape, value, dtype=np.float32)


def disk(n=256, radius=100.0, centre=None, value=1.0):
    cy, cx = ((n - 1) / 2, (n - 1) / 2) if centre is None else centre
    r = np.hypot(*(np.mgrid[:n, :n] - np.array([cy, cx]).reshape(2, 1, 1)))
    return (np.clip(radius - r + 0.5, 0, 1) * value).astype(np.float32)


def radial_power(image, bins=16):
    """Mean power by spatial frequency, up to 0.5 per voxel."""
    power = np.abs(np.fft.fft2(image - image.mean())) ** 2 / image.size
    f = np.hypot(np.fft.fftfreq(image.shape[0])[:, None], np.fft.fftfreq(image.shape[1])[None, :])
    which = np.minimum((f / 0.5 * bins).astype(int), bins)
    return np.array([power[which == b].mean() for b in range(bins)])


def test_the_module_starts_without_scikit_image_and_torch():
    code = (
        "import sys, osteon.simulation.physics.fast\n"
        "loaded = {m.split('.')[0] for m in sys.modules}\n"
        "print(sorted(loaded & {'skimage', 'torch', 'lightning'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("sigma", [0.7, 1.5])
def test_blur_is_measured_back_from_the_edge_spread(sigma):
    step = flat(0.0)
    step[:, 128:] = 1
    edge = fast.blur(step, sigma=sigma)[100]
    # A step between voxels 127 and 128 has the edge spread function (1 + erf(x / √2σ)) / 2.
    x = np.arange(256) - 127.5
    np.testing.assert_allclose(edge, 0.5 * (1 + erf(x / np.sqrt(2) / sigma)), atol=0.025)
    line = np.diff(edge)
    measured = np.sqrt((line * (x[:-1] + 0.5) ** 2).sum() - ((line * (x[:-1] + 0.5)).sum()) ** 2)
    assert measured == pytest.approx(sigma, rel=0.06)


@pytest.mark.parametrize("correlation", [0.0, 0.6, 1.5])
@pytest.mark.parametrize("shape", [(256, 256), (200, 333)])
def test_noise_has_the_deviation_asked_for(shape, correlation):
    noisy = fast.add_noise(flat(0.5, shape), generator(1), sd=0.08, correlation=correlation)
    assert noisy.dtype == np.float32
    # The first and last columns of a real transform count once: an error would be 0.4 % at most
    # here, so many draws are pooled.
    pooled = [
        fast.reconstruction_noise(shape, generator(2, i), correlation=correlation).var()
        for i in range(20)
    ]
    assert noisy.std() == pytest.approx(0.08, rel=0.02)
    assert noisy.mean() == pytest.approx(0.5, abs=1e-4)
    assert np.mean(pooled) == pytest.approx(1, rel=0.01)


def test_noise_has_the_spectrum_of_filtered_backprojection():
    power = np.mean(
        [
            radial_power(fast.reconstruction_noise((256, 256), generator(i), correlation=0.7))
            for i in range(10)
        ],
        axis=0,
    )
    f = (np.arange(16) + 0.5) / 32
    expected = f * np.exp(-((2 * np.pi * 0.7 * f) ** 2))
    np.testing.assert_allclose(power / power.sum(), expected / expected.sum(), atol=0.01)
    # Smoothed white noise has its peak at 0, this has it at 1 / (2π √2 0.7) = 0.16 per voxel.
    assert power[0] < 0.3 * power.max()
    assert 0.1 < f[power.argmax()] < 0.22


def test_noise_is_that_of_a_reconstruction_from_noisy_projections():
    """White noise in projections, reconstructed by scikit-image, has the same spectrum."""
    angles = np.linspace(0, 180, 240, endpoint=False)
    rng = np.random.default_rng(4)
    spectra = []
    for _ in range(3):
        white = rng.standard_normal((181, 240))
        spectra.append(
            radial_power(iradon(white, angles, filter_name="ramp", circle=True)[42:138, 42:138])
        )
    reference = np.mean(spectra, axis=0)
    ours = np.mean(
        [
            radial_power(fast.reconstruction_noise((96, 96), generator(i), correlation=0.35))
            for i in range(20)
        ],
        axis=0,
    )
    ours, reference = ours / ours.sum(), reference / reference.sum()
    # Linear interpolation between detector bins, iradon's apodisation, is a sinc² in place of a
    # Gaussian.
    assert np.abs(ours - reference).sum() < 0.15


def test_the_coarse_projection_is_that_of_scikit_image():
    image = disk(64, 14, (40, 26)) + disk(64, 9, (20, 40), 0.5)
    got = sinogram.project(image)
    angles = np.arange(sinogram.ANGLES) * (180 / sinogram.ANGLES)
    # radon turns the other way about the middle voxel 32, ours about 31.5.
    reference = radon(np.pad(image, ((33, 32), (33, 32))), -angles, circle=True)
    middle, half = got.shape[1] // 2, 30
    ours = got[:, middle - half : middle + half + 1]
    theirs = reference.T[:, 64 - half : 64 + half + 1]
    centroid = [(s * np.arange(2 * half + 1)).sum(1) / s.sum(1) - half for s in (ours, theirs)]
    np.testing.assert_allclose(ours.sum(1), image.sum(), rtol=1e-4)
    assert np.abs(centroid[0] - centroid[1]).max() < 0.8
    assert np.abs(ours - theirs).mean() < 0.02 * theirs.max()


def test_a_coarse_reconstruction_gives_back_what_was_projected():
    image = ndimage.gaussian_filter(disk(64, 20, (36, 28)) + disk(64, 8, (20, 44), 2.0), 3.0)
    back = sinogram.backproject(sinogram.project(image), (64, 64))
    assert np.abs(back - image).max() < 0.06
    assert back.mean() == pytest.approx(image.mean(), rel=0.01)


def test_cupping_of_a_disk_is_the_hemisphere_worked_out_by_hand():
    n, radius, fraction = 256, 96.0, 0.03
    image = disk(n, radius)
    error = fast.add_cupping(image, fraction=fraction) - image
    r = np.hypot(*(np.mgrid[:n, :n] - 127.5))
    # The reference disk has radius 128: the darkening at the centre is fraction × R / 128.
    expected = -fraction * np.sqrt(np.maximum(radius**2 - r**2, 0)) / 128
    inside = r < 0.9 * radius
    assert np.abs(error - expected)[inside].max() < 0.12 * fraction
    assert error[127, 127] == pytest.approx(-fraction * 96 / 128, rel=0.08)


def test_cupping_follows_the_mass():
    thin = disk(256, 96) - disk(256, 88)
    full = disk(256, 96)
    loss = [
        -(fast.add_cupping(i, fraction=0.2) - i)[i > 0.99].mean()
        for i in (thin, full, 0.5 * full)
        if (i > 0.99).any()
    ]
    assert loss[0] < 0.5 * loss[1]
    assert not fast.add_cupping(flat(0.0), fraction=0.3).any()


def test_streaks_are_dark_between_dense_things_and_need_them():
    soft = disk(256, 110, value=0.2)
    dense = disk(256, 14, (127.5, 70)) + disk(256, 14, (127.5, 186))
    image = np.maximum(soft, 5 * dense).astype(np.float32)
    error = fast.add_streaks(image, strength=0.3, threshold=1.5) - image
    between, above = error[124:132, 110:146].mean(), error[60:70, 110:146].mean()
    assert between < 0
    assert between < above - 0.02
    assert not (fast.add_streaks(soft, strength=0.3, threshold=1.5) - soft).any()
    # One of them alone leaves the other's place nearly as it was.
    alone = np.maximum(soft, 5 * disk(256, 14, (127.5, 70))).astype(np.float32)
    one = fast.add_streaks(alone, strength=0.3, threshold=1.5) - alone
    assert abs(one[124:132, 140:170].mean()) < 0.3 * abs(error[124:132, 140:170].mean())


@pytest.mark.parametrize("centre", [(127.5, 127.5), (-60.0, 300.0)])
def test_rings_vary_with_the_radius_alone(centre):
    out = fast.add_rings(flat(), generator(3), sd=0.05, width=0.8, centre=centre) - 1
    r = np.hypot(*(np.mgrid[:256, :256] - np.array(centre).reshape(2, 1, 1)))
    _, ring = np.unique((r * 4).astype(int), return_inverse=True)
    mean = ndimage.mean(out, ring, np.arange(ring.max() + 1))
    # Nearly all variance is between radii, none along them.
    assert (out - mean[ring]).var() < 0.02 * out.var()
    assert np.sqrt((out**2).mean()) == pytest.approx(0.05, rel=0.35)


def test_rings_have_the_strength_asked_for_and_fall_with_the_radius():
    outs = [
        fast.add_rings(flat(0.0), generator(i), sd=0.05, width=0.5, centre=(127.5, 127.5))
        for i in range(60)
    ]
    power = np.mean([o**2 for o in outs], axis=0)
    assert np.sqrt(power.mean()) == pytest.approx(0.05, rel=0.08)
    r = np.hypot(*(np.mgrid[:256, :256] - 127.5))
    near, far = (power[(r > a) & (r < b)].mean() for a, b in ((15, 25), (70, 90)))
    assert near / far == pytest.approx(80 / 20, rel=0.35)


def test_half_rings_have_two_unrelated_halves():
    out = fast.add_rings(
        flat(0.0), generator(5), sd=0.05, width=0.6, centre=(127.5, 127.5), half=True
    )
    up, down = out[127::-1], out[128:]
    assert abs(np.corrcoef(up.ravel(), down.ravel())[0, 1]) < 0.4
    whole = fast.add_rings(flat(0.0), generator(5), sd=0.05, width=0.6, centre=(127.5, 127.5))
    np.testing.assert_allclose(whole[127::-1], whole[128:], atol=1e-5)


def test_edges_are_an_unsharp_filter():
    image = fast.blur(disk(64, 20), sigma=1.0)
    expected = image + 0.8 * (image - ndimage.gaussian_filter(image.astype(float), 1.5))
    np.testing.assert_allclose(
        fast.enhance_edges(image, amount=0.8, sigma=1.5), expected, atol=2e-4
    )
    assert fast.enhance_edges(image, amount=0.8, sigma=1.5).min() < -0.05


def test_lost_resolution_keeps_constants_means_and_nothing_finer():
    np.testing.assert_allclose(
        fast.lose_resolution(flat(0.7, (61, 83)), factor=1.7), 0.7, rtol=1e-5
    )
    image = generator(1).standard_normal((64, 48)).astype(np.float32)
    np.testing.assert_array_equal(fast.lose_resolution(image, factor=1.0), image)
    means = image.reshape(32, 2, 24, 2).mean((1, 3))
    got = fast.lose_resolution(image, factor=2.0)
    # Half-way between the centres of cells 0 and 1, voxels 1 and 2 weigh them 3:1 and 1:3.
    rows = 0.75 * means[0] + 0.25 * means[1]
    assert got[1, 1] == pytest.approx(0.75 * rows[0] + 0.25 * rows[1], abs=1e-5)
    assert got[0, 0] == pytest.approx(means[0, 0], abs=1e-5)


def test_shading_is_a_plane_of_gain():
    got = fast.shade(flat(2.0, (5, 9)), slope=(0.2, -0.4))
    assert got[2, 4] == pytest.approx(2.0)
    assert got[0, 4] == pytest.approx(1.8)
    assert got[4, 8] == pytest.approx(2 * (1 + 0.1 - 0.2))


def test_motion_doubles_at_the_displacement():
    image = flat(0.0, (32, 32))
    image[10, 12] = 1
    got = fast.double(image, shift=(3.0, -2.25), share=0.4)
    expected = 0.6 * image + 0.4 * ndimage.shift(image, (3, -2.25), order=1)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    np.testing.assert_allclose(
        fast.double(flat(0.3, (32, 32)), shift=(5.5, 2), share=0.5), 0.3, rtol=1e-6
    )


def test_the_rim_is_bright_and_the_middle_and_the_outside_are_not():
    got = fast.brighten_rim(flat(0.5, (201, 201)), amount=0.3, centre=(100, 100), radius=80) - 0.5
    assert got[100, 100] == pytest.approx(0, abs=1e-6)
    assert got[100, 180] == pytest.approx(0.3, rel=1e-4)
    assert (np.diff(got[100, 100:181]) >= 0).all()
    assert got[100, 140] < 0.03
    assert not got[100, 181:].any()


def test_gamma_bends_between_its_levels():
    image = np.array([[-0.4, -0.2, 0.5, 1.2]], dtype=np.float32)
    got = fast.gamma(image, exponent=2.0, black=-0.2, white=1.2)
    # 0.5 is half-way: a quarter of 1.4 above -0.2.
    np.testing.assert_allclose(got, [[-0.4, -0.2, 0.15, 1.2]], atol=1e-6)


def test_one_scanner_applies_what_it_says():
    image = disk()
    quiet = fast.FastScannerSpec(blur=0, noise=0)
    same = fast.image_slice(image, quiet, generator(1))
    np.testing.assert_array_equal(same, image)
    assert same is not image
    spec = fast.FastScannerSpec(blur=1.2, noise=0.1, noise_correlation=0.7)
    got = fast.image_slice(image, spec, generator(1))
    inner = np.hypot(*(np.mgrid[:256, :256] - 127.5)) < 90
    assert got[inner].std() == pytest.approx(0.1, rel=0.05)
    np.testing.assert_array_equal(got, fast.image_slice(image, spec, generator(1)))
    assert (got != fast.image_slice(image, spec, generator(2))).any()


def test_every_artefact_of_a_scanner_changes_the_slice():
    image = disk(96, 36) + disk(96, 6, value=3.0)
    quiet = {"blur": 0.0, "noise": 0.0}
    for change in (
        {"blur": 1.0},
        {"resolution": 1.5},
        {"edges": 1.0},
        {"noise": 0.1},
        {"cupping": 0.2},
        {"streaks": 0.2},
        {"rings": 0.02},
        {"shading": (0.1, 0.0)},
        {"motion": (2.0, 1.0), "motion_share": 0.4},
        {"rim": 0.2},
        {"gamma": 0.8},
    ):
        got = fast.image_slice(image, fast.FastScannerSpec(**(quiet | change)), generator(1))
        assert np.abs(got - image).max() > 0.01, change
        assert got.dtype == np.float32, change
        assert np.isfinite(got).all(), change


def test_drawn_scanners_are_seeded_and_within_their_ranges():
    drawn = [fast.draw_fast_scanner(generator(i), contrast=0.3) for i in range(400)]
    assert drawn[7] == fast.draw_fast_scanner(generator(7), contrast=0.3)
    assert len({s.blur for s in drawn}) == 400
    assert all(0.5 <= s.blur <= 2 and 0.02 <= s.noise <= 0.3 / 2.5 for s in drawn)
    assert np.mean([s.cupping > 0 for s in drawn]) == pytest.approx(0.5, abs=0.08)
    assert np.mean([s.motion_share > 0 for s in drawn]) == pytest.approx(0.08, abs=0.05)
    outside = [not (0 <= s.centre[0] <= 1 and 0 <= s.centre[1] <= 1) for s in drawn]
    assert 0.2 < np.mean(outside) < 0.4
    # A share set to nothing leaves the rest as it was.
    bare = fast.draw_fast_scanner(
        generator(7), contrast=0.3, ranges=fast.FastScannerRanges(rings_share=0.0)
    )
    assert bare.rings == 0
    assert (bare.blur, bare.noise, bare.gamma) == (drawn[7].blur, drawn[7].noise, drawn[7].gamma)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: fast.blur(flat(), sigma=-1), "blur cannot be negative"),
        (lambda: fast.add_cupping(flat(), fraction=-0.1), "cupping cannot be negative"),
        (lambda: fast.lose_resolution(flat(), factor=0.5), "factor of 1 or more"),
        (lambda: fast.double(flat(), shift=(1, 1), share=1.5), "0 to 1"),
        (lambda: fast.gamma(flat(), exponent=0, black=0, white=1), "positive exponent"),
        (lambda: fast.FastScannerSpec(noise=-1), "'noise'"),
        (lambda: fast.FastScannerSpec(resolution=0.5), "'resolution'"),
        (lambda: fast.draw_fast_scanner(generator(1), contrast=0), "contrast"),
        (
            lambda: fast.image_slice(np.zeros((4, 4)), fast.FastScannerSpec(), generator(1)),
            "float32",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(call, words):
    with pytest.raises(UsageError, match=words):
        call()
