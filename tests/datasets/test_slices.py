"""2.5D: a slice with its neighbours. What all modes share is tested in test_sources.py."""

from __future__ import annotations

import numpy as np
import pytest

from osteon.datasets import Part, SlicePatches, patch_source, scan_statistics, split
from osteon.datasets.manifest import Manifest
from osteon.labels import BONE_PORES

from .voxels import fit_settings, parts_of, places, restore, scan


def source(pairs, parts=None, *, cache_bytes=0, **entries) -> SlicePatches:
    return SlicePatches(
        pairs,
        parts or parts_of(pairs),
        settings=fit_settings(mode="2.5D", **entries),
        statistics=scan_statistics(pairs, "zscore"),
        labels=BONE_PORES,
        cache_bytes=cache_bytes,
    )


def seen(image: np.ndarray, pair) -> list[int]:
    """The slice that each channel is of; all channels show the same rows and columns."""
    found = places(pair)[restore(image, pair)]
    for channel in found:
        assert len(set(channel[..., 0].ravel())) == 1
        np.testing.assert_array_equal(channel[..., 1:], found[0][..., 1:])
    return [int(channel[0, 0, 0]) for channel in found]


@pytest.mark.parametrize("cache_bytes", [0, 10**7, 30_000])
@pytest.mark.parametrize("slices", [3, 5, 7, 9])
def test_channels_are_the_neighbours_and_labels_the_middle_slices(slices, cache_bytes) -> None:
    pair = scan("a", (6, 36, 40))
    made = source([pair], cache_bytes=cache_bytes, patches={"slices": slices, "per_slice": 1})
    half = slices // 2
    for z in range(6):
        image, labels = made.item(1, z)
        assert image.shape == (slices, 32, 32)
        np.testing.assert_array_equal(restore(image[half], pair) % 3, labels)
        expected = np.clip(np.arange(z - half, z + half + 1), 0, 5).tolist()
        assert seen(image, pair) == expected


def test_slices_without_labels_are_seen_as_neighbours() -> None:
    pair = scan("a", (9, 40, 40), labelled=(0, 4))
    made = source([pair], patches={"slices": 5, "per_slice": 1})
    assert len(made) == 2
    assert seen(made.item(0, 1)[0], pair) == [2, 3, 4, 5, 6]


def test_the_manifests_range_of_slices_is_not_left() -> None:
    pair = scan("a", (9, 40, 40), slices=(2, 7))
    made = source([pair], patches={"slices": 5, "per_slice": 1})
    assert seen(made.item(0, 0)[0], pair) == [2, 2, 2, 3, 4]
    assert seen(made.item(0, 4)[0], pair) == [4, 5, 6, 6, 6]


@pytest.mark.parametrize(("mode", "gap"), [("2.5D", 0), ("2.5D", 2), ("2.5D", 8), ("3D", 3)])
def test_no_voxel_that_is_measured_is_seen_while_learning(mode: str, gap: int) -> None:
    depth = 60
    pair = scan("a", (depth, 33, 33))
    settings = fit_settings(
        mode=mode,
        patches={"slices": 9, "per_slice": 2},
        validation={"method": "slabs", "gap": gap, "share": 0.2},
    )
    made = split(
        Manifest(BONE_PORES, (pair.row,)),
        settings.validation,
        seed=0,
        shapes={"a": depth},
    )
    measured = set(made.validation[0].slices)
    statistics = scan_statistics([pair], "zscore")
    source = patch_source(
        [pair],
        made.training,
        settings=settings,
        statistics=statistics,
        labels=BONE_PORES,
        cache_bytes=0,
    )
    pair.image.slices.clear()
    for epoch in range(3):
        for index in range(len(source)):
            source.item(epoch, index)
    assert not pair.image.slices & measured
    last = made.training[0].slices[-1]
    # The gap is seen in 2.5D, where it is there; blocks keep to the slices learned from.
    assert max(pair.image.slices) == (last + min(gap, 4) if mode == "2.5D" else last)


def test_each_neighbour_is_decoded_once_where_the_cache_has_room() -> None:
    pair = scan("a", (5, 64, 64))
    made = source([pair], cache_bytes=10**6)
    pair.image.seen = 0
    for index in range(len(made)):
        made.item(0, index)
    assert pair.image.seen == 5 * 64 * 64


def test_two_parts_of_one_scan_keep_their_order() -> None:
    pair = scan("a", (5, 40, 40))
    made = source([pair], [Part("a", (3,)), Part("a", (0,))], patches={"per_slice": 1})
    assert seen(made.item(0, 0)[0], pair) == [2, 3, 4]
    assert seen(made.item(0, 1)[0], pair) == [0, 0, 1]
