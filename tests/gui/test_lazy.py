"""Arrays that read where they are looked at."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from osteon.napari.lazy import Disagreement, LazyArray
from osteon.volume import ArrayVolume


class Counted(ArrayVolume):
    reads: int = 0

    def read(self, z: slice, y: slice = slice(None), x: slice = slice(None)) -> Any:
        self.reads += 1
        return super().read(z, y, x)


@pytest.fixture
def data() -> np.ndarray:
    return np.arange(5 * 6 * 7, dtype=np.uint16).reshape(5, 6, 7)


@pytest.mark.parametrize(
    "key",
    [
        0, -1, slice(1, 3), (2,), (2, slice(1, 4)), (slice(None), 3), (slice(None), slice(None), 4),
        Ellipsis, (Ellipsis, 2), (1, Ellipsis, slice(0, 5, 2)),
        (slice(None, None, 2), 1, slice(2, 2)), (slice(4, 1, -1), slice(None, None, -1)),
        (np.int64(3), slice(1, None)), (slice(4, None, -3), 0),
    ],
)  # fmt: skip
def test_an_index_gives_what_numpy_gives(data: np.ndarray, key: Any) -> None:
    found = LazyArray(ArrayVolume(data))[key]
    np.testing.assert_array_equal(found, data[key])


def test_an_index_outside_is_an_error(data: np.ndarray) -> None:
    with pytest.raises(IndexError):
        LazyArray(ArrayVolume(data))[5]


def test_a_row_of_chunks_is_read_once(data: np.ndarray) -> None:
    volume = Counted(data)
    volume.chunks = (4, 6, 7)
    lazy = LazyArray(volume)
    for z in (0, 1, 3, 2, 0):
        np.testing.assert_array_equal(lazy[z], data[z])
    assert volume.reads == 1
    np.testing.assert_array_equal(lazy[4], data[4])
    assert volume.reads == 2


def test_what_is_kept_is_limited(data: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osteon.napari.lazy.KEPT_BYTES", 2 * 6 * 7 * 2)  # two slices
    volume = Counted(data)
    lazy = LazyArray(volume)
    for z in (0, 1, 2, 0):
        lazy[z]
    assert volume.reads == 4


def test_disagreement_is_the_truth_where_labels_differ() -> None:
    truth = np.array([[[0, 1, 2, 255, 1]]], np.uint8)
    labels = np.array([[[0, 2, 1, 1, 1]]], np.uint8)
    found = Disagreement(truth, labels)
    assert found[0, 0].tolist() == [0, 2, 3, 0, 0]
    assert np.asarray(found).shape == (1, 1, 5)
