from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage import draw, morphology

from osteon.datasets.pores import CLOSING_RADIUS, derive, envelope


def ring(shape: tuple[int, int], centre: tuple[float, float], outer: float, inner: float):
    bone = np.zeros(shape, bool)
    bone[draw.disk(centre, outer, shape=shape)] = True
    bone[draw.disk(centre, inner, shape=shape)] = False
    return bone


def disk(shape: tuple[int, int], centre: tuple[float, float], radius: float):
    full = np.zeros(shape, bool)
    full[draw.disk(centre, radius, shape=shape)] = True
    return full


def test_a_closed_ring_is_filled_exactly() -> None:
    bone = ring((100, 120), (50, 60), 40, 30)
    np.testing.assert_array_equal(envelope(bone), disk((100, 120), (50, 60), 40))


def test_the_closing_is_that_of_another_library() -> None:
    rng = np.random.default_rng(0)
    bone = morphology.remove_small_objects(rng.random((90, 90)) > 0.97, max_size=0)
    bone[:12] = bone[-12:] = False
    bone[:, :12] = bone[:, -12:] = False
    footprint = morphology.disk(CLOSING_RADIUS)
    expected = ndimage.binary_fill_holes(ndimage.binary_closing(bone, footprint))
    np.testing.assert_array_equal(envelope(bone), expected)


def test_a_narrow_foramen_is_closed_flat_and_a_wide_one_is_open() -> None:
    for gap, closed in ((2 * CLOSING_RADIUS - 4, True), (4 * CLOSING_RADIUS, False)):
        bone = ring((120, 120), (60, 60), 50, 40)
        bone[60 - gap // 2 : 60 + gap // 2, 60:] = False
        assert bool(envelope(bone)[60, 60]) == closed


def test_an_edge_closes_the_bone_it_cuts() -> None:
    for turn in range(4):
        bone = np.rot90(ring((100, 120), (0, 60), 40, 30), turn)
        expected = np.rot90(disk((100, 120), (0, 60), 40), turn)
        np.testing.assert_array_equal(envelope(bone), expected)


def test_bones_beside_each_other_are_not_joined() -> None:
    bone = ring((100, 200), (0, 50), 40, 30) | ring((100, 200), (0, 150), 40, 30)
    inside = envelope(bone)
    assert inside[0, 50]
    assert inside[0, 150]
    assert not inside[0, 100]


def test_no_bone_no_pores() -> None:
    assert not envelope(np.zeros((30, 30), bool)).any()


def test_ignored_voxels_stay_ignored() -> None:
    labels = ring((100, 100), (50, 50), 40, 30).astype(np.uint8)
    labels[48:52, 48:52] = 255
    made = derive(labels, bone=1, pores=2)
    assert (made[48:52, 48:52] == 255).all()
    assert made[60, 60] == 2
    assert made[0, 0] == 0
    assert (made[labels == 1] == 1).all()
