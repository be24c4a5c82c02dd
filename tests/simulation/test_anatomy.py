"""Labels against analytic volumes, and the labelling protocol."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from osteon.errors import UsageError
from osteon.simulation import (
    SPECIES,
    BoneSpec,
    CanalSpec,
    EnvelopeSpec,
    TrabecularSpec,
    build_anatomy,
    draw_scan,
)
from osteon.simulation.randomness import generator

VOXEL = 10.0


def build(envelope, *, cortex, shape=(96, 96, 96), **more):
    spec = BoneSpec(envelope, cortex_um=cortex, cortex_variation=0.0, **more)
    return build_anatomy(spec, shape=shape, voxel_um=VOXEL, rng=generator(5))


def volumes(anatomy):
    return np.bincount(anatomy.labels.ravel(), minlength=3) * VOXEL**3


@pytest.mark.parametrize("cortex", [40.0, 95.0])
def test_ball_has_the_volumes_of_a_sphere_and_a_shell(cortex):
    radius = 400.0
    anatomy = build(EnvelopeSpec("ball", radius_um=radius, length_um=1.0), cortex=cortex)
    total, pores = (4 / 3 * np.pi * r**3 for r in (radius, radius - cortex))
    assert volumes(anatomy)[1] == pytest.approx(total - pores, rel=0.015)
    assert volumes(anatomy)[2] == pytest.approx(pores, rel=0.01)
    assert anatomy.mineral.sum() * VOXEL**3 == pytest.approx(total - pores, rel=0.015)
    # Interpolation over 4 voxels cuts 0.07 voxel off a surface of 40 voxels' radius: 0.5 %.
    assert anatomy.inside.sum() * VOXEL**3 == pytest.approx(total, rel=0.007)


@pytest.mark.parametrize(
    ("exponent", "area"), [(2.0, lambda r: np.pi * r**2), (100.0, lambda r: 4 * r**2)]
)
def test_closed_cylinder_and_box(exponent, area):
    radius, length, cortex = 350.0, 700.0, 80.0
    envelope = EnvelopeSpec("vertebra", radius_um=radius, length_um=length, exponent=exponent)
    anatomy = build(envelope, cortex=cortex)
    total = area(radius) * length
    pores = area(radius - cortex) * (length - 2 * cortex)
    assert volumes(anatomy)[1:].sum() == pytest.approx(total, rel=0.01)
    assert volumes(anatomy)[2] == pytest.approx(pores, rel=0.015)


def local_thickness(mask, *, steps=64):
    """Mean diameter of maximal spheres (Hildebrand and Rüegsegger 1997) in voxels, in 2D."""
    depth = ndimage.distance_transform_edt(mask)
    out = np.zeros(mask.shape)
    for r in np.linspace(0.8, depth.max(), steps):
        out[ndimage.distance_transform_edt(depth < r) < r] = 2 * r
    return out[mask].mean()


@pytest.mark.parametrize(("cortex", "variation"), [(60.0, 0.0), (130.0, 0.0), (110.0, 0.25)])
def test_cortical_thickness_is_as_asked(cortex, variation):
    envelope = EnvelopeSpec("shaft", radius_um=600.0, length_um=4000.0, aspect=0.85)
    spec = BoneSpec(envelope, cortex_um=cortex, cortex_variation=variation)
    anatomy = build_anatomy(spec, shape=(12, 136, 136), voxel_um=VOXEL, rng=generator(3))
    # Distances are to the centres of voxels: thirds of voxels make that matter little.
    fine = np.kron(anatomy.labels[6] == 1, np.ones((3, 3), bool))
    measured = local_thickness(fine) * VOXEL / 3
    # The mean over the wall, of which one slice shows a part if it varies.
    assert measured == pytest.approx(cortex, rel=0.06 if variation == 0 else 0.2)
    if variation:
        walls = (anatomy.labels[6] == 1) & (np.abs(anatomy.depth_um[6] - cortex) < 1.5 * VOXEL)
        assert 0.2 < walls.sum() / (np.abs(anatomy.depth_um[6] - cortex) < 1.5 * VOXEL).sum() < 0.8


@pytest.mark.parametrize("variation", [0.0, 0.15, 0.3])
def test_the_mean_depth_of_the_cortex_is_as_asked(variation):
    radius, cortex, n = 50.0, 11.0, 112
    middle = np.arange(n) - (n - 1) / 2
    angle = np.arctan2(*np.meshgrid(middle, middle, indexing="ij"))
    sectors = ((angle + np.pi) / (2 * np.pi) * 72).astype(int) % 72
    spec = BoneSpec(
        EnvelopeSpec("shaft", radius_um=radius * VOXEL, length_um=4000.0),
        cortex_um=cortex * VOXEL,
        cortex_variation=variation,
    )
    depths = []
    for seed in range(4):
        shape = (32, n, n)
        anatomy = build_anatomy(spec, shape=shape, voxel_um=VOXEL, rng=generator(seed))
        for bone in anatomy.labels == 1:
            # The area of bone in a sector says how deep it is there.
            area = np.bincount(sectors[bone], minlength=72) * 72 / np.pi
            depths.append(radius - np.sqrt(np.maximum(radius**2 - area, 0)))
    assert np.mean(depths) == pytest.approx(cortex, rel=0.01 if variation == 0 else 0.06)
    assert np.std(depths) / cortex == pytest.approx(variation, abs=0.06)


def test_resorption_spaces_are_short_and_wide():
    spaces = CanalSpec(diameter_um=100.0, per_mm2=4.0, variation=0.0, length_diameters=4.0)
    envelope = EnvelopeSpec("shaft", radius_um=600.0, length_um=9000.0)
    anatomy = build(envelope, cortex=300.0, shape=(80, 128, 128), resorption=spaces)
    found, n = ndimage.label((anatomy.labels == 2) & (anatomy.depth_um < 285))
    heights = [s[0].stop - s[0].start for s in ndimage.find_objects(found)]
    whole = [
        h
        for h, s in zip(heights, ndimage.find_objects(found), strict=True)
        if s[0].start > 0 and s[0].stop < 80
    ]
    assert n >= 5
    # Four diameters long, with round ends of half a diameter where they are narrowest.
    assert np.median(whole) * VOXEL == pytest.approx(400, rel=0.3)


def test_shaft_is_cut_flat_by_the_field_of_view():
    envelope = EnvelopeSpec("shaft", radius_um=300.0, length_um=3000.0, aspect=0.8)
    anatomy = build(envelope, cortex=60.0, shape=(32, 96, 96))
    fractions = [np.bincount(s.ravel(), minlength=3) for s in anatomy.labels]
    # Ends and middle alike: no lid of bone, and the cavity at the edge is pores.
    assert np.ptp(fractions, axis=0).max() == 0
    # Along x the wall is 60 µm = 6 voxels between the outside and the cavity on either side.
    assert (anatomy.labels[0, 48] == 1).sum() == 12


def scans():
    for index, species in enumerate(SPECIES):
        for shape in ((32, 64, 64), (40, 72, 56)):
            yield pytest.param(species, index, shape, id=f"{species}-{shape[1]}")


@pytest.mark.parametrize(("species", "index", "shape"), list(scans()))
def test_protocol_holds(species, index, shape):
    kind = ("shaft", "end", "vertebra")[index % 3]
    spec = draw_scan(seed=11, index=index, species=species, shape=shape, kind=kind)
    anatomy = build_anatomy(spec.bone, shape=shape, voxel_um=spec.voxel_um, rng=generator(1))
    labels = anatomy.labels
    assert set(np.unique(labels)) == {0, 1, 2}
    # Background is what a flood from the edge of the field of view reaches: none is enclosed.
    regions, _ = ndimage.label(labels == 0)
    edge = np.ones(shape, bool)
    edge[1:-1, 1:-1, 1:-1] = False
    reached = np.unique(regions[edge])
    assert np.isin(regions[labels == 0], reached[reached > 0]).all()
    # Pores never touch the outside, not even by a corner.
    touching = ndimage.binary_dilation(labels == 2, np.ones((3, 3, 3))) & (labels == 0)
    assert not touching.any()
    assert ((labels == 2) <= (anatomy.depth_um >= 0)).all()


def test_canals_are_as_many_and_as_wide_as_asked():
    canals = CanalSpec(diameter_um=60.0, per_mm2=25.0, variation=0.0)
    envelope = EnvelopeSpec("shaft", radius_um=1400.0, length_um=9000.0)
    anatomy = build(envelope, cortex=500.0, shape=(24, 288, 288), canals=canals)
    counts, widths = [], []
    cavity = anatomy.depth_um > 490
    for labels, hole in zip(anatomy.labels[4:20:5], cavity[4:20:5], strict=True):
        regions, n = ndimage.label((labels == 2) & ~hole)
        areas = ndimage.sum_labels(np.ones_like(regions), regions, np.arange(1, n + 1))
        counts.append(n)
        widths.append(np.sqrt(np.median(areas) * 4 / np.pi) * VOXEL)
    area_mm2 = np.pi * (1.4**2 - 0.9**2)
    # Poisson numbers (90 expected, SD 9.5), about a tenth of which leave the cortex or meet.
    assert np.mean(counts) == pytest.approx(0.9 * 25 * area_mm2, rel=0.25)
    assert np.mean(widths) == pytest.approx(60.0, rel=0.12)


def test_canals_under_three_voxels_are_imaged_but_labelled_bone():
    canals = CanalSpec(diameter_um=2.5 * VOXEL, per_mm2=40.0, variation=0.0)
    envelope = EnvelopeSpec("shaft", radius_um=400.0, length_um=4000.0)
    with_canals = build(envelope, cortex=200.0, shape=(24, 96, 96), canals=canals)
    solid = build(envelope, cortex=200.0, shape=(24, 96, 96))
    np.testing.assert_array_equal(with_canals.labels, solid.labels)
    lost = (solid.mineral - with_canals.mineral).sum()
    assert lost > 0
    darkest = with_canals.mineral[(solid.mineral == 1) & (solid.labels == 1)].min()
    assert darkest < 0.2


def test_cavity_has_no_trabeculae_in_the_middle():
    network = TrabecularSpec(40.0, 150.0)
    envelope = EnvelopeSpec("shaft", radius_um=420.0, length_um=4000.0)
    y, x = np.mgrid[:96, :96] - 47.5
    middle = np.hypot(y, x) < 10
    bone = {}
    for cavity in (0.0, 0.9):
        anatomy = build(envelope, cortex=60.0, trabeculae=network, cavity=cavity)
        bone[cavity] = (anatomy.labels[:, middle] == 1).mean()
    assert bone[0.0] > 0.05
    assert bone[0.9] < 0.2 * bone[0.0]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"trabeculae": TrabecularSpec(14.0, 200.0)}, "trabeculae of 14 µm are too thin"),
        ({"cortex": 15.0}, "cortex of 15 µm is too thin"),
        ({"centre": (0.0, 5000.0, 0.0)}, "outside the field of view"),
    ],
)
def test_what_cannot_be_shown_is_refused(change, text):
    place = change.pop("centre", (0.0, 0.0, 0.0))
    envelope = EnvelopeSpec("shaft", radius_um=300.0, length_um=4000.0, centre_um=place)
    with pytest.raises(UsageError, match=text):
        build(envelope, **({"cortex": 50.0, "shape": (16, 48, 48)} | change))
