from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osteon.datasets import GridTiles, Pair, Part, scan_statistics
from osteon.errors import UsageError

from .voxels import fit_settings, parts_of, places, restore, scan


def grid(pairs: list[Pair], parts: list[Part] | None = None, *, mode="2D", patches=None, **more):
    return GridTiles(
        pairs,
        parts or parts_of(pairs),
        settings=fit_settings(mode=mode, patches=patches or {}),
        statistics=scan_statistics(pairs, "zscore"),
        **more,
    )


def counted(made: GridTiles, pair: Pair) -> np.ndarray:
    """How often each voxel is measured; labels and image go together."""
    where = places(pair)
    measured = np.zeros(pair.image.shape, int)
    for index in range(len(made)):
        image, labels, _ = made.item(index)
        middle = image[0] if labels.ndim == 3 else image[len(image) // 2]
        values = restore(middle, pair)
        keep = labels != 255
        np.testing.assert_array_equal(values[keep] % 3, labels[keep])
        np.add.at(measured, tuple(where[values[keep]].T), 1)
    return measured


def test_validation_takes_whole_slices_padded() -> None:
    pairs = [scan("a", (3, 40, 70), labelled=(0, 2)), scan("b", (1, 32, 32), seed=1)]
    made = grid(pairs)
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
    with pytest.raises(IndexError):
        made.item(3)


@pytest.mark.parametrize("mode", ["2D", "2.5D"])
def test_large_slices_are_cut_and_measured_once(mode: str) -> None:
    pair = scan("a", (3, 150, 170), labelled=(0, 2))
    made = grid([pair], mode=mode, tile=64, most=150 * 170 - 1)
    for index in range(len(made)):
        image, labels, _ = made.item(index)
        assert max(labels.shape) <= 64
        assert all(n % 32 == 0 for n in labels.shape)
        assert image.shape == (1 if mode == "2D" else 3, *labels.shape)
    assert (counted(made, pair) == np.array([1, 0, 1])[:, None, None]).all()
    first, again = made.item(3), made.item(3)
    np.testing.assert_array_equal(first[0], again[0])


def test_slices_are_measured_with_their_neighbours_in_the_scan() -> None:
    pair = scan("a", (9, 36, 40), slices=(1, 9))
    made = grid([pair], [Part("a", (1, 5, 8))], mode="2.5D", patches={"slices": 5})
    expected = [[1, 1, 1, 2, 3], [3, 4, 5, 6, 7], [6, 7, 8, 8, 8]]
    for index, slices in enumerate(expected):
        image, labels, _ = made.item(index)
        assert image.shape == (5, 64, 64)
        np.testing.assert_array_equal(restore(image, pair)[:, :36, :40], pair.image.array[slices])
        np.testing.assert_array_equal(labels[:36, :40], pair.image.array[slices[2]] % 3)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_blocks_measure_every_labelled_voxel_once(data) -> None:
    depth = data.draw(st.integers(1, 150))
    shape = (depth, data.draw(st.integers(2, 130)), data.draw(st.integers(1, 40)))
    labelled = sorted(data.draw(st.sets(st.integers(0, depth - 1), min_size=1, max_size=12)))
    divisor = data.draw(st.sampled_from([(1, 1, 1), (4, 16, 16), (32, 32, 32), (1, 32, 32)]))
    pair = scan("a", shape, labelled=labelled)
    most = data.draw(st.sampled_from([None, 48 * 96 * 96, 1]))
    made = grid([pair], mode="3D", divisor=divisor, most=most)
    expected = np.zeros(depth, int)
    expected[labelled] = 1
    assert (counted(made, pair) == expected[:, None, None]).all()
    for index in range(len(made)):
        image, labels, _ = made.item(index)
        assert image.shape == (1, *labels.shape)
        assert all(n % d == 0 for n, d in zip(labels.shape, divisor, strict=True))
        assert (labels != 255).any()


def test_blocks_have_context_on_all_sides() -> None:
    pair = scan("a", (120, 150, 150))
    made = grid([pair], mode="3D", divisor=(1, 32, 32), most=48 * 128 * 128)
    where = places(pair)
    for index in range(len(made)):
        image, labels, _ = made.item(index)
        found = where[restore(image[0], pair)]
        read = [(int(f.min()), int(f.max())) for f in np.moveaxis(found, -1, 0)]
        core = found[labels != 255]
        for axis, (n, halo) in enumerate(zip(pair.image.shape, (8, 32, 32), strict=True)):
            first, last = core[:, axis].min(), core[:, axis].max()
            assert read[axis][0] == 0 or first - read[axis][0] >= halo
            assert read[axis][1] == n - 1 or read[axis][1] - last >= halo
        assert image.size <= 48 * 128 * 128


def test_blocks_without_a_slice_to_be_measured_are_not_run() -> None:
    pair = scan("a", (200, 40, 40))
    # Blocks of 48 slices with a halo of 8 keep 0..40, 40..72, 72..104 ... of the scan.
    made = grid([pair], [Part("a", (5, 39, 100))], mode="3D", divisor=(1, 32, 32))
    assert len(made) == 2
    pair.image.slices.clear()
    for index in range(2):
        made.item(index)
    assert pair.image.slices == {*range(48), *range(64, 112)}


def test_blocks_keep_to_the_manifests_range_of_slices() -> None:
    pair = scan("a", (60, 33, 33), slices=(10, 45))
    made = grid([pair], mode="3D", divisor=1)
    expected = np.zeros(60, int)
    expected[10:45] = 1
    assert (counted(made, pair) == expected[:, None, None]).all()
    pair.image.slices.clear()
    for index in range(len(made)):
        made.item(index)
    assert pair.image.slices == set(range(10, 45))


def test_parts_that_do_not_fit_are_refused() -> None:
    pair = scan("a", (4, 40, 40), labelled=(0, 1))
    with pytest.raises(UsageError, match="slice 3 of scan 'a', which has no labels"):
        grid([pair], [Part("a", (3,))])
