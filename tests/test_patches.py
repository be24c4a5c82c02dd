from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osteon.errors import UsageError
from osteon.patches import (
    Tile,
    blend_weights,
    neighbours,
    overlap,
    pad_to,
    pad_to_multiple,
    random_boxes,
    tile_grid,
)

sizes = st.tuples(st.integers(1, 300), st.integers(1, 300))


@st.composite
def grids(draw: st.DrawFn) -> tuple[tuple[int, ...], list[Tile], tuple[list[int], ...]]:
    """A shape in two or three dimensions, its tiles, and size, halo and divisor of each axis."""
    axes = draw(st.sampled_from([2, 3]))
    shape, size, halo, divisor = [], [], [], []
    for _ in range(axes):
        divisor.append(draw(st.sampled_from([1, 2, 4, 16])))
        halo.append(draw(st.integers(0, 12)))
        least = -(-(2 * halo[-1] + divisor[-1]) // divisor[-1]) * divisor[-1]
        size.append(least + draw(st.integers(0, 4)) * divisor[-1])
        shape.append(draw(st.integers(1, 120 if axes == 2 else 30)))
    made = tile_grid(shape, size=size, halo=halo, divisor=divisor)
    return tuple(shape), made, (size, halo, divisor)


@settings(max_examples=150, deadline=None)
@given(grids())
def test_cores_cover_once_and_reads_stay_within(grid) -> None:
    shape, tiles, numbers = grid
    covered = np.zeros(shape, int)
    for tile in tiles:
        covered[tile.core] += 1
        for axis, (n, size, halo, divisor) in enumerate(zip(shape, *numbers, strict=True)):
            read, core, inner = tile.read[axis], tile.core[axis], tile.inner[axis]
            assert 0 <= read.start < read.stop <= n
            assert read.stop - read.start <= size
            assert read.start % divisor == 0
            assert read.start <= core.start < core.stop <= read.stop
            # The halo is whole except at the edges of the slice.
            assert read.start == 0 or core.start - read.start >= halo
            assert read.stop == n or read.stop - core.stop >= halo
            assert (inner.start + read.start, inner.stop + read.start) == (core.start, core.stop)
    assert (covered == 1).all()


@settings(max_examples=80, deadline=None)
@given(grids(), st.floats(0, 1))
def test_weights_sum_to_one_and_give_a_constant_back(grid, part: float) -> None:
    shape, tiles, (_, halo, _) = grid
    width = [int(part * h) for h in halo]
    blended = np.zeros(shape, np.float32)
    for tile in tiles:
        weights = blend_weights(tile, shape, width=width)
        assert weights.dtype == np.float32
        assert weights.min() >= 0
        assert weights.max() <= 1
        blended[tile.read] += weights * np.float32(7)
    np.testing.assert_allclose(blended, 7, rtol=1e-6)


def test_weights_are_a_raised_cosine_by_hand() -> None:
    # Reads 0..12 and 8..20 of 20, meeting at 10: the transition over 2 on either side has its
    # voxel centres at 1/8, 3/8, 5/8, 7/8 of half a period.
    left, right = tile_grid((20,), size=12, halo=2)
    down = 0.5 + 0.5 * np.cos(np.pi * np.array([1, 3, 5, 7]) / 8)
    expected = np.concatenate([np.ones(8), down])
    np.testing.assert_allclose(blend_weights(left, (20,), width=2), expected, atol=1e-7)
    np.testing.assert_allclose(blend_weights(right, (20,), width=2), expected[::-1], atol=1e-7)
    hard = np.concatenate([np.ones(10), np.zeros(2)])
    np.testing.assert_array_equal(blend_weights(left, (20,), width=0), hard)
    with pytest.raises(UsageError, match="its halo is smaller"):
        blend_weights(left, (20,), width=3)


def test_weights_of_a_block_are_the_product_of_its_axes() -> None:
    tile = tile_grid((20, 20, 5), size=(12, 12, 8), halo=(2, 2, 0))[0]
    line = blend_weights(tile_grid((20,), size=12, halo=2)[0], (20,), width=2)
    expected = np.einsum("z,y,x->zyx", line, line, np.ones(5))
    np.testing.assert_allclose(
        blend_weights(tile, (20, 20, 5), width=(2, 2, 0)), expected, atol=1e-7
    )


def test_an_axis_that_fits_is_not_cut_whatever_the_halo() -> None:
    (tile,) = tile_grid((10, 60), size=(16, 64), halo=(8, 8), divisor=(16, 32))
    assert tile.read == tile.core == (slice(0, 10), slice(0, 60))


@pytest.mark.parametrize(
    ("z", "slices", "expected"),
    [
        (0, 1, [0]),
        (0, 3, [0, 0, 1]),
        (4, 3, [3, 4, 4]),
        (2, 5, [0, 1, 2, 3, 4]),
        (1, 7, [0, 0, 0, 1, 2, 3, 4]),
        (4, 9, [0, 1, 2, 3, 4, 4, 4, 4, 4]),
    ],
)
def test_neighbours_repeat_the_nearest_slice(z: int, slices: int, expected: list[int]) -> None:
    assert neighbours(z, 5, slices) == expected
    # The same by padding an axis with its edge.
    half = slices // 2
    padded = np.pad(np.arange(5), half, mode="edge")
    assert neighbours(z, 5, slices) == padded[z : z + slices].tolist()


@pytest.mark.parametrize(("z", "slices"), [(5, 3), (-1, 3), (2, 4), (2, 0)])
def test_neighbours_that_cannot_be_are_refused(z: int, slices: int) -> None:
    with pytest.raises(UsageError, match=f"slice {z} of 5"):
        neighbours(z, 5, slices)


def test_tiles_by_hand() -> None:
    # 10 columns, tiles of 6 with a halo of 1, so steps of 4: reads 0..6 and 4..10, meeting at 5.
    tiles = tile_grid((6, 10), size=6, halo=1)
    assert [t.read[1] for t in tiles] == [slice(0, 6), slice(4, 10)]
    assert [t.core[1] for t in tiles] == [slice(0, 5), slice(5, 10)]
    assert [t.inner[1] for t in tiles] == [slice(0, 5), slice(1, 6)]


def test_a_slice_that_fits_is_one_tile() -> None:
    (tile,) = tile_grid((60, 64), size=64, halo=8, divisor=32)
    assert tile.read == tile.core == (slice(0, 60), slice(0, 64))


@pytest.mark.parametrize(("size", "halo", "divisor"), [(64, 32, 1), (100, 8, 32), (64, 20, 32)])
def test_impossible_tiles_say_what_would_do(size: int, halo: int, divisor: int) -> None:
    with pytest.raises(UsageError) as error:
        tile_grid((500, 500), size=size, halo=halo, divisor=divisor)
    assert f"multiple of {divisor} and at least {2 * halo + divisor}" in str(error.value)


@given(sizes, st.integers(1, 64), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_boxes_lie_within(shape: tuple[int, int], size: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = random_boxes(shape, size=size, count=count, max_overlap=0.3, rng=rng)
    assert len(boxes) == count
    for corner in boxes:
        for start, n in zip(corner, shape, strict=True):
            assert start == 0 if n <= size else 0 <= start <= n - size


@given(st.integers(0, 2**32 - 1))
def test_boxes_overlap_no_more_than_asked(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = random_boxes((400, 400), size=64, count=6, max_overlap=0.1, rng=rng)
    for i, (ya, xa) in enumerate(boxes):
        for yb, xb in boxes[:i]:
            a, b = np.zeros((2, 400, 400), bool)
            a[ya : ya + 64, xa : xa + 64] = True
            b[yb : yb + 64, xb : xb + 64] = True
            assert (a & b).sum() / 64**2 <= 0.1
            assert overlap((ya, xa), (yb, xb), size=64) == (a & b).sum() / 64**2


@given(st.integers(0, 2**32 - 1))
def test_blocks_overlap_no_more_than_asked(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size, shape = (4, 12, 8), (20, 40, 40)
    boxes = random_boxes(shape, size=size, count=5, max_overlap=0.1, rng=rng)
    masks = []
    for corner in boxes:
        mask = np.zeros(shape, bool)
        mask[tuple(slice(a, a + n) for a, n in zip(corner, size, strict=True))] = True
        assert mask.sum() == np.prod(size)
        masks.append(mask)
    for i, one in enumerate(masks):
        for j, other in enumerate(masks[:i]):
            shared = (one & other).sum() / np.prod(size)
            assert shared <= 0.1
            assert overlap(boxes[i], boxes[j], size=size) == shared


@given(st.lists(st.integers(1, 30), min_size=2, max_size=3), st.integers(1, 12), st.data())
def test_boxes_around_voxels_hold_them(shape: list[int], size: int, data: st.DataObject) -> None:
    voxel = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    tries = []

    def around(attempt: int) -> tuple[int, ...]:
        tries.append(attempt)
        return voxel

    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    (corner,) = random_boxes(shape, size=size, count=1, max_overlap=0, rng=rng, around=around)
    assert tries == [0]
    for start, v, n in zip(corner, voxel, shape, strict=True):
        assert start <= v < start + size
        assert start == 0 if n <= size else 0 <= start <= n - size


def test_boxes_hold_a_voxel_at_every_offset_evenly() -> None:
    rng = np.random.default_rng(7)
    seen = np.zeros(9)
    for _ in range(3000):
        ((start,),) = random_boxes(
            (9,), size=3, count=1, max_overlap=1, rng=rng, around=lambda attempt: (4,)
        )
        seen[start] += 1
    assert seen[[0, 1, 5, 6, 7, 8]].sum() == 0
    # Chi-square with 2 degrees of freedom: 13.8 is its 99.9 % quantile.
    assert ((seen[2:5] - 1000) ** 2 / 1000).sum() < 13.8


def test_boxes_keep_off_earlier_ones() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        made = random_boxes((8, 40), size=8, count=1, max_overlap=0, rng=rng, earlier=[(0, 10)])
        assert len(made) == 1
        assert abs(made[0][1] - 10) >= 8


def test_any_place_is_taken_where_no_other_is_left() -> None:
    boxes = random_boxes((8, 8), size=8, count=3, max_overlap=0.0, rng=np.random.default_rng(0))
    assert boxes == [(0, 0)] * 3


def test_boxes_reach_every_place_evenly() -> None:
    rng = np.random.default_rng(5)
    starts = [
        random_boxes((12, 10), size=8, count=1, max_overlap=0, rng=rng)[0] for _ in range(6000)
    ]
    seen = np.zeros((5, 3))
    for y, x in starts:
        seen[y, x] += 1
    # Chi-square with 14 degrees of freedom: 36.1 is its 99.9 % quantile.
    assert ((seen - 400) ** 2 / 400).sum() < 36.1


@given(st.lists(st.integers(1, 20), min_size=2, max_size=4), st.integers(1, 32), st.booleans())
def test_padding_agrees_with_numpy(shape: list[int], divisor: int, edge: bool) -> None:
    array = np.arange(np.prod(shape)).reshape(shape)
    padded = pad_to_multiple(array, divisor, value=None if edge else -1)
    widths = [(0, 0)] * (len(shape) - 2) + [(0, -n % divisor) for n in shape[-2:]]
    expected = (
        np.pad(array, widths, mode="edge") if edge else np.pad(array, widths, constant_values=-1)
    )
    np.testing.assert_array_equal(padded, expected)


def test_padding_of_three_axes_agrees_with_numpy() -> None:
    array = np.arange(2 * 3 * 5 * 7).reshape(2, 3, 5, 7)
    padded = pad_to_multiple(array, (4, 8, 8))
    np.testing.assert_array_equal(padded, np.pad(array, [(0, 0), (0, 1), (0, 3), (0, 1)], "edge"))
    labels = pad_to(array[0], (4, 5, 9), value=255)
    expected = np.pad(array[0], [(0, 1), (0, 0), (0, 2)], constant_values=255)
    np.testing.assert_array_equal(labels, expected)


def test_nothing_is_cut_or_copied_without_need() -> None:
    array = np.zeros((3, 10, 4))
    assert pad_to(array, (8, 4)) is array
    assert pad_to(array, (8, 6)).shape == (3, 10, 6)
