"""3D: patches of blocks. What all modes share is tested in test_sources.py and test_sampling.py."""

from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osteon.datasets import BlockPatches, Part, scan_statistics
from osteon.datasets import random_patches as module
from osteon.datasets.blocks import _room
from osteon.errors import OsteonWarning
from osteon.labels import BONE_PORES
from osteon.volume import Access

from .voxels import fit_settings, parts_of, places, restore, scan

DEPTH = 32


def source(pairs, parts=None, *, cache_bytes=0, **entries) -> BlockPatches:
    return BlockPatches(
        pairs,
        parts or parts_of(pairs),
        settings=fit_settings(mode="3D", **entries),
        statistics=scan_statistics(pairs, "zscore"),
        labels=BONE_PORES,
        cache_bytes=cache_bytes,
    )


def corner(image: np.ndarray, pair) -> tuple[int, int, int]:
    """Where a patch (1, z, y, x) is from; its voxels are in their places."""
    found = places(pair)[restore(image[0], pair)]
    first = found[0, 0, 0]
    expected = np.moveaxis(np.indices(image.shape[1:]), 0, -1) + first
    np.testing.assert_array_equal(found, expected)
    z, y, x = (int(v) for v in first)
    return z, y, x


@pytest.mark.parametrize("access", [Access.RANDOM, Access.SLICE])
@pytest.mark.parametrize("cache_bytes", [0, 10**8])
def test_blocks_are_cut_whole_from_the_runs_of_labelled_slices(access, cache_bytes) -> None:
    labelled = (*range(3, 43), *range(50, 90))
    pair = scan("a", (95, 40, 36), labelled=labelled)
    pair.image.access = pair.labels.access = access
    made = source([pair], cache_bytes=cache_bytes, patches={"per_slice": 2, "max_overlap": 1})
    # 2 patches for every 32 of 40 slices: 2.5, rounded to 3, of each of two runs.
    assert len(made) == 6
    starts: dict[int, set[int]] = {0: set(), 1: set()}
    for epoch in range(20):
        for index in range(6):
            image, labels = made.item(epoch, index)
            assert image.shape == (1, DEPTH, 32, 32)
            assert (image.dtype, labels.dtype) == (np.float32, np.uint8)
            starts[index // 3].add(corner(image, pair)[0])
            np.testing.assert_array_equal(restore(image[0], pair) % 3, labels)
    # 60 draws of 9 places: one is missed with a probability of 9 * (8/9)**60 = 0.008.
    assert starts == {0: set(range(3, 12)), 1: set(range(50, 59))}


def test_patches_are_counted_by_the_slices_of_a_run_and_one_at_least() -> None:
    pairs = [scan("a", (130, 33, 33)), scan("b", (64, 33, 33), labelled=(0, 1, 20, 63))]
    made = source(pairs, patches={"per_slice": 4, "max_overlap": 1})
    # a: 4 * 130 / 32 = 16.25; b: runs of 2, 1 and 1 slices.
    assert len(made) == 16 + 3
    assert Counter(stretch.scan for stretch in made._stretches) == {0: 1, 1: 3}


def test_slices_without_labels_are_seen_and_ignored() -> None:
    pair = scan("a", (70, 33, 33), labelled=(10, 35, 40, 69))
    made = source([pair], patches={"per_slice": 1})
    assert len(made) == 4
    for epoch in range(12):
        for index, z in enumerate((10, 35, 40, 69)):
            image, labels = made.item(epoch, index)
            first = corner(image, pair)[0]
            assert first <= z < first + DEPTH
            own = [k - first for k in (10, 35, 40, 69) if first <= k < first + DEPTH]
            values = restore(image[0], pair) % 3
            np.testing.assert_array_equal(labels[own], values[own])
            assert (np.delete(labels, own, axis=0) == 255).all()


def test_slices_that_are_not_in_the_part_are_ignored() -> None:
    pair = scan("a", (40, 33, 33))
    made = source([pair], [Part("a", tuple(range(5)))], patches={"per_slice": 1})
    image, labels = made.item(0, 0)
    first = corner(image, pair)[0]
    assert first == 0
    assert (labels[:5] != 255).all()
    assert (labels[5:] == 255).all()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_the_room_of_a_run_lets_patches_cover_it_and_stay_in_what_may_be_seen(data) -> None:
    depth = 32
    first = data.draw(st.integers(0, 20))
    visible = range(first, first + data.draw(st.integers(1, 100)))
    start = data.draw(st.integers(visible.start, visible.stop - 1))
    run = range(start, data.draw(st.integers(start + 1, visible.stop)))
    room = _room(run, visible, depth)
    assert visible.start <= room.start <= run.start
    assert run.stop <= room.stop <= visible.stop
    assert len(room) >= min(depth, len(visible))
    for z in (room.start, max(room.start, room.stop - depth)):
        patch = range(z, min(z + depth, visible.stop))
        shared = range(max(patch.start, run.start), min(patch.stop, run.stop))
        # Within a long run; around a short one.
        assert len(shared) == min(depth, len(run))
    # Every place that does so is possible.
    wanted = [
        z
        for z in visible
        if z + depth <= visible.stop
        and len(range(max(z, run.start), min(z + depth, run.stop))) == min(depth, len(run))
    ]
    assert room.start == (wanted[0] if wanted else visible.start)
    assert room.stop == (wanted[-1] + depth if wanted else visible.stop)


def test_small_scans_are_padded_in_all_directions_and_said_once() -> None:
    pair = scan("flat", (7, 20, 40))
    with pytest.warns(OsteonWarning, match="slice-smaller-than-patch") as caught:
        made = source([pair])
    assert len(caught) == 1
    assert "32 slices of 32 px" in str(caught[0].message)
    assert "flat" in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image, labels = made.item(0, 0)
    assert labels.shape == (DEPTH, 32, 32)
    assert (labels[7:] == 255).all()
    assert (labels[:, 20:] == 255).all()
    values = restore(image[0], pair)
    np.testing.assert_array_equal(values[:7, :20] % 3, labels[:7, :20])
    edge = np.pad(values[:7, :20], [(0, 25), (0, 12), (0, 0)], mode="edge")
    np.testing.assert_array_equal(values, edge)


def test_blocks_overlap_little_by_volume() -> None:
    pair = scan("a", (70, 70, 70))
    made = source([pair], patches={"per_slice": 2, "max_overlap": 0.3})
    assert len(made) == 4
    for epoch in range(10):
        sets = [set(restore(made.item(epoch, k)[0], pair).ravel()) for k in range(4)]
        for i, one in enumerate(sets):
            assert all(len(one & other) <= 0.3 * DEPTH**3 for other in sets[:i])


@pytest.mark.parametrize("access", [Access.RANDOM, Access.SLICE])
def test_a_share_of_a_runs_patches_holds_the_class(access) -> None:
    classes = np.zeros((100, 90, 90), np.uint8)
    classes[71, 80, 3] = 2
    pair = scan("a", (100, 90, 90), classes=classes)
    pair.image.access = pair.labels.access = access
    made = source(
        [pair],
        cache_bytes=10**6,
        patches={"per_slice": 1, "share": 0.6, "must_hold": "pores", "max_overlap": 1},
    )
    assert len(made) == 3
    at = []
    for epoch in range(60):
        for index in range(2):  # 0.6 * 3 = 1.8, rounded to 2
            found = np.argwhere(made.item(epoch, index)[1] == 2)
            assert len(found) == 1
            at.append(found[0])
    # z and y are free, so the voxel is met at every place; x = 3 is at most 3 from the start.
    spread = np.array(at)
    assert spread[:, 0].min() < 8
    assert spread[:, 0].max() > 23
    assert spread[:, 2].max() == 3


def test_labels_without_the_class_are_searched_once() -> None:
    pair = scan("a", (40, 40, 40), classes=np.zeros((40, 40, 40)))
    plain, made = source([pair]), source([pair], patches={"share": 1})
    mask = pair.labels.mask
    mask.seen = 0
    for epoch in range(2):
        for index in range(len(made)):
            np.testing.assert_array_equal(made.item(epoch, index)[0], plain.item(epoch, index)[0])
    patches = 4 * 2 * len(made) * DEPTH * 32 * 32
    assert 40**3 <= mask.seen <= 40**3 + patches


def test_only_the_box_is_read_where_access_is_random() -> None:
    pair = scan("a", (64, 64, 64))
    made = source([pair], cache_bytes=10**8)
    pair.image.seen = 0
    made.item(0, 0)
    assert pair.image.seen == DEPTH * 32 * 32
    assert made._cache._held == 0


def test_slices_that_have_to_be_decoded_whole_are_kept() -> None:
    pair = scan("a", (40, 64, 64))
    pair.image.access = pair.labels.access = Access.SLICE
    made = source([pair], cache_bytes=10**8)
    pair.image.seen = 0
    for epoch in range(3):
        for index in range(len(made)):
            made.item(epoch, index)
    assert pair.image.seen <= 40 * 64 * 64


@pytest.mark.parametrize("size", [(10.0, 10.0, 10.0), (40.0, 10.0, 10.0)])
def test_augmentation_is_told_whether_voxels_are_cubes(size, monkeypatch) -> None:
    told = []

    def augmentation(image, labels, rng, *, clip, isotropic):
        told.append(isotropic)
        return image, labels

    monkeypatch.setattr(module, "load_augmentation", lambda name, strength: augmentation)
    made = source([scan("a", (33, 33, 33), voxel_size=size)])
    made.item(0, 0)
    assert told == [size[0] == 10.0]
