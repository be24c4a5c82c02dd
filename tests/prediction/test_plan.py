"""What is planned fits into the memory, or the message says what would."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from osteon import prediction
from osteon.errors import UsageError
from osteon.files import parse_memory
from osteon.prediction import plan_prediction, predict
from osteon.volume import ArrayVolume

from .faking import DIVISOR, MODEL, SPEC, FakeBackend, MemoryWriter, noise


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2GiB", 2 * 2**30),
        ("2 gib", 2 * 2**30),
        ("800MB", 800 * 10**6),
        ("800 M", 800 * 10**6),
        ("1.5kB", 1500),
        ("64KiB", 65536),
        ("123", 123),
        ("123 B", 123),
        (" 0.5GiB ", 2**29),
    ],
)
def test_an_amount_of_memory_is_understood(text: str, expected: int) -> None:
    assert parse_memory(text) == expected


@pytest.mark.parametrize("text", ["", "much", "GiB", "-1GiB", "0", "0MB", "1,5GB", "1e9"])
def test_what_is_no_amount_of_memory_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not an amount of memory") as caught:
        parse_memory(text)
    assert "2GiB" in str(caught.value.mend)


def test_the_memory_of_whole_slices_by_hand() -> None:
    # 300 × 500 px of uint16: (2 + 4 + 1) bytes, three slices; 320 × 512 padded px of 800 bytes.
    volume = ArrayVolume(np.zeros((5, 300, 500), np.uint16))
    expected = 300 * 500 * 7 * 3 + 320 * 512 * 800
    backend = FakeBackend(bytes_per_pixel=800)
    plan = plan_prediction(volume, backend, spec=SPEC, memory=expected)
    assert (plan.tile, plan.tiles, plan.memory) == (None, 1, expected)


@given(
    height=st.integers(1, 3000),
    width=st.integers(1, 3000),
    memory=st.integers(1, 2**31),
    cost=st.sampled_from([1, 40, 800, 5000]),
    dtype=st.sampled_from(["uint8", "float32"]),
)
@hypothesis_settings(max_examples=150, deadline=None)
def test_a_plan_fits_into_the_memory_or_says_what_would_do(
    height: int, width: int, memory: int, cost: int, dtype: str
) -> None:
    # A scan that need not exist: one voxel, seen as many.
    volume = ArrayVolume(np.broadcast_to(np.zeros((), dtype), (2, height, width)))
    backend = FakeBackend(bytes_per_pixel=cost)

    def planned(amount: int) -> prediction.PredictPlan:
        return plan_prediction(volume, backend, spec=SPEC, memory=amount)

    try:
        plan = planned(memory)
    except UsageError as error:
        found = re.search(r"at least \d+ MiB: --memory (\w+)", str(error.mend))
        assert found is not None
        enough = parse_memory(found[1])
        assert enough > memory
        assert planned(enough).memory <= enough
        assume(enough > 2**20)
        with pytest.raises(UsageError):  # and not much less would
            planned(enough - 2**20)
    else:
        assert plan.memory <= memory
        assert plan.tile is None or plan.tile % DIVISOR == 0


def test_too_little_memory_stops_before_anything_is_written() -> None:
    scan = noise((2, 131, 257))
    writer = MemoryWriter(scan.shape)
    with pytest.raises(UsageError, match="131 × 257 do not fit") as caught:
        predict(MODEL, ArrayVolume(scan), writer, backend=FakeBackend(), memory=10_000)
    # Whole slices: 131 * 257 * 7 * 3 + 160 * 288 * 100 bytes = 5.07 MiB; less than a tile.
    assert caught.value.mend == "allow at least 5 MiB: --memory 6MiB"
    assert writer.slices == []
