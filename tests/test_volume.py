"""Geometry and the volume in memory, against cases worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from osteon.errors import InputError, UsageError
from osteon.volume import ArrayVolume, Geometry

TURN = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0))  # a quarter turn about z


def test_a_part_lies_where_its_first_voxel_lay() -> None:
    geometry = Geometry((10.0, 2.0, 3.0), (100.0, 200.0, 300.0), TURN)
    # 4 slices up: +40 in z. 5 rows (10 µm) run along x, 7 columns (21 µm) against y.
    part = geometry.shifted((4, 5, 7))
    assert part.origin == (140.0, 179.0, 310.0)
    assert (part.voxel_size, part.direction) == (geometry.voxel_size, TURN)


def test_an_unknown_size_counts_as_one_micrometre() -> None:
    assert Geometry((None, 2.0, 2.0)).shifted((3, 1, 0)).origin == (3.0, 2.0, 0.0)
    assert not Geometry((None, 2.0, 2.0)).known
    assert Geometry((1.0, 2.0, 2.0)).known


@pytest.mark.parametrize("size", [0.0, -1.0, math.nan, math.inf])
def test_a_voxel_size_is_positive(size: float) -> None:
    with pytest.raises(UsageError, match="voxel size"):
        Geometry((1.0, size, 1.0))


def test_blocks_are_copies() -> None:
    array = np.arange(24).reshape(2, 3, 4)
    block = ArrayVolume(array).read(slice(1, 2), slice(0, 2), slice(1, 3))
    assert block.tolist() == [[[13, 14], [17, 18]]]
    block[:] = 0
    assert array[1, 0, 1] == 13


def test_two_axes_are_one_slice_and_four_are_refused() -> None:
    assert ArrayVolume(np.zeros((3, 4))).shape == (1, 3, 4)
    with pytest.raises(InputError, match="3 axes"):
        ArrayVolume(np.zeros((1, 2, 3, 4)))


def test_the_size_in_memory() -> None:
    assert ArrayVolume(np.zeros((2, 3, 4), np.uint16)).nbytes == 48


@pytest.mark.parametrize(
    "z",
    [slice(0, 3), slice(-1, 2), slice(0, 2, 2), slice(2, 1)],
    ids=["long", "minus", "step", "back"],
)
def test_ranges_outside_are_refused(z: slice) -> None:
    with pytest.raises(UsageError, match="cannot read z"):
        ArrayVolume(np.zeros((2, 3, 4))).read(z)
