from __future__ import annotations

import hashlib
import multiprocessing
import pickle
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from osteon.datasets import (
    BlockPatches,
    GridTiles,
    Pair,
    Part,
    ScanRow,
    SlicePatches,
    check_mode,
    patch_source,
    scan_statistics,
    validation_tiles,
)
from osteon.datasets.masks import MaskVolume
from osteon.errors import InputError, OsteonWarning, UsageError
from osteon.intensity import Statistics
from osteon.labels import BONE_PORES
from osteon.volume import ArrayVolume

from .voxels import SIZE, fit_settings, parts_of, restore, scan


def source(pairs: list[Pair], parts: list[Part] | None = None, *, cache_bytes=0, **entries):
    return SlicePatches(
        pairs,
        parts or parts_of(pairs),
        settings=fit_settings(**entries),
        statistics=scan_statistics(pairs, "zscore"),
        labels=BONE_PORES,
        cache_bytes=cache_bytes,
    )


def ruled(name: str, shape: tuple[int, int, int], seed: int) -> Pair:
    """Voxels by a rule of whole numbers alone, the same on every machine."""
    z, y, x = np.indices(shape)
    image = (z * 7919 + y * 104729 + x * 1299709 + seed * 15485863) % 65521 + 1
    volume = ArrayVolume(image.astype(np.uint16))
    row = ScanRow(name=name, specimen=name, image="i", mask="m")
    classes = ArrayVolume((image % 3).astype(np.uint8))
    source = tuple(range(shape[0]))
    return Pair(row, volume, MaskVolume(classes, shape, volume.geometry, BONE_PORES, row, source))


def known_statistics(pairs: list[Pair]) -> dict[str, Statistics]:
    made = Statistics("zscore", 1, 32000.0, 19000.0, 1.0, 65521.0, 0.0, 100, "stated")
    return {pair.name: made for pair in pairs}


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("none", "4546fc7d5b02440a96d5c2461beebd0b5200ebf9276c0bfa05227a312ae02f82"),
        ("reference", "4c4e47832e5a5919510d1fb54d6ce340134581b6b7031c5c09982e230c56e388"),
    ],
)
def test_2d_items_stay_what_they_were_in_the_first_version(preset: str, expected: str) -> None:
    # The digests were taken before there were 2.5D, 3D and patches that must hold a class.
    pairs = [ruled("a", (4, 90, 70), 0), ruled("b", (3, 64, 200), 1)]
    made = SlicePatches(
        pairs,
        [Part("a", (0, 2, 3)), Part("b", (1,))],
        settings=fit_settings(seed=11, preset=preset),
        statistics=known_statistics(pairs),
        labels=BONE_PORES,
    )
    digest = hashlib.sha256()
    for epoch in (0, 5):
        for index in range(len(made)):
            for array in made.item(epoch, index):
                digest.update(array.tobytes())
    assert digest.hexdigest() == expected


def test_2d_validation_stays_what_it_was_in_the_first_version() -> None:
    pairs = [ruled("a", (4, 90, 70), 0), ruled("b", (3, 64, 200), 1)]
    made = GridTiles(
        pairs,
        [Part("a", (0, 2, 3)), Part("b", (1,))],
        settings=fit_settings(),
        statistics=known_statistics(pairs),
        tile=64,
        most=90 * 70,
    )
    digest = hashlib.sha256()
    for index in range(len(made)):
        image, labels, scan = made.item(index)
        digest.update(image.tobytes() + labels.tobytes() + bytes([scan]))
    assert digest.hexdigest() == "9ce7bada429f5fd54e4fcca2a9b1f0d61abe040e26f84cb7ffae71bcefacb29c"


def test_exactly_as_many_patches_as_asked() -> None:
    pairs = [scan("a", (4, 50, 60)), scan("b", (3, 40, 40), seed=1)]
    made = source(pairs, [Part("a", (0, 3)), Part("b", (1,))])
    assert len(made) == 9
    seen: Counter[tuple[str, int]] = Counter()
    for index in range(len(made)):
        image, labels = made.item(0, index)
        assert image.shape == (1, SIZE, SIZE)
        assert (image.dtype, labels.dtype) == (np.float32, np.uint8)
        name = "ab"[index // 6]
        values = restore(image[0], pairs[index // 6])
        np.testing.assert_array_equal(values % 3, labels)
        z = int(np.argwhere(pairs[index // 6].image.array == values[0, 0])[0, 0])
        seen[name, z] += 1
    assert seen == {("a", 0): 3, ("a", 3): 3, ("b", 1): 3}
    with pytest.raises(IndexError):
        made.item(0, 9)
    with pytest.raises(IndexError):
        made.item(0, -1)


@pytest.mark.parametrize("mode", ["2D", "2.5D", "3D"])
def test_an_item_depends_on_seed_epoch_and_index_alone(mode: str) -> None:
    pairs = [scan("a", (36, 50, 50)), scan("b", (3, 50, 50), seed=1)]
    if mode == "3D":
        pairs = pairs[:1]
    patches = {"per_slice": 8 if mode == "3D" else 2, "share": 0.5, "must_hold": "pores"}

    def items(order: list[tuple[int, int]], seed: int = 5, cache: int = 10**7):
        made = patch_source(
            pairs,
            [Part("a", tuple(range(36)) if mode == "3D" else (0, 7, 8)), Part("b", (2,))][
                : len(pairs)
            ],
            settings=fit_settings(mode=mode, seed=seed, preset="reference", patches=patches),
            statistics=scan_statistics(pairs, "zscore"),
            labels=BONE_PORES,
            cache_bytes=cache,
        )
        assert len(made) in (8, 9)
        return {key: made.item(*key) for key in order}

    keys = [(epoch, index) for epoch in range(2) for index in range(8)]
    a = items(keys)
    for other in (items(keys[::-1]), items(keys[::-1], cache=0), items(keys, cache=30_000)):
        for key in keys:
            np.testing.assert_array_equal(a[key][0], other[key][0])
            np.testing.assert_array_equal(a[key][1], other[key][1])
    assert len({value[0].tobytes() for value in a.values()}) == len(keys)
    b = items(keys, seed=6)
    assert not any(np.array_equal(a[key][0], b[key][0]) for key in keys)


def test_patches_of_one_slice_are_augmented_apart() -> None:
    # One slice of the patch's size: only the augmentation makes patches differ.
    made = source(
        [scan("a", (1, SIZE, SIZE))],
        patches={"per_slice": 4, "max_overlap": 1},
        preset="reference",
    )
    seen = {made.item(epoch, k)[1].tobytes() for epoch in range(2) for k in range(4)}
    firsts = {made.item(epoch, 0)[1].tobytes() for epoch in range(8)}
    assert len({made.item(0, k)[0].tobytes() for k in range(4)}) > 1
    assert len(seen) > 2
    assert len(firsts) > 2


def test_patches_of_one_slice_and_epoch_overlap_little() -> None:
    pairs = [scan("a", (1, 100, 100))]
    made = source(pairs, patches={"per_slice": 4, "max_overlap": 0.1})
    for epoch in range(20):
        sets = [set(restore(made.item(epoch, k)[0][0], pairs[0]).ravel()) for k in range(4)]
        for i, one in enumerate(sets):
            assert all(len(one & other) <= 0.1 * SIZE**2 for other in sets[:i])


def test_small_slices_are_padded_and_said_once() -> None:
    pair = scan("small", (2, 20, 50))
    with pytest.warns(OsteonWarning, match="slice-smaller-than-patch") as caught:
        made = source([pair])
    assert len(caught) == 1
    assert "small" in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image, labels = made.item(0, 0)
    assert (labels[20:] == 255).all()
    values = restore(image[0], pair)
    np.testing.assert_array_equal(values[:20] % 3, labels[:20])
    np.testing.assert_array_equal(values[20:], np.repeat(values[19:20], 12, axis=0))


def test_the_cache_saves_reads_and_keeps_its_bound() -> None:
    pair = scan("a", (4, 64, 64))
    nbytes = 64 * 64 * 3

    def voxels(cache_bytes: int) -> int:
        made = source([pair], cache_bytes=cache_bytes)
        pair.image.seen = 0
        for epoch in range(2):
            for index in range(len(made)):
                made.item(epoch, index)
        assert made._cache._held <= cache_bytes
        return pair.image.seen

    whole, patch = 64 * 64, SIZE**2
    assert voxels(4 * nbytes) == 4 * whole  # each slice once
    assert voxels(2 * nbytes) == 8 * whole  # each slice once an epoch: order is by slice
    assert voxels(nbytes - 1) == 24 * patch  # no slice fits: only patches are read


def test_what_is_handed_out_is_not_the_cache() -> None:
    made = source([scan("a", (1, 40, 40))], cache_bytes=10**6)
    image, labels = made.item(0, 0)
    labels[:] = 9
    image[:] = 9
    again = made.item(0, 0)
    assert (again[1] != 9).all()
    assert not (again[0] == 9).all()


def test_a_spawned_process_gets_the_same() -> None:
    pair = ruled("a", (2, 50, 50), 0)
    made = source([pair], preset="reference", cache_bytes=10**6, patches={"share": 1.0})
    expected = made.item(1, 2)
    assert made._places
    assert len(pickle.dumps(made._cache)) < 500
    assert made.__getstate__()["_places"] == {}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        image, labels = pool.submit(made.item, 1, 2).result(timeout=240)
    np.testing.assert_array_equal(image, expected[0])
    np.testing.assert_array_equal(labels, expected[1])


def test_parts_that_do_not_fit_are_refused() -> None:
    pair = scan("a", (4, 40, 40), labelled=(0, 1))
    with pytest.raises(UsageError, match="slice 2 of scan 'a', which has no labels"):
        source([pair], [Part("a", (1, 2))])
    with pytest.raises(UsageError, match="'b' that was not opened"):
        source([pair], [Part("b", (1,))])
    with pytest.raises(UsageError, match="no statistics of scan 'a' by the recipe"):
        source([pair], normalisation={"recipe": "reference-minmax-positive"})


@pytest.mark.parametrize("mode", ["2.5D", "3D"])
def test_slices_that_are_no_neighbours_are_refused_before_any_is_read(mode: str) -> None:
    pairs = [
        scan("good", (33, 40, 40)),
        scan("loose", (33, 40, 40), contiguous=False),
        scan("wild", (33, 40, 40), contiguous=False),
    ]
    statistics = scan_statistics(pairs, "zscore")
    for pair in pairs:
        pair.image.seen = 0
    check_mode(pairs, "2D")
    with pytest.raises(InputError) as caught:
        check_mode(pairs, mode)
    assert "loose, wild" in caught.value.what
    assert "good" not in caught.value.what
    assert "mode=2D" in str(caught.value.mend)
    settings = fit_settings(mode=mode)
    with pytest.raises(InputError, match="of: loose, wild"):
        patch_source(
            pairs,
            parts_of(pairs),
            settings=settings,
            statistics=statistics,
            labels=BONE_PORES,
            cache_bytes=0,
        )
    with pytest.raises(InputError, match="of: wild"):
        validation_tiles(
            pairs, parts_of(pairs)[2:], settings=settings, statistics=statistics, divisor=32
        )
    assert all(pair.image.seen == 0 and pair.labels.mask.seen == 0 for pair in pairs)


def test_the_mode_chooses_what_is_made() -> None:
    pairs = [scan("a", (40, 40, 48))]
    statistics = scan_statistics(pairs, "zscore")
    expected = {
        "2D": (SlicePatches, 120, (1, 32, 32), 40, (1, 64, 64)),
        "2.5D": (SlicePatches, 120, (5, 32, 32), 40, (5, 64, 64)),
        # 3 patches for 32 slices are 3.75 for 40; 40 slices fit into one block, 48 = 3 * 16.
        "3D": (BlockPatches, 4, (1, 32, 32, 32), 1, (1, 48, 64, 64)),
    }
    for mode, (kind, items, shape, tiles, tile) in expected.items():
        settings = fit_settings(mode=mode, patches={"slices": 5})
        made = patch_source(
            pairs,
            parts_of(pairs),
            settings=settings,
            statistics=statistics,
            labels=BONE_PORES,
            cache_bytes=0,
        )
        assert type(made) is kind
        assert len(made) == items
        assert made.item(0, 0)[0].shape == shape
        grid = validation_tiles(
            pairs,
            parts_of(pairs),
            settings=settings,
            statistics=statistics,
            divisor=32,
            depth_divisor=16,
        )
        assert isinstance(grid, GridTiles)
        assert len(grid) == tiles
        image, labels, _ = grid.item(0)
        assert image.shape == tile
        assert labels.shape == image.shape[-labels.ndim :]
    assert (
        validation_tiles([], [], settings=fit_settings(), statistics=statistics, divisor=32) is None
    )


def test_a_kind_of_patch_does_not_take_another_mode() -> None:
    with pytest.raises(UsageError, match="SlicePatches are not for mode=3D"):
        source([scan("a", (33, 40, 40))], mode="3D")
