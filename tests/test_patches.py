from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osteon.errors import UsageError
from osteon.patches import overlap, pad_to, pad_to_multiple, random_boxes, tile_grid

sizes = st.tuples(st.integers(1, 300), st.integers(1, 300))


@settings(max_examples=200, deadline=None)
@given(sizes, st.sampled_from([1, 4, 16, 32]), st.integers(1, 5), st.integers(0, 40))
def test_cores_cover_once_and_reads_stay_within(
    shape: tuple[int, int], divisor: int, steps: int, halo: int
) -> None:
    size = -(-(2 * halo) // divisor) * divisor + steps * divisor
    covered = np.zeros(shape, int)
    for tile in tile_grid(shape, size=size, halo=halo, divisor=divisor):
        covered[tile.core] += 1
        for axis, n in enumerate(shape):
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


def test_nothing_is_cut_or_copied_without_need() -> None:
    array = np.zeros((3, 10, 4))
    assert pad_to(array, (8, 4)) is array
    assert pad_to(array, (8, 6)).shape == (3, 10, 6)
