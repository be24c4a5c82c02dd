from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.measure import euler_number, label

from osteon.evaluation.topology import (
    Centrelines,
    euler_2d,
    topology,
    topology_of_slices,
)


def run(mask: np.ndarray, *, slices: int | None = None, purify: bool = True):
    mask = mask.astype(bool)
    size = 16 * mask.shape[1] * mask.shape[2] * (slices or mask.shape[0])
    return topology(lambda a, b: mask[a:b], mask.shape, purify=purify, slab_bytes=size)


def purified_connections(mask: np.ndarray) -> int:
    """1 − χ of the largest object with its cavities filled, by scikit-image and SciPy."""
    labels = label(mask, connectivity=3)
    largest = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    return 1 - euler_number(ndimage.binary_fill_holes(largest), connectivity=3)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.1, 0.3, 0.5, 0.8]), st.sampled_from([1, 2, 3, 9]))
def test_agrees_with_scikit_image_whatever_the_slabs(seed: int, share: float, slices: int) -> None:
    mask = np.random.default_rng(seed).random((9, 8, 7)) < share
    found = run(mask, slices=slices)
    assert found.objects == label(mask, connectivity=3).max()
    assert found.euler == euler_number(mask, connectivity=3)
    sizes = np.bincount(label(mask, connectivity=3).ravel())[1:]
    assert found.largest == sizes.max()
    if np.count_nonzero(sizes == sizes.max()) == 1:  # else which is the largest is open
        assert found.connectivity == purified_connections(mask)


def test_structures_across_three_slabs() -> None:
    # A frame of 12 beams has 5 tunnels; a hollow box one cavity; both cross all slabs.
    mask = np.zeros((12, 12, 30), bool)
    frame = np.ones((12, 12, 12), bool)
    for axis in range(3):
        window = [slice(2, -2)] * 3
        window[axis] = slice(None)
        frame[tuple(window)] = False
    mask[:, :, :12] = frame
    mask[1:11, 1:11, 14:24], mask[3:9, 3:9, 16:22] = True, False
    mask[5, 5, 28] = True
    for slices in (1, 4, 12):
        found = run(mask, slices=slices)
        assert (found.objects, found.euler) == (3, (1 - 5) + 2 + 1)
        assert found.connectivity in {5, 0}
    # The box is larger; without it the frame is purified.
    assert run(mask[:, :, :12], slices=4).connectivity == 5
    assert run(mask[:, :, 12:], slices=4).connectivity == 0  # the cavity is filled


def test_voxels_joined_by_a_corner_are_one_object() -> None:
    mask = np.zeros((4, 3, 3), bool)
    mask[1, 0, 0] = mask[2, 1, 1] = True
    assert run(mask, slices=2).objects == 1
    assert run(mask, slices=1).euler == 1


def test_nothing_and_everything_and_one_voxel() -> None:
    empty = run(np.zeros((3, 4, 5)))
    assert (empty.objects, empty.euler, empty.largest, empty.connectivity) == (0, 0, 0, 0)
    full = run(np.ones((3, 4, 5)), slices=1)
    assert (full.objects, full.euler, full.largest, full.connectivity) == (1, 1, 60, 0)
    one = np.zeros((3, 3, 3))
    one[1, 1, 1] = 1
    assert run(one).objects == run(one).euler == 1
    assert run(one, purify=False).connectivity is None


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_slices_by_themselves(seed: int) -> None:
    mask = np.random.default_rng(seed).random((4, 9, 8)) < 0.4
    found = topology_of_slices(lambda a, b: mask[a:b], 4)
    assert found.objects == sum(label(s, connectivity=2).max() for s in mask)
    assert found.euler == sum(euler_number(s, connectivity=2) for s in mask)
    assert [euler_2d(s) for s in mask] == [euler_number(s, connectivity=2) for s in mask]
    assert found.connectivity is None


def test_a_rod_that_is_lost_and_one_that_is_invented() -> None:
    truth, labels = np.zeros((9, 9, 40), bool), np.zeros((9, 9, 40), bool)
    truth[3:6, 3:6, 2:38] = True
    labels[3:6, 3:6, 2:20] = True  # half of the rod
    lines = Centrelines()
    lines.add(truth, labels)
    found, right, both = lines.scores()
    assert found == pytest.approx(0.5, abs=0.06)  # the ends of centre-lines are a voxel shorter
    assert right == 1
    assert both == pytest.approx(2 * found / (found + 1))
    swapped = Centrelines()
    swapped.add(labels, truth)
    assert swapped.scores() == (right, found, both)


def test_centre_lines_of_slices_are_added_up_and_absent_classes_are_defined() -> None:
    line = np.zeros((5, 12), bool)
    line[2, 1:11] = True
    lines = Centrelines()
    assert all(math.isnan(v) for v in lines.scores())
    lines.add(line, line)
    lines.add(line, np.zeros_like(line))
    assert (lines.found * 2, lines.right) == (lines.truth, lines.labels)
    nothing = Centrelines()
    nothing.add(line, np.zeros_like(line))
    assert nothing.scores() == (0, 0, 0)
