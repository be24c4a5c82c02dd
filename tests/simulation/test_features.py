"""Growth plates, lesions, holes, cracks and sutures: what docs/labelling.md says of each."""

from __future__ import annotations

import numpy as np
import pytest

from osteon.errors import UsageError
from osteon.simulation import (
    BoneSpec,
    EnvelopeSpec,
    GrowthPlate,
    Hole,
    Lesion,
    Sheet,
    TrabecularSpec,
    build_anatomy,
)
from osteon.simulation.randomness import generator

VOXEL = 10.0
RADIUS, CORTEX = 300.0, 100.0
SHAFT = EnvelopeSpec("shaft", radius_um=RADIUS, length_um=5000.0)
SHAPE = (48, 80, 80)


def build(*features, envelope=SHAFT, cortex=CORTEX, **more):
    spec = BoneSpec(envelope, cortex_um=cortex, cortex_variation=0.0, features=features, **more)
    return build_anatomy(spec, shape=SHAPE, voxel_um=VOXEL, rng=generator(5))


PLAIN = build()
Z, Y, X = (
    p * VOXEL for p in np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in SHAPE), indexing="ij")
)
RHO = np.hypot(Y, X)


def test_drill_hole_is_background_to_its_very_end():
    drill = Hole((0.0, 0.0, 500.0), (0.0, 0.0, -1.0), length_um=450.0, diameter_um=120.0)
    labels = build(drill, closed_below_um=100.0).labels
    # It ends at x = 50, in the marrow cavity.
    within = (np.hypot(Z, Y) < 55) & (X > 60)
    assert (labels[within] == 0).all()
    changed = labels != PLAIN.labels
    assert not changed[(np.hypot(Z, Y) > 65) | (X < 40)].any()
    # A cylinder from the cavity's end to the shaft's surface.
    lost = (PLAIN.labels > 0).sum() - (labels > 0).sum()
    saddle = np.sqrt(RADIUS**2 - Y[24][np.abs(Y[24]) < 60] ** 2).mean() - 50
    assert lost * VOXEL**3 == pytest.approx(np.pi * 60**2 * saddle, rel=0.04)


def test_narrow_foramen_is_closed_flat():
    foramen = Hole((0.0, 0.0, 500.0), (0.0, 0.0, -1.0), length_um=450.0, diameter_um=60.0)
    labels = build(foramen, closed_below_um=80.0).labels
    core = (np.hypot(Z, Y) < 25) & (X > 60) & (RHO < RADIUS - 5)
    assert (labels[core] == 2).all()
    # The envelope is where it was: nothing became background.
    np.testing.assert_array_equal(labels == 0, PLAIN.labels == 0)
    wide = build(foramen, closed_below_um=50.0).labels
    assert (wide[core] == 0).all()


def test_pin_is_background_in_and_beside_the_bone():
    pin = Hole((0.0, 0.0, 600.0), (0.0, 0.0, -1.0), length_um=1200.0, diameter_um=120.0, pin=True)
    anatomy = build(pin, closed_below_um=100.0)
    core = np.hypot(Z, Y) < 55
    assert (anatomy.labels[core] == 0).all()
    np.testing.assert_allclose(anatomy.metal[core], 1.0)
    assert anatomy.metal[np.hypot(Z, Y) > 70].max() == 0


@pytest.mark.parametrize(("out", "value"), [(150.0, 2), (260.0, 0)])
def test_lesion_is_pores_unless_it_breaks_through(out, value):
    lesion = Lesion((0.0, 0.0, out), radius_um=80.0, roughness=0.0)
    anatomy = build(lesion, cortex=250.0)
    ball = np.sqrt(Z**2 + Y**2 + (X - out) ** 2)
    core = (ball < 70) & (RHO < RADIUS)
    assert (anatomy.labels[core] == value).all()
    changed = anatomy.labels != build(cortex=250.0).labels
    assert not changed[ball > 95].any()
    if value == 2:
        solid = (build(cortex=250.0).labels == 1).sum() - (anatomy.labels == 1).sum()
        assert solid * VOXEL**3 == pytest.approx(4 / 3 * np.pi * 80**3, rel=0.35)


def test_closed_lesion_keeps_a_wall():
    # It reaches 5 µm beyond the surface: less than a voxel, so it does not break through.
    anatomy = build(Lesion((0.0, 0.0, 225.0), radius_um=80.0, roughness=0.0), cortex=250.0)
    assert (anatomy.labels == 0).sum() == (PLAIN.labels == 0).sum()
    wall = (RHO > RADIUS - 18) & (RHO < RADIUS - 2)
    assert (anatomy.labels[wall] == 1).all()


def test_growth_plate_is_not_judged_and_its_calcified_part_is_bone():
    plate = GrowthPlate(
        height_um=0.0, thickness_um=100.0, rim_um=RADIUS, lamella_um=30.0, calcified=0.4
    )
    anatomy = build(plate, trabeculae=TrabecularSpec(30.0, 120.0))
    labels = anatomy.labels
    inside = RHO < RADIUS - 8
    soft = inside & (Z > -5) & (Z < 45)
    assert (labels[soft] == 255).all()
    hard = inside & (Z > -75) & (Z < -15)
    assert (labels[hard] == 1).all()
    lamella = inside & (Z > 55) & (Z < 75)
    assert (labels[lamella] == 1).all()
    assert not (labels[(RHO > RADIUS + 8)] != 0).any()
    share = (labels == 255).sum() * VOXEL**3 / (np.pi * RADIUS**2)
    assert share == pytest.approx(60.0, rel=0.05)
    np.testing.assert_allclose(anatomy.cartilage[soft], 1.0)
    assert (anatomy.mineral + anatomy.cartilage).max() < 1.01
    assert not anatomy.judged
    assert PLAIN.judged


def test_crack_is_not_judged_and_seen_in_the_image():
    crack = Sheet("crack", (0.0, 0.0, 250.0), (0.0, 1.0, 0.0), width_um=15.0, extent_um=120.0)
    anatomy = build(crack)
    ignored = anatomy.labels == 255
    assert (np.abs(Y[ignored]) <= 12.6).all()
    assert (PLAIN.labels[ignored] == 1).all()
    near = (np.sqrt(Z**2 + Y**2 + (X - 250) ** 2) < 110) & (PLAIN.labels == 1)
    assert ignored[near & (np.abs(Y) < 12)].all()
    np.testing.assert_array_equal(anatomy.labels[~ignored], PLAIN.labels[~ignored])
    # Two voxels meet at y = 0, each with three quarters of its width in the gap.
    middle = near & (np.abs(Y) < 6) & (PLAIN.mineral == 1)
    np.testing.assert_allclose(anatomy.mineral[middle], 0.25, atol=0.01)


@pytest.mark.parametrize(("width", "value"), [(40.0, 2), (20.0, 255)])
def test_suture_is_closed_flat_if_it_can_be_drawn(width, value):
    plate = EnvelopeSpec("plate", radius_um=1000.0, length_um=2000.0, wall_um=160.0, exponent=100.0)
    suture = Sheet("suture", (0.0, 0.0, 0.0), (0.0, 1.0, 0.0), width_um=width, extent_um=4000.0)
    labels = build(suture, envelope=plate, cortex=90.0).labels
    gap = (np.abs(Y) < width / 2 - 2) & (np.abs(X) < 75)
    assert (labels[gap] == value).all()
    assert (labels[np.abs(X) > 85] == 0).all()
    assert (labels[(np.abs(Y) > width / 2 + 8) & (np.abs(X) < 75)] == 1).all()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: GrowthPlate(0.0, thickness_um=0.0),
        lambda: GrowthPlate(0.0, thickness_um=1.0, calcified=1.0),
        lambda: Lesion((0.0, 0.0, 0.0), radius_um=-1.0),
        lambda: Hole((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), length_um=1.0, diameter_um=1.0),
        lambda: Sheet("crack", (0.0, 0.0, 0.0), (1.0, 0.0, 0.0), width_um=0.0, extent_um=1.0),
    ],
)
def test_impossible_features_are_user_errors(wrong):
    with pytest.raises(UsageError):
        wrong()
