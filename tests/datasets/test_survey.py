from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from osteon.datasets import (
    Part,
    Survey,
    class_weights,
    content_hash,
    empty_slices,
    survey,
)
from osteon.datasets.manifest import ScanRow
from osteon.datasets.masks import MaskVolume, Pair
from osteon.errors import InputError, OsteonWarning, Stopped, UsageError
from osteon.events import Event, Reporter
from osteon.labels import BONE_PORES, IGNORE
from osteon.volume import Array, ArrayVolume, Volume

from .conftest import phantom

IMAGE, LABELS = phantom()
SHA = "0" * 64


def made(counts: list[list[int]]) -> Survey:
    return Survey(SHA, SHA, np.array(counts, dtype=np.int64))


def expected_counts(labels: np.ndarray) -> list[list[int]]:
    return [[int(np.count_nonzero(page == k)) for k in range(3)] for page in labels]


# --- the pass over a scan -----------------------------------------------------------------


def test_hashes_and_counts_of_a_scan(pair) -> None:
    labels = LABELS.copy()
    labels[2, :5] = IGNORE
    labels[4] = IGNORE
    scan = pair(IMAGE, labels, remap={"255": "ignore"})
    found = survey(scan, classes=3)
    assert found.image_hash == content_hash(scan.image)
    assert found.label_hash == content_hash(scan.labels)
    assert found.hashes == {"image": found.image_hash, "labels": found.label_hash}
    assert found.class_counts.dtype == np.int64
    assert found.class_counts.tolist() == expected_counts(labels)
    labelled = [int((page != IGNORE).sum()) for page in labels]
    assert found.labelled_voxels.tolist() == labelled
    assert labelled[2] < labelled[1]
    assert labelled[4] == 0


def test_a_cropped_mask_of_some_slices(pair) -> None:
    scan = pair(IMAGE, LABELS[1:3], mask_slices=[1, 4], remap={"2": "ignore"})
    found = survey(scan, classes=3)
    assert found.label_hash == content_hash(scan.labels)
    expected = np.zeros((6, 3), int)
    expected[[1, 4], :2] = np.array(expected_counts(LABELS[1:3]))[:, :2]
    assert found.class_counts.tolist() == expected.tolist()


def test_a_scan_without_a_mask(pair) -> None:
    found = survey(pair(IMAGE), classes=3)
    assert found.image_hash == content_hash(ArrayVolume(IMAGE))
    assert found.label_hash is None
    assert found.hashes == {"image": found.image_hash}
    assert found.class_counts.tolist() == [[0, 0, 0]] * 6
    assert empty_slices(found) == frozenset()


def test_a_slice_larger_than_what_is_counted_at_a_time(pair) -> None:
    labels = np.random.default_rng(0).integers(0, 3, (1, 500, 700), dtype=np.uint8)
    assert survey(pair(labels, labels), classes=3).class_counts.tolist() == expected_counts(labels)


def test_the_counts_cannot_be_changed_by_accident() -> None:
    with pytest.raises(ValueError, match="read-only"):
        made([[1, 2, 3]]).class_counts[0, 0] = 5


class Logged(Volume):
    """Each slice counts how often it is read, and is made when it is."""

    def __init__(self, shape: tuple[int, int, int], value: int = 0):
        self.shape, self.dtype = shape, np.dtype(np.uint8)
        self.path, self.value = Path("made.raw"), value
        self.reads: list[tuple[int, int]] = []

    def read(self, z: slice, y: slice = slice(None), x: slice = slice(None)) -> Array:
        self.reads.append((z.start, z.stop))
        return np.full((z.stop - z.start, *self.shape[1:]), self.value, np.uint8)


def logged(shape: tuple[int, int, int], value: int = 0) -> tuple[Pair, Logged, Logged]:
    row = ScanRow(name="one", specimen="one", image="a", mask="b")
    image, labels = Logged(shape), Logged(shape, value)
    return Pair(row, image, labels), image, labels  # type: ignore[arg-type]


def test_every_slice_is_read_once() -> None:
    scan, image, labels = logged((7, 4, 4))
    survey(scan, classes=3)
    assert image.reads == labels.reads == [(z, z + 1) for z in range(7)]


def test_memory_does_not_grow_with_the_number_of_slices() -> None:
    slice_bytes = 1000 * 1000
    peaks = []
    for depth in (2, 12):
        scan, _, _ = logged((depth, 1000, 1000))
        tracemalloc.start()
        survey(scan, classes=3)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
    assert peaks[1] < 5 * slice_bytes


def test_a_value_beyond_the_classes_is_refused(pair) -> None:
    with pytest.raises(InputError, match="the labels have 2, which is none of 2 classes") as error:
        survey(pair(IMAGE, LABELS), classes=2)
    assert "slice 0" in str(error.value.where)


def test_one_stage_tells_the_slices() -> None:
    events: list[Event] = []
    scan, _, _ = logged((5, 4, 4))
    survey(scan, classes=3, reporter=Reporter(events.append))
    assert {event.stage for event in events} == {"survey"}
    assert [event.kind for event in events if event.kind != "progress"] == ["start", "end"]
    assert (events[-1].step, events[-1].total, events[-1].unit) == (5, 5, "slice")


def test_it_stops_between_slices() -> None:
    scan, image, labels = logged((50, 4, 4))

    def listener(event: Event) -> None:
        if event.kind == "progress":
            reporter.stop.request()

    reporter = Reporter(listener)
    with pytest.raises(Stopped) as error:
        survey(scan, classes=3, reporter=reporter)
    assert error.value.what == "stopped before the first step; nothing was written"
    assert len(image.reads) == len(labels.reads) == 1


def test_a_damaged_file_says_so(pair) -> None:
    scan = pair(IMAGE, LABELS)
    Path(scan.image.path, "0003.tif").write_bytes(b"II*\0")
    with pytest.raises(InputError, match="0003"):
        survey(scan, classes=3)


# --- weights ------------------------------------------------------------------------------


def test_weights_by_hand() -> None:
    # 60, 30 and 10 voxels: 1/60 : 1/30 : 1/10 = 1 : 2 : 6, of which the mean is 3.
    found = {"a": made([[40, 10, 4], [99, 99, 99]]), "b": made([[20, 20, 6]])}
    parts = (Part("a", (0,)), Part("b", (0,)))
    assert class_weights(found, parts, 3) == pytest.approx((1 / 3, 2 / 3, 2), rel=1e-12)


def test_a_class_that_does_not_occur_weighs_1_and_is_named() -> None:
    # Of the others: 1 : 3, of which the mean is 2.
    with pytest.warns(OsteonWarning, match=r"class 1 .* \[class-without-voxels\]"):
        weights = class_weights({"a": made([[30, 0, 10]])}, (Part("a", (0,)),), 3)
    assert weights == pytest.approx((0.5, 1, 1.5))


@given(counts=st.lists(st.integers(1, 10**12), min_size=2, max_size=8))
@hypothesis_settings(deadline=None)
def test_weights_even_out_the_classes(counts: list[int]) -> None:
    weights = class_weights({"a": made([counts])}, (Part("a", (0,)),), len(counts))
    assert np.mean(weights) == pytest.approx(1)
    shares = np.array(weights) * counts
    np.testing.assert_allclose(shares, shares[0], rtol=1e-9)


def test_weights_that_cannot_be_had() -> None:
    found = {"a": made([[1, 2, 3], [0, 0, 0]])}
    with pytest.raises(UsageError, match="'b' was not surveyed"):
        class_weights(found, (Part("b", (0,)),), 3)
    with pytest.raises(UsageError, match="for 3 classes, not 4"):
        class_weights(found, (Part("a", (0,)),), 4)
    with pytest.raises(UsageError, match=r"slices 0\.\.2 of scan 'a', which has 2"):
        class_weights(found, (Part("a", (0, 2)),), 3)
    for parts in ((Part("a", (1,)),), (Part("a", ()),), ()):
        with pytest.raises(InputError, match="no voxel is labelled"):
            class_weights(found, parts, 3)


def test_weights_of_a_scan_that_was_surveyed(pair) -> None:
    found = survey(pair(IMAGE, LABELS), classes=3)
    weights = class_weights({"one": found}, (Part("one", (1, 3)),), 3)
    voxels = np.bincount(LABELS[[1, 3]].ravel())
    expected = (voxels.sum() / voxels) / (voxels.sum() / voxels).mean()
    assert weights == pytest.approx(tuple(expected))


# --- slices without anything --------------------------------------------------------------


def test_slices_that_are_all_background(pair) -> None:
    labels = LABELS.copy()
    labels[1] = 0
    labels[3] = 0
    labels[3, 0, 0] = 1
    labels[4] = IGNORE
    labels[5] = 0
    labels[5, :20] = IGNORE
    found = survey(pair(IMAGE, labels, remap={"255": "ignore"}), classes=3)
    assert empty_slices(found) == frozenset({1, 5})


# --- in a file ----------------------------------------------------------------------------


@pytest.mark.parametrize("masked", [True, False])
def test_it_comes_back_from_json(pair, masked: bool) -> None:
    found = survey(pair(IMAGE, LABELS if masked else None), classes=3)
    again = Survey.from_dict(json.loads(json.dumps(found.as_dict())))
    assert (again.image_hash, again.label_hash) == (found.image_hash, found.label_hash)
    np.testing.assert_array_equal(again.class_counts, found.class_counts, strict=True)
    assert (again.label_hash is not None) == masked


WRONG: list[dict[str, Any]] = [
    {"image": 5},
    {"image": "abc"},
    {"labels": "../../etc"},
    {"class_counts": []},
    {"class_counts": 5},
    {"class_counts": [[1, 2], [3]]},
    {"class_counts": [[1, -2]]},
    {"class_counts": [[1, 2.5]]},
    {"class_counts": [[1, True]]},
    {"class_counts": [[1, 2**70]]},
    {"class_counts": [["1", "2"]]},
    {"class_counts": [1, 2]},
]


@pytest.mark.parametrize("change", WRONG, ids=str)
def test_a_wrong_entry_is_an_error(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="the survey cannot be read"):
        Survey.from_dict({**made([[1, 2, 3]]).as_dict(), **change})


@pytest.mark.parametrize("entry", ["image", "class_counts"])
def test_a_missing_entry_is_named(entry: str) -> None:
    data = made([[1, 2, 3]]).as_dict()
    del data[entry]
    with pytest.raises(InputError, match=f"it has no '{entry}'"):
        Survey.from_dict(data)


def test_labels_that_wrap_another_grid_keep_their_hash() -> None:
    # A mask volume's own hash is of the labels on the image's grid, in uint8, whatever the file is.
    row = ScanRow(name="one", specimen="one", image="a", mask="b")
    labels = MaskVolume(
        ArrayVolume(LABELS.astype(np.int32)),
        LABELS.shape,  # type: ignore[arg-type]
        ArrayVolume(IMAGE).geometry,
        BONE_PORES,
        row,
        tuple(range(6)),
    )
    scan = Pair(row, ArrayVolume(IMAGE), labels)
    assert survey(scan, classes=3).label_hash == content_hash(ArrayVolume(LABELS))
    assert survey(replace(scan, labels=None), classes=3).label_hash is None
