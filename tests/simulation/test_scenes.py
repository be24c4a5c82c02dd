"""Several bones in one field of view."""

from __future__ import annotations

from dataclasses import replace

import cc3d
import numpy as np
import pytest
from scipy import ndimage

from osteon.errors import UsageError
from osteon.simulation import BoneSpec, EnvelopeSpec, SceneSpec, TrabecularSpec, build_scene
from osteon.simulation.randomness import generator

VOXEL = 10.0
RADIUS = 150.0


def tube(distance, *, count=6, gap=0.0, shape=(24, 112, 112), **more):
    """Shafts on a ring (and in its middle, if there are seven)."""
    angles = np.arange(6) * np.pi / 3
    spots = [(distance * np.sin(a), distance * np.cos(a)) for a in angles][:count]
    bones = tuple(
        BoneSpec(
            EnvelopeSpec("shaft", radius_um=RADIUS, length_um=3000.0, centre_um=(0.0, y, x)),
            cortex_um=40.0,
            cortex_variation=0.0,
            **more,
        )
        for y, x in spots
    )
    scene = SceneSpec(bones, gap_um=gap)
    return build_scene(scene, shape=shape, voxel_um=VOXEL, rng=generator(7))


def test_six_bones_are_six_objects_with_background_between():
    anatomy = tube(360.0)
    found = cc3d.connected_components(anatomy.labels > 0, connectivity=26)
    assert found.max() == 6
    assert anatomy.objects.max() == 6
    # Each is one component, the same voxels.
    for k in range(1, 7):
        assert len(np.unique(found[anatomy.objects == k])) == 1
    np.testing.assert_array_equal(anatomy.objects > 0, anatomy.labels > 0)
    area = (anatomy.labels[12] > 0).sum() * VOXEL**2
    assert area == pytest.approx(6 * np.pi * RADIUS**2, rel=0.01)
    pores = (anatomy.labels[12] == 2).sum() * VOXEL**2
    assert pores == pytest.approx(6 * np.pi * (RADIUS - 40) ** 2, rel=0.015)
    # The hollow in the middle of the ring is outside.
    assert anatomy.labels[12, 56, 56] == 0


def test_bones_that_would_overlap_end_half_way_with_a_cortex_each():
    anatomy = tube(RADIUS - 30, count=4, trabeculae=TrabecularSpec(30.0, 90.0))
    first, second = anatomy.objects == 1, anatomy.objects == 2
    assert first.any()
    assert second.any()
    # Where they touch both are bone for a cortex's thickness: no pores near the border.
    touching = first[:, 1:] & second[:, :-1] | first[:, :-1] & second[:, 1:]
    touching |= np.pad(touching, ((0, 0), (0, 0), (0, 0)))
    near = touching[12]
    assert near.any()
    labels = (anatomy.labels[12, 1:], anatomy.labels[12, :-1])
    assert all((part[near] == 1).all() for part in labels)
    # The voxels of the border are whole bone, not half.
    inner = anatomy.mineral[12, 1:][near]
    assert inner.mean() > 0.9


@pytest.mark.parametrize("gap", [30.0, 60.0])
def test_gap_is_kept(gap):
    anatomy = tube(RADIUS - 10, count=2, gap=gap)
    found = cc3d.connected_components(anatomy.labels > 0, connectivity=26)
    assert found.max() == 2
    away = ndimage.distance_transform_edt(anatomy.objects != 1)
    least = away[anatomy.objects == 2].min()
    # Centres of voxels of either object are up to a voxel and a half from their surfaces.
    assert gap / VOXEL - 0.5 <= least <= gap / VOXEL + 2


def test_bone_alone_and_beside_others_is_the_same():
    alone = tube(360.0, count=1)
    six = tube(360.0)
    own = six.objects == 1
    agree = (six.labels == alone.labels)[own | (alone.labels > 0)]
    assert agree.mean() > 0.995


def test_depth_far_outside_is_about_the_distance():
    anatomy = tube(0.0, count=1, shape=(16, 128, 128))
    y, x = np.mgrid[:128, :128] - 63.5
    distance = RADIUS - np.hypot(y, x) * VOXEL
    error = np.abs(anatomy.depth_um[8] - distance)
    near = (distance > -60) & (distance < RADIUS - 30)
    assert error[near].max() < 0.3 * VOXEL
    assert error.max() < 4 * VOXEL


def test_scene_needs_bones():
    with pytest.raises(UsageError):
        SceneSpec(())
    one = tube(0.0, count=1)
    far = BoneSpec(
        replace(one.envelope, shape="ball", centre_um=(0.0, 5000.0, 0.0)), cortex_um=40.0
    )
    with pytest.raises(UsageError, match="outside the field of view"):
        build_scene(SceneSpec((far,)), shape=(16, 32, 32), voxel_um=VOXEL, rng=generator(1))
