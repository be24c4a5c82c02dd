"""Clean-up by class against scipy and cases worked by hand."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from osteon.errors import UsageError
from osteon.labels import BONE_PORES
from osteon.prediction import Store, plan_cleanup, predict, predict_kept
from osteon.prediction.cleanup import BYTES_PER_VOXEL, CleanUp, Rule
from osteon.settings import CleanUpSettings, PredictSettings, load_settings
from osteon.volume import ArrayVolume, Geometry

from .faking import MODEL, PLENTY, FakeBackend, MemoryWriter, noise

BACKGROUND, BONE, PORES = 0, 1, 2
ALL_26 = np.ones((3, 3, 3))


def patches(seed: int) -> np.ndarray:
    grey = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(13, 31, 37)), 1.1)
    return np.digitize(grey, (0.05, 0.2)).astype(np.uint8)


def test_only_the_largest_object_stays() -> None:
    labels = patches(1)
    found = labels.copy()
    CleanUp((Rule("bone", BONE, largest=True),)).run(found)
    numbers, count = ndimage.label(labels == BONE, ALL_26)
    sizes = np.bincount(numbers.ravel())[1:]
    assert count > 3
    np.testing.assert_array_equal(found == BONE, numbers == 1 + sizes.argmax())
    np.testing.assert_array_equal(found[labels != BONE], labels[labels != BONE])


def test_specks_go_and_the_rest_stays() -> None:
    labels, smallest = patches(2), 20
    found = labels.copy()
    job = CleanUp((Rule("pores", PORES, smallest=smallest),))
    job.run(found)
    numbers, _ = ndimage.label(labels == PORES, ALL_26)
    sizes = np.bincount(numbers.ravel())
    stays = (sizes >= smallest) & (np.arange(sizes.size) > 0)
    assert 0 < stays.sum() < sizes.size - 1
    np.testing.assert_array_equal(found == PORES, stays[numbers])
    assert job.tidied["pores"].objects == sizes.size - 1 - stays.sum()
    assert job.tidied["pores"].object_voxels == (labels == PORES).sum() - stays[numbers].sum()


def test_a_speck_becomes_what_has_most_faces_around_it() -> None:
    labels = np.zeros((3, 5, 6), np.uint8)
    labels[:, :, 3:] = BONE
    labels[1, 2, 3] = PORES  # five faces to bone, one to the background
    labels[1, 2, 1] = PORES  # six to the background
    CleanUp((Rule("pores", PORES, smallest=2),)).run(labels)
    assert (labels[1, 2, 3], labels[1, 2, 1]) == (BONE, BACKGROUND)
    assert not (labels == PORES).any()


def test_holes_up_to_a_size_are_filled_and_open_ones_are_not() -> None:
    labels = np.full((7, 11, 17), BONE, np.uint8)
    labels[3, 3, 3:5] = PORES  # two voxels, enclosed
    labels[2:5, 6:9, 7:10] = BACKGROUND  # 27, enclosed
    labels[3, 3, 14:] = PORES  # open at the end of the scan
    found = labels.copy()
    job = CleanUp((Rule("bone", BONE, hole=26),))
    job.run(found)
    expected = labels.copy()
    expected[3, 3, 3:5] = BONE
    np.testing.assert_array_equal(found, expected)
    assert (job.tidied["bone"].holes, job.tidied["bone"].hole_voxels) == (1, 2)
    CleanUp((Rule("bone", BONE, hole=10**9),)).run(found)
    np.testing.assert_array_equal(found == BONE, ndimage.binary_fill_holes(labels == BONE))


def test_a_class_that_fills_the_scan_stays() -> None:
    labels = np.full((2, 3, 4), BONE, np.uint8)
    CleanUp((Rule("bone", BONE, smallest=100),)).run(labels)
    assert (labels == BONE).all()


def test_sizes_in_um3_are_turned_into_voxels() -> None:
    volume = ArrayVolume(noise((4, 5, 6)), Geometry((10.0, 5.0, 2.0)))  # 100 µm³
    asked = CleanUpSettings(smallest={"bone": "250um3"}, holes={"pores": "250 µm³"})
    made = plan_cleanup(volume, BONE_PORES, asked, memory=PLENTY)
    assert made is not None
    assert {r.name: (r.smallest, r.hole) for r in made.rules} == {"bone": (3, 0), "pores": (0, 2)}
    with pytest.raises(UsageError, match="voxel size, which is not known"):
        plan_cleanup(ArrayVolume(noise((4, 5, 6))), BONE_PORES, asked, memory=PLENTY)


def test_what_cannot_be_done_is_refused() -> None:
    volume = ArrayVolume(noise((4, 5, 6)))
    with pytest.raises(UsageError, match="no class 'bones'"):
        plan_cleanup(volume, BONE_PORES, CleanUpSettings(largest=("bones",)), memory=PLENTY)
    bone = CleanUpSettings(largest=("bone",))
    with pytest.raises(UsageError, match="clean-up holds the labels"):
        plan_cleanup(volume, BONE_PORES, bone, memory=120 * BYTES_PER_VOXEL - 1)
    assert plan_cleanup(volume, BONE_PORES, bone, memory=120 * BYTES_PER_VOXEL)
    assert plan_cleanup(volume, BONE_PORES, CleanUpSettings(), memory=1) is None
    with pytest.raises(UsageError, match="'5 mm' is no size"):
        load_settings(PredictSettings, overrides=["cleanup.smallest.bone=5 mm"])
    chosen = load_settings(PredictSettings, overrides=["cleanup.smallest.bone=5voxels"])
    assert chosen.cleanup.smallest == {"bone": "5voxels"}


def test_it_holds_no_more_than_it_says() -> None:
    labels = np.tile(patches(3), (4, 8, 8))
    job = CleanUp((Rule("bone", BONE, largest=True, smallest=30, hole=50),))
    tracemalloc.start()
    job.run(labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    in_planes = 64 * labels[0].size  # a slice at a time, and the sizes of objects
    assert peak < (BYTES_PER_VOXEL - 1) * labels.size + in_planes


def test_a_prediction_is_tidied_on_its_way_to_the_target(tmp_path: Path) -> None:
    volume = ArrayVolume(noise((5, 41, 53)))
    plain, tidy = MemoryWriter(volume.shape), MemoryWriter(volume.shape)
    predict(MODEL, volume, plain, backend=FakeBackend(), memory=PLENTY)
    rules = (Rule("pores", PORES, smallest=4), Rule("bone", BONE, largest=True))
    with Store(tmp_path / "area", shape=volume.shape, identity={}) as store:
        found = predict_kept(
            MODEL, volume, store, open_target=lambda: tidy, backend=FakeBackend(),
            memory=PLENTY, measure=False, cleanup=CleanUp(rules),
        )  # fmt: skip
    expected = plain.array
    CleanUp(rules).run(expected)
    np.testing.assert_array_equal(tidy.array, expected)
    assert (tidy.array != plain.array).any()
    assert found.voxels["pores"] == (expected == PORES).sum()
    assert found.cleanup is not None
    assert found.cleanup["pores"]["objects"] > 0
