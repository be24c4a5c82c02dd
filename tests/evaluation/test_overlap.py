from __future__ import annotations

import csv
import json
import math
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex

import osteon
from osteon.errors import ExitCode, InputError, OsteonWarning, OutputError, UsageError
from osteon.evaluation import (
    MEAN_SCANS,
    POOLED_SCANS,
    Evaluation,
    EvaluationStopped,
    Pair,
    evaluate,
    evaluate_pair,
)
from osteon.evaluation.stream import blocks
from osteon.evaluation.values import LabelReader
from osteon.events import Event, Reporter
from osteon.labels import BONE_PORES
from osteon.volume import Access, ArrayVolume, Geometry, Volume

BG, BONE, PORES = 0, 1, 2


def volume(values: object, dtype: str = "uint8", size: float | None = None) -> ArrayVolume:
    return ArrayVolume(np.asarray(values, dtype), Geometry((size, size, size)))


def random_pair(
    seed: int, shape: tuple[int, int, int] = (5, 8, 9)
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, shape).astype(np.uint8)
    labels = np.where(rng.random(shape) < 0.7, truth, rng.integers(0, 3, shape)).astype(np.uint8)
    truth[rng.random(shape) < 0.1] = 255
    return truth, labels


def pair(name: str, seed: int, **more: object) -> Pair:
    truth, labels = random_pair(seed)
    return Pair(name, volume(truth, size=10.0), volume(labels, size=10.0), **more)


def value(rows: list[dict], scan: str, name: str, metric: str) -> tuple[float, int]:
    found = [r for r in rows if (r["scan"], r["class"], r["metric"]) == (scan, name, metric)]
    assert len(found) == 1
    return found[0]["value"], found[0]["n"]


# Two slices worked by hand. Truth / labels:
#   z=0:  1 1 0 / 1 0 0      z=1:  2 2 255 / 2 1 1
HAND_TRUTH = [[[1, 1, 0]], [[2, 2, 255]]]
HAND_LABELS = [[[1, 0, 0]], [[2, 1, 1]]]


def test_counts_worked_by_hand() -> None:
    scan = evaluate_pair(volume(HAND_TRUTH, size=100.0), volume(HAND_LABELS), name="h")
    np.testing.assert_array_equal(scan.slices[0], [[1, 0, 0], [1, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(scan.slices[1], [[0, 0, 0], [0, 0, 0], [0, 1, 1]])
    assert scan.ignored == 1
    assert scan.scores["iou"] == pytest.approx([1 / 2, 1 / 3, 1 / 2])
    rows = Evaluation((scan,)).table()
    assert value(rows, "h", "mean", "iou") == (pytest.approx(4 / 9), 3)
    assert value(rows, "h", "bone", "dice") == (pytest.approx(1 / 2), 1)
    assert value(rows, "h", "bone", "truth_voxels") == (2, 1)
    assert value(rows, "h", "bone", "missed_voxels") == (1, 1)
    assert value(rows, "h", "bone", "false_voxels") == (1, 1)  # the one at 255 is not counted
    # A voxel of 100 µm is 0.001 mm³.
    assert value(rows, "h", "bone", "truth_mm3")[0] == pytest.approx(0.002)
    assert value(rows, "h", "all", "ignored_voxels") == (1, 1)


def test_slices_are_scored_for_themselves_but_never_averaged() -> None:
    # Bone: slice 0 has IoU 1 of 1 voxel, slice 1 has IoU 0 of 9 voxels. Summed: 1/10, not 1/2.
    truth, labels = np.zeros((2, 3, 3)), np.zeros((2, 3, 3))
    truth[0, 0, 0] = labels[0, 0, 0] = 1
    truth[1] = 1
    evaluation = evaluate([Pair("a", volume(truth), volume(labels))])
    assert evaluation.scans[0].slice_scores("iou")[:, BONE] == pytest.approx([1, 0])
    assert evaluation.mean("iou", "bone") == (pytest.approx(1 / 10), 1)


def test_mean_is_over_classes_then_scans_and_pooled_is_another_figure() -> None:
    # Scan a: 1 bone voxel of 4 found, no pores at all. Scan b: all 100 found, background too.
    a_truth, a_labels = np.zeros((1, 2, 4)), np.zeros((1, 2, 4))
    a_truth[0, 0], a_labels[0, 0, 0] = 1, 1
    b = np.zeros((1, 20, 10))
    b[0, :10], b[0, 10:12] = 1, 2
    evaluation = evaluate(
        [Pair("a", volume(a_truth), volume(a_labels)), Pair("b", volume(b), volume(b))]
    )
    rows = evaluation.table()
    assert value(rows, "a", "bone", "iou")[0] == pytest.approx(1 / 4)
    assert math.isnan(value(rows, "a", "pores", "iou")[0])
    assert value(rows, "a", "pores", "iou")[1] == 0
    # background of a: 4 right, 3 false → 4/7
    assert value(rows, "a", "mean", "iou") == (pytest.approx((4 / 7 + 1 / 4) / 2), 2)
    assert value(rows, MEAN_SCANS, "bone", "iou") == (pytest.approx((1 / 4 + 1) / 2), 2)
    assert value(rows, MEAN_SCANS, "pores", "iou") == (1.0, 1)
    expected = ((4 / 7 + 1 / 4) / 2 + 1) / 2
    assert value(rows, MEAN_SCANS, "mean", "iou") == (pytest.approx(expected), 2)
    assert value(rows, POOLED_SCANS, "bone", "iou")[0] == pytest.approx(101 / 104)
    assert evaluation.summary()["mean_iou"] == pytest.approx(expected)
    assert evaluation.summary()["bone_iou"] == pytest.approx(0.625)
    assert evaluation.summary()["pooled_bone_iou"] == pytest.approx(101 / 104)
    assert "pores is in neither truth nor labels" in " ".join(evaluation.notes())


def test_a_class_absent_in_truth_but_labelled_scores_zero_and_its_volume_is_said() -> None:
    truth, labels = np.zeros((1, 2, 5)), np.zeros((1, 2, 5))
    truth[0, 0] = labels[0, 0] = 1
    labels[0, 1, :2] = 2
    evaluation = evaluate([Pair("a", volume(truth, size=1000.0), volume(labels))])
    rows = evaluation.table()
    assert value(rows, "a", "pores", "iou") == (0.0, 1)
    assert value(rows, "a", "pores", "false_mm3")[0] == pytest.approx(2.0)
    assert any("labelled in 2 voxels (2 mm³)" in note for note in evaluation.notes())


def test_all_background_truth_is_defined() -> None:
    zeros = volume(np.zeros((1, 3, 3)))
    evaluation = evaluate([Pair("empty", zeros, zeros)])
    assert evaluation.mean("iou") == (1.0, 1)
    assert math.isnan(evaluation.summary()["bone_iou"])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_agrees_with_torchmetrics(seed: int) -> None:
    truth, labels = random_pair(seed)
    scan = evaluate_pair(volume(truth), volume(labels))
    args = torch.from_numpy(labels).long(), torch.from_numpy(truth).long()
    matrix = MulticlassConfusionMatrix(3, ignore_index=255)(*args)
    np.testing.assert_array_equal(scan.confusion, matrix.numpy())
    macro = MulticlassJaccardIndex(3, average="macro", ignore_index=255)(*args)
    assert Evaluation((scan,)).mean("iou")[0] == pytest.approx(float(macro), rel=1e-6)


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(4)))
def test_order_of_scans_does_not_matter(order: list[int]) -> None:
    pairs = [pair(f"s{i}", i) for i in range(4)]
    straight = evaluate(pairs).summary()
    shuffled = evaluate([pairs[i] for i in order]).summary()
    for key in ("mean_iou", "bone_iou", "pooled_mean_iou", "pooled_bone_iou"):
        assert shuffled[key] == pytest.approx(straight[key], rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4000), st.integers(1, 4))
def test_slabs_equal_the_whole(slab_bytes: int, chunk: int) -> None:
    truth, labels = random_pair(5, (7, 6, 11))
    a, b = volume(truth), volume(labels)
    a.chunks = (chunk, 6, 11)
    got = evaluate_pair(a, b, slab_bytes=slab_bytes)
    np.testing.assert_array_equal(got.slices, evaluate_pair(a, b, slab_bytes=10**9).slices)


@settings(max_examples=50, deadline=None)
@given(st.tuples(*[st.integers(1, 9)] * 3), st.integers(1, 2000), st.integers(1, 5))
def test_blocks_tile_the_volume_within_memory(shape, slab_bytes, chunk) -> None:
    v = volume(np.zeros(shape))
    v.chunks = (chunk, *shape[1:])
    readers = tuple(LabelReader(v, scheme=BONE_PORES, remap=None, role="labels") for _ in "ab")
    seen = np.zeros(shape[:2], int)
    cut = list(blocks(readers, slab_bytes=slab_bytes))
    for z, y in cut:
        seen[z, y] += 1
        rows = (z.stop - z.start) * (y.stop - y.start)
        assert rows == 1 or rows * shape[2] * 2 <= slab_bytes
    assert (seen == 1).all()
    assert all(a[0].start <= b[0].start for a, b in pairwise(cut))


class Generated(Volume):
    """A volume that is computed as it is read, so that it takes no memory itself."""

    def __init__(self, depth: int, seed: int):
        self.path, self.shape = Path(f"generated-{seed}"), (depth, 512, 512)
        self.dtype, self.geometry = np.dtype("uint8"), Geometry()
        self.access, self.chunks, self.provenance = Access.RANDOM, (1, 512, 512), {}
        self.seed = seed

    def read(self, z: slice, y: slice = slice(None), x: slice = slice(None)) -> np.ndarray:
        z, y, x = self.bounds(z, y, x)
        out = np.full((z.stop - z.start, y.stop - y.start, x.stop - x.start), self.seed, np.uint8)
        out[:, ::3] = 1
        return out


def test_memory_does_not_grow_with_the_scan() -> None:
    slab = 4 * 2**20
    peaks = []
    for depth in (16, 64, 256):
        tracemalloc.start()
        evaluate_pair(Generated(depth, 0), Generated(depth, 2), slab_bytes=slab)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert max(peaks) < slab + 2 * 2**20
    assert peaks[2] - peaks[0] < 2**17  # 240 slices more, 72 bytes each, and noise


def test_remap_of_truth_and_labels() -> None:
    truth = volume([[[0, 128, 255, 7]]], "uint16")
    labels = volume([[[10, 20, 20, 20]]], "int32")
    scan = evaluate_pair(
        truth,
        labels,
        remap={0: "background", 128: "pores", 255: "bone", 7: "ignore"},
        labels_remap={10: "background", 20: "bone"},
    )
    np.testing.assert_array_equal(scan.confusion, [[1, 0, 0], [0, 1, 0], [0, 1, 0]])
    assert scan.ignored == 1


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int64", "float32", "float64"])
def test_whole_numbers_of_any_type_are_labels(dtype: str) -> None:
    scan = evaluate_pair(volume(HAND_TRUTH, dtype), volume(HAND_LABELS, dtype))
    np.testing.assert_array_equal(scan.confusion, [[1, 0, 0], [1, 1, 0], [0, 1, 1]])


def test_truth_and_bool_labels_of_two_classes() -> None:
    labels = ArrayVolume(np.array([[[True, False]]]))
    scan = evaluate_pair(volume([[[1, 1]]]), labels)
    np.testing.assert_array_equal(scan.confusion, [[0, 0, 0], [1, 1, 0], [0, 0, 0]])


@pytest.mark.parametrize(
    ("truth", "labels", "says", "mends"),
    [
        (
            [[[0, 1]]],
            [[[0, 255]]],
            r"labels holds values .* found 0, 255",
            "--labels-remap 0=background --labels-remap 255=bone",
        ),
        (
            [[[0, 128, 255]]],
            [[[0, 1, 1]]],
            r"truth holds values .* found 0, 128, 255",
            "--remap 0=background --remap 128=bone --remap 255=pores",
        ),
        (
            [[[0, 1, 1, 1]]],
            [[[3, 9, 40, 200]]],
            r"found 3, 9, 40, 200",
            "--labels-remap 3=background --labels-remap 200=bone …",
        ),
        (
            [[[0, 255]]],
            [[[0, 1]]],
            "looks like a 0/255 mask",
            "--remap 0=background --remap 255=bone, or --remap 0=background --remap 255=ignore",
        ),
        ([[[255, 255]]], [[[0, 1]]], "no labelled voxel", "map its values"),
    ],
)
def test_values_that_are_no_class(truth, labels, says, mends) -> None:
    with pytest.raises(InputError, match=says) as caught:
        evaluate_pair(volume(truth), volume(labels))
    assert mends in (caught.value.mend or "")


def test_values_found_in_earlier_slices_are_named_too() -> None:
    labels = volume([[[0, 0]], [[1, 255]]])
    with pytest.raises(InputError, match="found 0, 1, 255"):
        evaluate_pair(volume(np.zeros((2, 1, 2))), labels, slab_bytes=1)


def test_an_unlabelled_background_truth_can_be_meant() -> None:
    remap = {0: "background", 255: "ignore"}
    scan = evaluate_pair(volume([[[0, 255]]]), volume([[[0, 1]]]), remap=remap)
    assert scan.scores["iou"][BG] == 1


@pytest.mark.parametrize(
    ("labels", "dtype", "says"),
    [
        ([[[0.5, 1]]], "float32", "not whole numbers"),
        ([[[np.nan, 1]]], "float32", "not whole numbers"),
        ([[[-1, 1]]], "int16", r"span -1\.\.1"),
        ([[[0, 70_000]]], "int32", r"span 0\.\.70000"),
        ([[[0, 1j]]], "complex64", "its type is complex64"),
        ([[[0, 1_000]]], "uint16", "found 0, 1000"),
    ],
)
def test_what_is_no_label_volume(labels, dtype, says) -> None:
    with pytest.raises(InputError, match=says):
        evaluate_pair(volume([[[0, 1]]]), volume(labels, dtype))


def test_remaps_that_cannot_be() -> None:
    a = volume([[[0, 1]]])
    with pytest.raises(InputError, match="value 1, which the remap does not name"):
        evaluate_pair(a, a, remap={0: "background"})
    with pytest.raises(UsageError, match="no class 'bones'"):
        evaluate_pair(a, a, remap={0: "bones"})
    with pytest.raises(UsageError, match="cannot hold the value -1"):
        evaluate_pair(a, a, remap={-1: "bone"})
    with pytest.raises(UsageError, match="predicted labels cannot be ignored"):
        evaluate_pair(a, a, labels_remap={0: "ignore"})


@pytest.mark.parametrize(
    ("shape", "mend"),
    [
        ((4, 3, 2), "axes z and x of one swapped"),
        ((2, 4, 3), "axes y and x of one swapped"),
        ((3, 4, 2), "labels taken in the order (x, z, y)"),
        ((2, 3, 5), "truth of the same scan"),
    ],
)
def test_shapes_that_differ(shape, mend) -> None:
    with pytest.raises(InputError) as caught:
        evaluate_pair(volume(np.zeros((2, 3, 4))), volume(np.zeros(shape)))
    assert f"(2, 3, 4) and {shape}" in caught.value.what
    assert mend in caught.value.mend
    if "order" in mend:
        assert np.zeros(shape).transpose(2, 0, 1).shape == (2, 3, 4)


def test_voxel_sizes() -> None:
    a, near = volume([[[0, 1]]], size=10.0), volume([[[0, 1]]], size=10.05)
    assert evaluate_pair(a, near).voxel_size == (10.0, 10.0, 10.0)
    assert evaluate_pair(volume([[[0, 1]]]), a).voxel_size == (10.0, 10.0, 10.0)
    with pytest.warns(OsteonWarning, match="voxel-size-mismatch"):
        evaluate_pair(a, volume([[[0, 1]]], size=10.2))


def test_unknown_voxel_size_is_said_and_gives_no_volumes() -> None:
    evaluation = evaluate([Pair("a", volume([[[0, 1]]]), volume([[[0, 1]]]))])
    assert {r["unit"] for r in evaluation.table()} == {"1", "voxels"}
    assert evaluation.notes()[-1].startswith("a: the voxel size is unknown")
    one = volume([[[0, 1]]])
    both = evaluate([Pair("a", one, one), Pair("b", one, one)]).notes()
    assert [n for n in both if "size" in n] == [
        "all scans: the voxel size is unknown; volumes are in voxels."
    ]


def test_progress_and_stop() -> None:
    events: list[Event] = []
    reporter = Reporter(events.append)
    truth, labels = random_pair(0)
    evaluate_pair(volume(truth), volume(labels), reporter=reporter, slab_bytes=200)
    assert (events[-1].kind, events[-1].step, events[-1].total) == ("end", 5, 5)
    reporter.stop.request()
    with pytest.raises(EvaluationStopped) as caught:
        evaluate_pair(volume(truth), volume(labels), reporter=reporter)
    assert caught.value.exit_code is ExitCode.INTERRUPTED


def test_csv_and_json_hold_the_table(tmp_path: Path) -> None:
    truth, labels = np.zeros((1, 2, 3)), np.zeros((1, 2, 3))
    truth[0, 0] = labels[0, 0] = 1
    evaluation = evaluate(
        [Pair("no pores, ünï", volume(truth), volume(labels)), pair("b", 1, specimen="B")]
    )
    evaluation.write_csv(tmp_path / "e.csv")
    evaluation.write_json(tmp_path / "new" / "e.json")
    with open(tmp_path / "e.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    table = evaluation.table()
    assert len(rows) == len(table)
    for got, want in zip(rows, table, strict=True):
        assert got["scan"] == want["scan"]
        if math.isnan(want["value"]):
            assert (got["value"], got["n"]) == ("", "0")
        else:
            assert float(got["value"]) == want["value"]

    def refuse(constant: str) -> None:
        raise AssertionError(constant)  # NaN is no JSON

    data = json.loads((tmp_path / "new" / "e.json").read_text("utf-8"), parse_constant=refuse)
    assert (data["kind"], data["schema"], data["osteon"]) == ("evaluation", 1, osteon.__version__)
    assert None in [row["value"] for row in data["rows"]]
    assert [scan["specimen"] for scan in data["scans"]] == ["no pores, ünï", "B"]
    assert data["scans"][0]["confusion"] == evaluation.scans[0].confusion.tolist()
    assert data["summary"]["mean_iou"] == evaluation.summary()["mean_iou"]


def test_the_table_of_slices() -> None:
    evaluation = evaluate([Pair("h", volume(HAND_TRUTH), volume(HAND_LABELS))])
    rows = {(row["z"], row["class"]): row for row in evaluation.slice_table()}
    bone, pores = rows[0, "bone"], rows[0, "pores"]
    assert list(bone) == [
        "scan", "z", "class", "metric", "value", "truth_voxels", "predicted_voxels",
    ]  # fmt: skip
    assert list(bone.values()) == ["h", 0, "bone", "iou", 0.5, 2, 1]
    assert math.isnan(float(str(pores.pop("value"))))
    assert list(pores.values()) == ["h", 0, "pores", "iou", 0, 0]


def test_existing_output_is_kept(tmp_path: Path) -> None:
    evaluation = evaluate([pair("a", 0)])
    target = tmp_path / "e.csv"
    target.write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        evaluation.write_csv(target)
    assert target.read_text() == "mine"
    evaluation.write_csv(target, overwrite=True)
    assert target.read_text().startswith("scan,class,metric,value,unit,n\n")
    assert [p.name for p in tmp_path.iterdir()] == ["e.csv"]
    with pytest.raises(OutputError, match="cannot be written"):
        evaluation.write_csv(target / "below-a-file.csv")


def test_printed_table() -> None:
    text = evaluate([Pair("h", volume(HAND_TRUTH), volume(HAND_LABELS))]).format_table()
    assert text.splitlines()[0].split() == [
        "scan", "mean", "IoU", "IoU", "background", "IoU", "bone", "IoU", "pores",
        "mean", "Dice", "Dice", "bone",
    ]  # fmt: skip
    figures = ["0.4444", "0.5000", "0.3333", "0.5000", "0.6111", "0.5000"]
    assert text.splitlines()[1].split() == ["h", *figures]
    two = evaluate([pair("a", 0), pair("b", 1)])
    lines = two.format_table().splitlines()
    assert lines[3].startswith("mean over scans")
    assert f"{two.summary()['mean_iou']:.4f}" in lines[3]
    assert f"{two.summary()['pooled_mean_iou']:.4f}" in lines[4]


def test_nothing_or_twice_the_same_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing to evaluate"):
        evaluate([])
    with pytest.raises(UsageError, match="two scans are called 'a'"):
        evaluate([pair("a", 0), pair("a", 1)])
    with pytest.raises(UsageError, match="pooled over scans"):
        evaluate([pair("pooled over scans", 0)])
    empty = ArrayVolume(np.zeros((0, 2, 2), np.uint8))
    with pytest.raises(InputError, match="are empty"):
        evaluate_pair(empty, empty)


def test_typical_slices_are_chosen_by_rule() -> None:
    # Bone IoU by slice: 1, 1/2, 3/4, 0 (of one voxel: too few to be typical), none.
    truth, labels = np.zeros((5, 4, 4)), np.zeros((5, 4, 4))
    for z, found in enumerate([4, 2, 3]):
        truth[z, 0], labels[z, 0, :found] = 1, 1
    truth[:3] = np.repeat(truth[:3, :1], 4, axis=1)
    labels[:3] = np.repeat(labels[:3, :1], 4, axis=1)
    truth[3, 0, 0] = 1
    scan = evaluate_pair(volume(truth), volume(labels))
    assert [z for z, _ in scan.typical_slices()] == [2, 1]
    assert "median bone IoU" in scan.typical_slices()[0][1]
    assert [z for z, _ in scan.typical_slices("pores")] == [0]
    assert "truth has no pores" in scan.typical_slices("pores")[0][1]


def test_headline_in_words() -> None:
    evaluation = evaluate([pair("a", 0, specimen="X"), pair("b", 1, specimen="X")])
    bone = [scan.scores["iou"][BONE] for scan in evaluation.scans]
    words = " ".join(evaluation.sentences())
    assert "2 scans of 1 specimen were compared" in words
    assert f"({int(evaluation.pooled.sum()):,} voxels)" in words
    assert f"Bone IoU is {np.mean(bone):.3f} (lowest {min(bone):.3f}, highest" in words
    empty = evaluate([Pair("e", volume([[[0]]]), volume([[[0]]]))])
    assert "no bone" in empty.sentences()[1]
