from __future__ import annotations

import multiprocessing
import pickle
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from osteon.datasets import GridTiles, Pair, Part, ScanRow, SlicePatches, scan_statistics
from osteon.datasets.masks import MaskVolume
from osteon.errors import OsteonWarning, UsageError
from osteon.labels import BONE_PORES
from osteon.settings import PatchSettings
from osteon.volume import ArrayVolume

SIZE = 32


class Counting(ArrayVolume):
    """Counts the voxels that are read."""

    seen = 0

    def read(self, z, y=slice(None), x=slice(None)):
        block = super().read(z, y, x)
        self.seen += block.size
        return block


def scan(name: str, shape: tuple[int, int, int], *, seed: int = 0, labelled=None) -> Pair:
    """Every voxel of the image tells its place; labels follow from it by a rule."""
    rng = np.random.default_rng(seed)
    image = rng.permutation(np.prod(shape)).reshape(shape).astype(np.uint16) + 1
    row = ScanRow(name=name, specimen=name, image="i", mask="m")
    source = tuple(z if labelled is None or z in labelled else -1 for z in range(shape[0]))
    volume = Counting(image)
    labels = MaskVolume(
        ArrayVolume((image % 3).astype(np.uint8)), shape, volume.geometry, BONE_PORES, row, source
    )
    return Pair(row, volume, labels)


def source(pairs: list[Pair], parts: list[Part] | None = None, **more) -> SlicePatches:
    settings = more.pop("patches", None) or PatchSettings(size=SIZE, per_slice=3)
    return SlicePatches(
        pairs,
        parts or [Part(p.name, p.labelled) for p in pairs],
        patches=settings,
        statistics=scan_statistics(pairs, "zscore"),
        recipe="zscore",
        **more,
    )


def restore(image: np.ndarray, pair: Pair) -> np.ndarray:
    """Stored grey values of a normalised patch."""
    s = scan_statistics([pair], "zscore")[pair.name]
    return np.rint(image.astype(np.float64) * s.std + s.mean).astype(int)


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


def test_an_item_depends_on_seed_epoch_and_index_alone() -> None:
    pairs = [scan("a", (4, 90, 90))]

    def items(order: list[tuple[int, int]], seed: int = 5, cache: int = 10**6):
        made = source(pairs, seed=seed, augmentation="reference", cache_bytes=cache)
        return {key: made.item(*key) for key in order}

    keys = [(epoch, index) for epoch in range(3) for index in range(12)]
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
    settings = PatchSettings(size=SIZE, per_slice=4, max_overlap=1)
    made = source([scan("a", (1, SIZE, SIZE))], patches=settings, augmentation="reference")
    seen = {made.item(epoch, k)[1].tobytes() for epoch in range(2) for k in range(4)}
    firsts = {made.item(epoch, 0)[1].tobytes() for epoch in range(8)}
    assert len({made.item(0, k)[0].tobytes() for k in range(4)}) > 1
    assert len(seen) > 2
    assert len(firsts) > 2


def test_patches_of_one_slice_and_epoch_overlap_little() -> None:
    pairs = [scan("a", (1, 100, 100))]
    made = source(pairs, patches=PatchSettings(size=SIZE, per_slice=4, max_overlap=0.1))
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
    pair = scan("a", (2, 50, 50))
    # The counting volume of this file could not be imported in the other process.
    pair = Pair(pair.row, ArrayVolume(pair.image.array), pair.labels)
    made = source([pair], augmentation="reference", cache_bytes=10**6)
    expected = made.item(1, 2)
    assert len(pickle.dumps(made._cache)) < 500
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
        SlicePatches(
            [pair],
            [Part("a", (0,))],
            patches=PatchSettings(size=SIZE),
            statistics=scan_statistics([pair], "zscore"),
            recipe="reference-minmax-positive",
        )


def grid(pairs: list[Pair], **more) -> GridTiles:
    return GridTiles(
        pairs,
        [Part(p.name, p.labelled) for p in pairs],
        statistics=scan_statistics(pairs, "zscore"),
        recipe="zscore",
        **more,
    )


def test_validation_takes_whole_slices_padded() -> None:
    pairs = [scan("a", (3, 40, 70), labelled=(0, 2)), scan("b", (1, 32, 32), seed=1)]
    made = grid(pairs, size=256)
    assert len(made) == 3
    assert made.scans == ("a", "b")
    for index, (z, name) in enumerate([(0, 0), (2, 0), (0, 1)]):
        image, labels, number = made.item(index)
        pair = pairs[name]
        height, width = pair.image.shape[1:]
        assert number == name
        assert labels.shape == image.shape[1:] == (-(-height // 32) * 32, -(-width // 32) * 32)
        stored = pair.image.array[z]
        np.testing.assert_array_equal(restore(image[0], pair)[:height, :width], stored)
        np.testing.assert_array_equal(labels[:height, :width], stored % 3)
        assert (labels[height:] == 255).all()
        assert (labels[:, width:] == 255).all()
        np.testing.assert_array_equal(
            image[0, height:, :width],
            image[0, height - 1, :width][None].repeat(len(image[0]) - height, 0),
        )


def test_large_slices_are_cut_and_measured_once() -> None:
    pair = scan("a", (2, 150, 170))
    made = grid([pair], size=64, max_pixels=150 * 170 - 1)
    measured = np.zeros(pair.image.shape, int)
    places = {int(v): i for i, v in enumerate(pair.image.array.ravel())}
    for index in range(len(made)):
        image, labels, _ = made.item(index)
        assert max(labels.shape) <= 64
        assert all(n % 32 == 0 for n in labels.shape)
        values = restore(image[0], pair)
        keep = labels != 255
        np.testing.assert_array_equal(values[keep] % 3, labels[keep])
        np.add.at(measured.reshape(-1), [places[v] for v in values[keep]], 1)
    assert (measured == 1).all()
    first, again = made.item(3), made.item(3)
    np.testing.assert_array_equal(first[0], again[0])
