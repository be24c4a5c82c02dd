"""Projection, detector and reconstruction against closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from scipy.integrate import quad
from skimage.transform import radon

from osteon.errors import UsageError
from osteon.simulation.physics import projection
from osteon.simulation.physics.projection import ScannerSpec, scan_slice, scan_volume
from osteon.simulation.randomness import generator

#: Nothing but projection and reconstruction.
PLAIN = ScannerSpec(energies=1, angles=120, photons=None, blur=0.0)


def disk(n=64, radius=20.0, centre=None, value=1.0):
    """A disk with soft edges, by counting 4 × 4 points a voxel; centre n // 2, as of the axis."""
    cy, cx = (n // 2, n // 2) if centre is None else centre
    fine = (np.arange(4 * n) + 0.5) / 4 - 0.5
    inside = (fine[:, None] - cy) ** 2 + (fine[None, :] - cx) ** 2 <= radius**2
    return (inside.reshape(n, 4, n, 4).mean((1, 3)) * value).astype(np.float32)


def distance(n, centre=None):
    cy, cx = (n // 2, n // 2) if centre is None else centre
    return np.hypot(np.arange(n)[:, None] - cy, np.arange(n)[None, :] - cx)


def test_line_integrals_are_those_of_radon():
    image = disk(41, 8, (14, 24)) + disk(41, 5, (28, 12), 0.4)
    spec = replace(PLAIN, angles=24, start_deg=17.0)
    got = projection.line_integrals(image, spec, elements=65)
    padded = np.pad(image, 12).astype(float)
    expected = radon(padded, spec.angles_deg, circle=True).T
    np.testing.assert_allclose(got, expected, atol=1e-9)


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("fan", [0.0, 20.0])
def test_line_integrals_of_a_disk_are_its_chords(scale, fan):
    n, radius = 48, 10.0
    # Centre 6 right of and 4 above the axis, in voxels of the result.
    fine = disk(
        n * scale, radius * scale, tuple(scale * (24 + d) + (scale - 1) / 2 for d in (-4.0, 6.0))
    )
    spec = replace(PLAIN, angles=40, supersample=scale, fan_deg=fan, arc_deg=360.0, start_deg=10.0)
    elements = 73
    got = projection.line_integrals(fine, spec, elements=elements)
    s = (np.arange(elements * scale) - (elements * scale - 1) / 2) / scale
    source = 36.5 / np.sin(np.deg2rad(fan / 2)) if fan else np.inf
    angle = np.deg2rad(spec.angles_deg)[:, None] + np.arcsin(s / source)
    away = s - (6 * np.cos(angle) + 4 * np.sin(angle))
    chord = 2 * np.sqrt(np.maximum(radius**2 - away**2, 0))
    # The steep ends of the chord's profile are averaged over a voxel.
    flat = np.abs(np.abs(away) - radius) > 1.5
    assert np.abs(got - chord)[flat].max() < 0.45
    assert np.abs(got - chord).mean() < 0.075
    if not fan:
        np.testing.assert_allclose(got.sum(1) / scale, np.pi * radius**2, rtol=0.01)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"arc_deg": 360.0},
        {"arc_deg": 360.0, "fan_deg": 15.0, "angles": 240},
        {"supersample": 2},
    ],
    ids=["half-turn", "turn", "fan", "supersampled"],
)
@pytest.mark.parametrize("shape", [(64, 64), (61, 50)])
def test_a_slice_comes_back(change, shape):
    full = disk(64, 16, (28, 26)) + disk(64, 5, (28, 26), 1.0)
    image = full[: shape[0], : shape[1]]
    spec = replace(PLAIN, **change)
    k = spec.supersample
    maps = {"bone": np.kron(image, np.ones((k, k), np.float32))}
    got = scan_slice(maps, spec, generator(1))
    assert got.shape == shape
    assert got.dtype == np.float32
    r = distance(64, (28, 26))[: shape[0], : shape[1]]
    for inside, value in ((r < 3.5, 2.0), ((r > 7) & (r < 14), 1.0), ((r > 18) & (r < 22), 0.0)):
        assert got[inside].mean() == pytest.approx(value, abs=0.02)
    weight = np.where(r < 20, got, 0).astype(float)
    assert ndimage.center_of_mass(weight) == pytest.approx((28, 26), abs=0.05)


def test_materials_add_up_at_their_own_grey():
    """In a thin specimen every material comes out at the attenuation it was given."""
    bone, water = disk(48, 6, (16, 24)), disk(48, 6, (32, 24), 0.17)
    metal = disk(48, 3, (24, 10), 6.0)
    spec = replace(PLAIN, energies=8, voxel_um=0.02)
    got = scan_slice({"bone": bone, "water": water, "metal": metal}, spec, generator(1))
    for centre, value in (((16, 24), 1.0), ((32, 24), 0.17), ((24, 10), 6.0)):
        assert got[distance(48, centre) < 2].mean() == pytest.approx(value, abs=0.07)
    one = scan_slice({"bone": bone + water + metal}, spec, generator(1))
    np.testing.assert_allclose(one, got, atol=0.01)


def hardened_disk(r, *, radius, spec):
    """Abel's inversion of a hardened disk's projections, worked by hand.

    With chords L = 2 √(R² - s²) and p(L) = -log Σ w exp(-a L) / κ the image is
    f(r) = -1/π ∫_r^R p'(s) / √(s² - r²) ds; with s² = r² + (R² - r²) sin² u it is
    f(r) = 2/π ∫_0^{π/2} dp/dL(2 √(R² - r²) cos u) du.
    """
    spectrum, kappa = spec.spectrum, spec.bone_per_voxel
    a = spectrum.relative["bone"] * kappa

    def slope(u):
        left = spectrum.weights * np.exp(-a * 2 * np.sqrt(radius**2 - r**2) * np.cos(u))
        return (left * a).sum() / left.sum() / kappa

    return 2 / np.pi * quad(slope, 0, np.pi / 2)[0]


@pytest.mark.parametrize(("kvp", "voxel_um"), [(50, 40.0), (90, 120.0)])
def test_beam_hardening_cups_a_disk_as_worked_by_hand(kvp, voxel_um):
    n, radius = 95, 36.0
    spec = replace(PLAIN, kvp=kvp, voxel_um=voxel_um, energies=8, angles=180)
    got = scan_slice({"bone": disk(n, radius)}, spec, generator(1))
    r = distance(n)
    for at in (0.0, 12.0, 24.0, 30.0):
        ring = np.abs(r - at) < 1.5
        expected = hardened_disk(at, radius=radius, spec=spec)
        assert got[ring].mean() == pytest.approx(expected, abs=0.012), at
    # The sign: the centre is darker than the rim, and a single energy has no cupping.
    assert got[r < 5].mean() < got[np.abs(r - 32) < 1].mean() - 0.05
    flat = scan_slice({"bone": disk(n, radius)}, replace(spec, energies=1), generator(1))
    assert flat[r < 5].mean() == pytest.approx(flat[np.abs(r - 32) < 1].mean(), abs=0.01)


def test_photons_give_the_variance_of_a_logarithm():
    spec = replace(PLAIN, photons=5_000.0, angles=300)
    for transmitted in (1.0, 0.2):
        intensity = np.full((300, 101), transmitted)
        p = projection.detect(intensity, spec, generator(2), gains=np.ones(101))
        # The variance of -log(N / N0) is 1 / N to first order.
        assert (p * spec.bone_per_voxel).var() == pytest.approx(1 / (5_000 * transmitted), rel=0.03)
        assert (p * spec.bone_per_voxel).mean() == pytest.approx(-np.log(transmitted), abs=1e-3)
    dark = projection.detect(np.zeros((2, 101)), spec, generator(2), gains=np.ones(101))
    np.testing.assert_allclose(dark * spec.bone_per_voxel, np.log(5_000))


def test_noise_of_a_reconstruction_is_that_of_the_theory():
    """Variance π² / (12 τ² M) σ² for the bare ramp (Kak & Slaney 1988, eq. 5.54).

    Linear interpolation between elements, a triangle, takes its share: the mean of f² sinc⁴ over
    that of f², which is 0.3434 as worked out below.
    """
    spec = replace(PLAIN, photons=10_000.0, angles=150)
    noise = scan_slice({"bone": np.zeros((64, 64), np.float32)}, spec, generator(3))
    ramp = quad(lambda f: f**2 * np.sinc(f) ** 4, 0, 40)[0] * 2
    # White noise of unit spacing is periodic in frequency: so is the ramp, |f| about each integer.
    periodic = 2 * sum(
        quad(lambda f, m=m: (f - m) ** 2 * np.sinc(f) ** 4, max(m - 0.5, 0), m + 0.5)[0]
        for m in range(12)
    )
    assert ramp > periodic
    sigma = 1 / np.sqrt(10_000) / spec.bone_per_voxel
    expected = np.sqrt(np.pi**2 / spec.angles * periodic) * sigma
    assert noise[distance(64) < 28].std() == pytest.approx(expected, rel=0.08)


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_blur_adds_its_variance_to_edges(sigma):
    image = {"bone": disk(64, 18)}
    # A thin specimen: intensity and line integral are then blurred alike.
    thin = replace(PLAIN, voxel_um=0.1)
    r = np.arange(1.0, 31.0)

    def width(spec):
        got = scan_slice(image, spec, generator(1))
        d = distance(64)
        profile = [got[np.abs(d - x) < 0.5].mean() for x in r]
        spread = -np.gradient(np.array(profile), r)
        near = np.abs(r - 18) < 9
        mean = (spread * r)[near].sum() / spread[near].sum()
        return (spread * (r - mean) ** 2)[near].sum() / spread[near].sum()

    added = width(replace(thin, blur=sigma)) - width(thin)
    assert added == pytest.approx(sigma**2, rel=0.2)


def test_rings_are_rings_and_the_same_in_all_slices():
    empty = {"bone": np.zeros((64, 64), np.float32)}
    spec = replace(PLAIN, gain_sd=0.01, arc_deg=360.0, angles=180)
    first, second = scan_volume([empty, empty], spec, generator(4))
    np.testing.assert_array_equal(first, second)
    r = distance(64)
    seen = r < 31
    # Voxels at one radius, to half a voxel.
    _, ring = np.unique(np.rint(r * 2), return_inverse=True)
    mean = ndimage.mean(first, ring, np.arange(ring.max() + 1))
    assert first[seen].std() > 0.01
    # What is left along a ring is interpolation between voxels and elements.
    assert (first - mean[ring])[seen & (r > 3)].var() < 0.1 * first[seen].var()
    # Photon noise differs from slice to slice; the rings stay.
    noisy = replace(spec, photons=1e6)
    a, b = scan_volume([empty, empty], noisy, generator(4))
    assert (a != b).any()
    assert np.corrcoef(a[seen], b[seen])[0, 1] > 0.95


def test_half_a_turn_gives_half_rings():
    empty = {"bone": np.zeros((64, 64), np.float32)}
    gains = np.ones(95)
    gains[47 + 20] = 0.9
    got = scan_slice(empty, replace(PLAIN, angles=180), generator(1), gains=gains)
    # A dark element is taken for attenuation: s = x cos θ - y sin θ = 20, θ within 0..180, touches
    # the circle of 20 where y <= 0, above the axis.
    y, x = np.mgrid[:64, :64] - 32
    circle = np.abs(np.hypot(y, x) - 20) < 0.5
    assert got[circle & (y < -5)].mean() > 5 * abs(got[circle & (y > 5)].mean())


def test_a_wrong_axis_spreads_points_into_circles():
    point = {"bone": disk(64, 2.0, (32, 40))}
    spec = replace(PLAIN, arc_deg=360.0, angles=240, voxel_um=0.1)

    def second_moment(offset):
        got = scan_slice(point, replace(spec, offset=offset), generator(1)).astype(float)
        r2 = distance(64, (32, 40)) ** 2
        return (got * r2)[r2 < 64].sum() / got[r2 < 64].sum()

    # Every projection then has its second moment larger by the error squared, and the moment about
    # a point is the sum of those of two projections at right angles.
    assert second_moment(2.0) - second_moment(0.0) == pytest.approx(2 * 2.0**2, rel=0.1)


def test_truncation_brightens_the_rim_and_leaves_nothing_beyond():
    spec = replace(PLAIN, detector=0.6, voxel_um=0.1)
    got = scan_slice({"bone": disk(96, 44)}, spec, generator(1))
    r = distance(96)
    assert not got[r > 29].any()
    centre, rim = got[r < 6].mean(), got[(r > 26.5) & (r < 28)].mean()
    assert rim > centre + 0.2
    whole = scan_slice({"bone": disk(96, 44)}, replace(spec, detector=None), generator(1))
    assert whole[(r > 26.5) & (r < 28)].mean() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(("start", "sharp_axis"), [(-45.0, 1), (45.0, 0)])
def test_a_limited_arc_blurs_edges_that_no_ray_touched(start, sharp_axis):
    """Rays at θ run along y at θ = 0: they touch edges that x crosses."""
    spec = replace(PLAIN, arc_deg=90.0, start_deg=start, angles=90)
    got = scan_slice({"bone": disk(64, 16)}, spec, generator(1))
    along_y, along_x = got[8:32, 31:34].mean(1), got[31:34, 8:32].mean(0)
    steep = {0: np.diff(along_y).max(), 1: np.diff(along_x).max()}
    assert steep[sharp_axis] > 2 * steep[1 - sharp_axis]


def test_few_angles_leave_streaks():
    image = {"bone": disk(64, 4, (24, 36), 3.0)}
    far = distance(64, (24, 36)) > 12
    streaks = [
        scan_slice(image, replace(PLAIN, angles=n), generator(1))[far].std() for n in (12, 180)
    ]
    assert streaks[0] > 5 * streaks[1]


@pytest.mark.parametrize("fan", [0.0, 20.0])
def test_motion_displaces_the_later_projections(fan):
    image = disk(48, 8, (20, 28))
    spec = replace(PLAIN, angles=60, arc_deg=360.0, fan_deg=fan, moved_at=0.5, motion=(2.0, -3.0))
    s = np.arange(73) - 36.0
    still = projection.line_integrals(image, replace(spec, motion=(0.0, 0.0)), elements=73)
    moved = projection.line_integrals(image, spec, elements=73)
    np.testing.assert_array_equal(moved[:30], still[:30])
    centroid = [(p[30:] * s).sum(1) / p[30:].sum(1) for p in (still, moved)]
    angle = np.deg2rad(spec.angles_deg[30:])
    if not fan:
        expected = -3 * np.cos(angle) - 2 * np.sin(angle)
        np.testing.assert_allclose(centroid[1] - centroid[0], expected, atol=0.02)
    else:
        # The same as a specimen that was there from the start.
        there = projection.line_integrals(
            disk(48, 8, (22, 25)), replace(spec, motion=(0.0, 0.0)), elements=73
        )
        assert np.abs(moved[30:] - there[30:]).mean() < 0.06
        assert np.abs(moved[30:] - still[30:]).mean() > 0.5


def test_supersampling_gives_partial_volume():
    fine = np.zeros((96, 96), np.float32)
    fine[:, 40:49] = 1.0  # three voxels, 40 / 3 = 13.33 to 16.33
    got = scan_slice({"bone": fine}, replace(PLAIN, supersample=3, angles=180), generator(1))
    profile = got[12:20].mean(0)
    assert got.shape == (32, 32)
    # Reconstruction sharpens no edge to a voxel, but the sum across the plate is its width.
    assert profile[10:21].sum() == pytest.approx(3.0, abs=0.25)
    assert profile[13] > profile[16] > 0.1
    assert profile[14:16].min() > 0.85


def test_the_same_seed_gives_the_same_slice():
    spec = ScannerSpec(angles=40, gain_sd=0.01)
    image = {"bone": disk(32, 10), "water": disk(32, 4, value=0.1)}
    a, b, c = (scan_slice(image, spec, generator(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


def test_drawn_scanners_are_seeded_and_of_every_kind():
    drawn = [projection.draw_scanner(generator(i), voxel_um=12.0) for i in range(300)]
    assert drawn[5] == projection.draw_scanner(generator(5), voxel_um=12.0)
    assert all(50 <= s.kvp <= 90 and 180 <= s.angles <= 720 and s.voxel_um == 12 for s in drawn)
    assert np.mean([s.fan_deg > 0 for s in drawn]) == pytest.approx(0.4, abs=0.09)
    assert np.mean([s.gain_sd > 0 for s in drawn]) == pytest.approx(0.3, abs=0.09)
    assert {s.filter for s in drawn} == set(projection.FILTERS)
    for has in ("offset", "detector"):
        assert any(getattr(s, has) for s in drawn)
    assert any(any(s.motion) for s in drawn)
    assert any(s.arc_deg < 180 for s in drawn)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"filter": "sharp"}, "no reconstruction filter"),
        ({"arc_deg": 270.0}, "arc"),
        ({"fan_deg": 20.0}, "fan"),
        ({"photons": 0.0}, "'photons'"),
        ({"angles": 0}, "'angles'"),
        ({"blur": -1.0}, "'blur'"),
        ({"voxel_um": 0.0}, "'voxel_um'"),
        ({"kvp": 5.0}, "20 to 150"),
    ],
)
def test_a_scanner_that_makes_no_sense_is_refused(change, words):
    with pytest.raises(UsageError, match=words):
        replace(PLAIN, **change)


def test_unfit_maps_are_refused():
    flat = np.ones((20, 20), np.float32)
    for maps, spec, words in (
        ({}, PLAIN, "one shape"),
        ({"bone": flat, "water": flat[:5]}, PLAIN, "one shape"),
        ({"glass": flat}, PLAIN, "'glass'"),
        ({"bone": flat}, replace(PLAIN, supersample=3), "multiples of 3"),
    ):
        with pytest.raises(UsageError, match=words):
            scan_slice(maps, spec, generator(1))


def test_fan_line_integrals_are_those_of_astra():
    """ASTRA's own fan of a flat detector, on rays that both have."""
    # Its wheels do not load without the CUDA run time.
    astra = pytest.importorskip("astra", exc_type=ImportError)
    n, elements, fan = 48, 73, 20.0
    image = disk(n, 10, (20, 30)) + disk(n, 4, (30, 16), 2.0)
    spec = replace(PLAIN, angles=36, arc_deg=360.0, fan_deg=fan)
    got = projection.line_integrals(image, spec, elements=elements)
    s = np.arange(elements) - 36.0
    source = 36.0 / np.sin(np.deg2rad(fan / 2))
    gamma = np.arcsin(s / source)
    theta = np.deg2rad(spec.angles_deg)[:, None] + gamma
    # Each ray as a parallel projection of its own: distance s, normal (cos θ, -sin θ) in (x, y)
    # with y down, so (cos θ, sin θ) with y up as ASTRA has it. The axis is voxel n // 2.
    shift = np.cos(theta) * 0.5 + np.sin(theta) * -0.5
    expected = np.empty_like(got)
    grid = astra.create_vol_geom(n, n)
    volume = astra.data2d.create("-vol", grid, image)
    for i in range(len(theta)):
        for j in range(0, elements, 6):
            geometry = astra.create_proj_geom(
                "parallel_vec",
                1,
                np.array(
                    [
                        [
                            -np.sin(theta[i, j]),
                            np.cos(theta[i, j]),
                            (s[j] + shift[i, j]) * np.cos(theta[i, j]),
                            (s[j] + shift[i, j]) * np.sin(theta[i, j]),
                            np.cos(theta[i, j]),
                            np.sin(theta[i, j]),
                        ]
                    ]
                ),
            )
            projector = astra.create_projector("linear", geometry, grid)
            made, sinogram = astra.create_sino(volume, projector)
            expected[i, j] = sinogram[0, 0]
            astra.data2d.delete(made)
            astra.projector.delete(projector)
    astra.data2d.delete(volume)
    which = slice(0, elements, 6)
    assert np.abs(got[:, which] - expected[:, which]).mean() < 0.1
