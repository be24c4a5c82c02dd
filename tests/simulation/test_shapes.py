"""Shapes against analytic volumes, and what of them is background."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from osteon.errors import UsageError
from osteon.simulation import ArchSpec, BoneSpec, EnvelopeSpec, build_anatomy
from osteon.simulation.randomness import generator

VOXEL = 10.0


def build(envelope, *, cortex=40.0, shape=(96, 96, 96), **more):
    spec = BoneSpec(envelope, cortex_um=cortex, cortex_variation=0.0, **more)
    return build_anatomy(spec, shape=shape, voxel_um=VOXEL, rng=generator(5))


def volume(mask):
    return mask.sum() * VOXEL**3


def test_plate_is_two_tables_with_diploe_between():
    envelope = EnvelopeSpec(
        "plate", radius_um=2000.0, length_um=4000.0, wall_um=160.0, exponent=100.0
    )
    labels = build(envelope, shape=(40, 48, 64)).labels
    # Through the wall along its normal: table, diploe, table, of 4, 8 and 4 voxels, everywhere.
    expected = np.repeat([0, 1, 2, 1, 0], [24, 4, 8, 4, 24])
    assert (labels == expected).all()


@pytest.mark.parametrize(("turn", "lean"), [(0.0, 0.0), (0.7, 0.0), (0.4, 1.1)])
def test_round_plate_is_a_disc_with_a_rounded_rim(turn, lean):
    envelope = EnvelopeSpec(
        "plate", radius_um=400.0, length_um=800.0, wall_um=160.0, turn=turn, lean=lean
    )
    total = volume(build(envelope).labels > 0)
    # Between the disc and one that is smaller by the rounding.
    assert np.pi * (400 - 0.7 * 160) ** 2 * 160 < total < np.pi * 400**2 * 160
    upright = build(EnvelopeSpec("plate", radius_um=400.0, length_um=800.0, wall_um=160.0))
    assert total == pytest.approx(volume(upright.labels > 0), rel=0.01)


def test_rod_along_an_arc_has_the_volume_of_a_piece_of_a_torus():
    radius, length = 90.0, 700.0
    envelope = EnvelopeSpec(
        "rib", radius_um=radius, length_um=length, bend_um=140.0, aspect=0.8, exponent=2.0
    )
    anatomy = build(envelope, shape=(96, 64, 96))
    # Pappus: the area of the cross-section times the length of the arc.
    assert volume(anatomy.labels > 0) == pytest.approx(np.pi * 0.8 * radius**2 * length, rel=0.02)
    inner = np.pi * (radius - 40) * (0.8 * radius - 40) * (length - 80)
    assert volume(anatomy.labels == 2) == pytest.approx(inner, rel=0.12)


@pytest.mark.parametrize("opening", [0.0, 160.0])
def test_braincase_is_background_even_when_closed(opening):
    envelope = EnvelopeSpec(
        "skull", radius_um=300.0, length_um=900.0, wall_um=90.0, opening_um=opening
    )
    anatomy = build(envelope, cortex=60.0, shape=(104, 80, 80))
    labels = anatomy.labels
    regions, n = ndimage.label(labels == 0)
    brain = regions[int(52 - 0.17 * 90), 40, 40]
    assert brain > 0
    # Closed, it is a region of its own with the volume of an ellipsoid a wall smaller.
    connected = brain == regions[0, 0, 0]
    assert connected == (opening > 0)
    if not opening:
        half = (0.33 * 900 - 90, 300 - 90, 300 - 90)
        expected = 4 / 3 * np.pi * np.prod(half)
        assert volume(regions == brain) == pytest.approx(expected, rel=0.03)
        assert n >= 2
    # The wall is as thick as asked for on the roof of the braincase, where nothing else meets it.
    roof = labels[int(52 - 0.17 * 90), : (40 - 10), 40]
    assert abs((roof > 0).sum() - 9) <= 1


def test_vertebral_canal_is_background_and_open_at_both_ends():
    arch = ArchSpec(canal_um=130.0, wall_um=90.0, spinous_um=120.0, transverse_um=80.0)
    envelope = EnvelopeSpec(
        "vertebra",
        radius_um=220.0,
        length_um=420.0,
        aspect=0.8,
        arch=arch,
        centre_um=(0.0, -190.0, 0.0),
    )
    anatomy = build(envelope, shape=(64, 104, 88))
    middle = -190.0 + 0.95 * 220 * 0.8 + 0.85 * 130
    _, y, x = ((np.arange(n) - (n - 1) / 2) * VOXEL for n in anatomy.labels.shape)
    ellipse = np.hypot((y[:, None] - middle) / 0.85, x[None, :])
    assert (anatomy.labels[:, ellipse < 125.0] == 0).all()
    # At mid-height the arch closes around it: bone or pores wherever one leaves it.
    ring = (ellipse > 140) & (ellipse < 190)
    assert (anatomy.labels[32, ring] > 0).all()
    # Nothing but the slices above and below connects it to the outside.
    slab, _ = ndimage.label(anatomy.labels[32] == 0)
    inside = slab[ellipse < 120]
    assert len(np.unique(inside)) == 1
    assert inside[0] != slab[0, 0]


def test_interior_has_no_background():
    envelope = EnvelopeSpec("vertebra", radius_um=3000.0, length_um=6000.0)
    anatomy = build(envelope, shape=(32, 48, 48))
    assert set(np.unique(anatomy.labels)) == {2}


def test_turned_bone_is_the_same_bone():
    envelope = {
        turn: EnvelopeSpec("vertebra", radius_um=300.0, length_um=500.0, aspect=0.6, turn=turn)
        for turn in (0.0, np.pi / 2)
    }
    a, b = (build(e).labels for e in envelope.values())
    assert (np.rot90(a, axes=(1, 2)) != b).mean() < 1e-3
    assert (a != b).mean() > 0.05


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: EnvelopeSpec("plate", radius_um=100.0, length_um=100.0),
        lambda: EnvelopeSpec("skull", radius_um=100.0, length_um=100.0, wall_um=200.0),
        lambda: EnvelopeSpec("ball", radius_um=100.0, length_um=1.0, ridge_um=-1.0),
        lambda: ArchSpec(canal_um=0.0, wall_um=1.0),
        lambda: ArchSpec(canal_um=1.0, wall_um=1.0, spinous_um=-1.0),
    ],
)
def test_impossible_shapes_are_user_errors(wrong):
    with pytest.raises(UsageError):
        wrong()
