"""What lies in and around bones: attenuation where it must be, and labels untouched."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from osteon.errors import UsageError
from osteon.simulation import (
    MEDIA,
    BoneSpec,
    EnvelopeSpec,
    GrowthPlate,
    Hole,
    ImagingSpec,
    InteriorSpec,
    SurroundingsSpec,
    build_anatomy,
)
from osteon.simulation.imaging import attenuation
from osteon.simulation.materials import draw_interior, draw_medium, draw_surroundings, medium_of
from osteon.simulation.randomness import generator

VOXEL = 10.0
PLAIN = ImagingSpec(marrow=0.3, outside=0.15, bone_variation=0.0, marrow_variation=0.0)


def build(*features):
    envelope = EnvelopeSpec("shaft", radius_um=220.0, length_um=5000.0)
    spec = BoneSpec(envelope, cortex_um=80.0, cortex_variation=0.0, features=features)
    return build_anatomy(spec, shape=(40, 96, 96), voxel_um=VOXEL, rng=generator(5))


BONE = build()


def seen(anatomy=BONE, *, seed=2, interior=None, **around):
    spec = replace(PLAIN, interior=interior or InteriorSpec(), around=SurroundingsSpec(**around))
    return attenuation(anatomy, spec, generator(seed))


def deep(value, margin=3):
    return ndimage.binary_erosion(BONE.labels == value, iterations=margin, border_value=1)


OUTSIDE, SOLID, PORES = (deep(k) for k in range(3))


@pytest.mark.parametrize(
    "around",
    [
        {"fat": 0.3, "streak_um": 200.0, "medium": "muscle"},
        {"vessels": 6, "bubble_um": 60.0},
        {"bubbles": 12, "bubble_um": 60.0},
        {"bag_um": 60.0, "film_um": 20.0},
        {"foam": 0.1, "cell_um": 150.0},
        {"threads": 3, "thread_um": 20.0},
        {"rods": (0.6, 1.0), "rod_um": 60.0},
        {"pins": 1, "rod_um": 60.0},
    ],
    ids=lambda around: next(iter(around)),
)
def test_things_around_change_the_outside_alone(around):
    plain, image = seen(), seen(**around)
    assert (np.abs(image - plain)[OUTSIDE] > 0.01).any()
    np.testing.assert_allclose(image[SOLID], 1.0, atol=1e-5)
    np.testing.assert_allclose(image[PORES], 0.3, atol=1e-5)


def test_share_and_level_of_fat():
    image = seen(fat=0.3, streak_um=120.0, medium="muscle")[OUTSIDE]
    assert (image < 0.15 * 0.8).mean() == pytest.approx(0.3, abs=0.08)
    assert image.min() >= 0.15 * 0.6 - 1e-4
    assert image.max() <= 0.15 + 1e-4


def test_rods_of_a_phantom_have_their_levels_and_size():
    image = seen(rods=(0.5, 0.9), rod_um=60.0)
    slice_ = image[20] * (BONE.labels[20] == 0)
    for level in (0.5, 0.9):
        area = (np.abs(slice_ - level) < 0.01).sum() * VOXEL**2
        # Whole voxels alone: a rim of half a voxel's diagonal is left out.
        assert np.pi * 45**2 < area <= np.pi * 60**2
    np.testing.assert_allclose(image[5][OUTSIDE[5]], image[30][OUTSIDE[30]], atol=1e-5)


def test_metal_is_very_bright_beside_and_in_bones():
    assert seen(pins=1, rod_um=80.0)[OUTSIDE].max() == pytest.approx(6.0)
    drilled = build(
        Hole((0.0, 0.0, 500.0), (0.0, 0.0, -1.0), length_um=450.0, diameter_um=100.0, pin=True)
    )
    image = seen(drilled)
    assert image[20, 48, 48 + 15] == pytest.approx(6.0)
    assert (drilled.labels[image > 3] == 0).all()


def test_bag_has_air_beyond():
    image = seen(bag_um=80.0, film_um=30.0, plastic=0.25)
    near = (BONE.depth_um < -20) & (BONE.depth_um > -30)
    assert np.median(image[near]) == pytest.approx(0.15, abs=1e-4)
    assert np.median(image[BONE.depth_um < -200]) == pytest.approx(0.0, abs=1e-4)
    assert image[OUTSIDE].max() == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("wall", [20.0, 60.0])
def test_tube_has_the_wall_asked_for(wall):
    spec = replace(PLAIN, holder_um=400.0, holder=0.22, around=SurroundingsSpec(wall_um=wall))
    line = attenuation(BONE, spec, generator(1))[20, 48, :20]
    assert (line / 0.22)[np.isclose(line, 0.22, atol=0.01)].sum() * VOXEL == pytest.approx(
        wall, abs=VOXEL
    )
    assert line[0] == 0
    assert line[19] == pytest.approx(0.15)


def test_gas_bubbles_lie_in_the_pores():
    image = seen(interior=InteriorSpec(bubbles=10, bubble_um=30.0))
    assert (image[PORES] < 0.01).any()
    assert (image[PORES] > 0.29).mean() > 0.5
    np.testing.assert_allclose(image[SOLID], 1.0, atol=1e-5)
    np.testing.assert_allclose(image[OUTSIDE], 0.15, atol=1e-5)


def test_drained_marrow_is_air_above_a_level():
    image = seen(interior=InteriorSpec(drained=0.5))
    top, bottom = image[:, :42][PORES[:, :42]], image[:, 54:][PORES[:, 54:]]
    np.testing.assert_allclose(top, 0.0, atol=1e-4)
    np.testing.assert_allclose(bottom, 0.3, atol=1e-4)


def test_young_bone_has_less_mineral_outside_or_deep():
    outer = seen(interior=InteriorSpec(outer_loss=0.3, outer_um=20.0))
    for depth in (15.0, 40.0):
        shell = (np.abs(BONE.depth_um - depth) < 3) & (BONE.mineral == 1)
        assert outer[shell].mean() == pytest.approx(1 - 0.3 * np.exp(-depth / 20), abs=0.01)
    inner = seen(interior=InteriorSpec(inner_loss=0.2, inner_um=40.0))
    shell = (np.abs(BONE.depth_um - 60) < 3) & (BONE.mineral == 1)
    assert inner[shell].mean() == pytest.approx(1 - 0.2 * (1 - np.exp(-60 / 40)), abs=0.01)


def test_cartilage_has_its_own_grey():
    anatomy = build(GrowthPlate(height_um=0.0, thickness_um=80.0, rim_um=220.0))
    image = seen(anatomy, interior=InteriorSpec(cartilage=0.22))
    soft = anatomy.cartilage == 1
    assert soft.sum() > 1000
    np.testing.assert_allclose(image[soft], 0.22, atol=1e-5)


def test_drawn_specifications_are_of_their_medium():
    media = [draw_medium(generator(1, k)) for k in range(400)]
    for name, share in MEDIA.items():
        assert media.count(name) / 400 == pytest.approx(share, abs=0.07)
    for k in range(60):
        rng = generator(2, k)
        around = draw_surroundings(rng, medium="air", voxel_um=VOXEL, view_um=1000.0)
        assert around.fat == around.vessels == around.bubbles == 0
        interior = draw_interior(rng, dry=True, voxel_um=VOXEL, view_um=1000.0)
        assert interior.bubbles == interior.drained == 0
    levels = [medium_of("muscle", 0.3, contrast=0.04, rng=generator(k)) for k in range(50)]
    assert min(levels) >= 0.26
    assert max(levels) <= 0.34
    assert medium_of("dry", 0.3, contrast=0.04, rng=generator(1)) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: SurroundingsSpec(medium="honey"),
        lambda: SurroundingsSpec(threads=-1),
        lambda: SurroundingsSpec(rod_um=0.0),
        lambda: InteriorSpec(outer_loss=1.0),
        lambda: InteriorSpec(bubbles=-1),
    ],
)
def test_impossible_materials_are_user_errors(wrong):
    with pytest.raises(UsageError):
        wrong()
