"""The order of patches: every one once an epoch, whatever the batches and processes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osteon.training.parallel import ALONE, Place
from osteon.training.stream import Order


def order(items: int, batch: int, accumulate: int, total: int, place: Place = ALONE) -> Order:
    return Order(items, batch_size=batch, accumulate=accumulate, seed=5, total=total, place=place)


@given(
    items=st.integers(1, 40),
    batch=st.integers(1, 8),
    accumulate=st.integers(1, 3),
    world=st.integers(1, 3),
)
def test_all_processes_together_see_every_patch_once_an_epoch(
    items: int, batch: int, accumulate: int, world: int
) -> None:
    steps = math.ceil(items / (batch * accumulate))
    streams = [
        list(order(items, batch, accumulate, 2 * steps, Place(rank, world, rank, world)))
        for rank in range(world)
    ]
    # All make the same number of steps, none of them empty, or the others would wait for ever.
    assert {len(s) for s in streams} == {2 * steps * accumulate}
    assert all(batch for stream in streams for batch in stream)
    for epoch in range(2):
        seen = [key for s in streams for batch in s for key in batch if key[0] == epoch]
        assert {index for _, index in seen} == set(range(items))
        # Some repeat only where a step has fewer patches than two (or one) for each share.
        last = items - (steps - 1) * batch * accumulate
        least = min(2, max(1, batch // world))
        if last >= accumulate * world * least and batch >= world * least:
            assert len(seen) == items


def test_the_order_differs_by_epoch_and_seed_and_is_the_same_again() -> None:
    def indexes(seed: int) -> list[int]:
        keys = Order(12, batch_size=4, accumulate=1, seed=seed, total=6)
        return [index for batch in keys for _, index in batch]

    first = indexes(1)
    assert first == indexes(1)
    assert first[:12] != first[12:]
    assert first != indexes(2)


@pytest.mark.parametrize("position", [1, 3, 4, 7])
def test_from_a_position_on_it_is_what_it_would_have_been(position: int) -> None:
    whole = list(order(10, 2, 2, 9))
    later = order(10, 2, 2, 9)
    later.position = position
    assert list(later) == whole[2 * position :]


def test_accumulated_batches_are_the_batches_of_a_larger_step() -> None:
    large = list(order(16, 8, 1, 2))
    small = list(order(16, 4, 2, 2))
    assert [large[i] for i in (0, 1)] == [small[0] + small[1], small[2] + small[3]]
