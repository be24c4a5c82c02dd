from __future__ import annotations

import math

import numpy as np
import pytest

from osteon.errors import OsteonWarning, Stopped, UsageError
from osteon.evaluation import Details, Evaluation, Pair, evaluate
from osteon.evaluation import details as module
from osteon.events import Reporter
from osteon.tables.metrics import METRICS
from osteon.volume import ArrayVolume, Geometry

UM = (20.0, 10.0, 10.0)


def volume(values: object, size: tuple[float | None, ...] = UM) -> ArrayVolume:
    return ArrayVolume(np.asarray(values, np.uint8), Geometry(size))  # type: ignore[arg-type]


def judged(
    truth: object, labels: object, *, size=UM, contiguous: bool = True, **more: object
) -> Evaluation:
    pair = Pair("s", volume(truth, size), volume(labels, size), contiguous=contiguous)
    return evaluate([pair], what=Details(**more))  # type: ignore[arg-type]


def value(result: Evaluation, metric: str, name: str = "bone", scan: str = "s") -> float:
    (found,) = (
        r for r in result.table() if (r["scan"], r["class"], r["metric"]) == (scan, name, metric)
    )
    return float(str(found["value"]))


def ladder(rungs: int = 3) -> np.ndarray:
    """Two rails along z joined by rungs: rungs − 1 tunnels."""
    out = np.zeros((20, 9, 20), np.uint8)
    out[2:18, 4, 4] = out[2:18, 4, 15] = 1
    for z in np.linspace(3, 16, rungs).astype(int):
        out[z, 4, 4:16] = 1
    return out


def test_a_lost_rung() -> None:
    result = judged(ladder(3), ladder(2))
    assert [value(result, f"{r}_connectivity") for r in ("truth", "predicted")] == [2, 1]
    assert value(result, "conn_d_error") == pytest.approx(-0.5)
    assert [value(result, f"{r}_euler") for r in ("truth", "predicted")] == [-1, 0]
    assert value(result, "euler_error") == 1
    assert value(result, "objects_error") == 0
    assert value(result, "centreline_found") < 1
    assert value(result, "centreline_right") == 1
    assert value(result, "nsd") < 1
    assert value(result, "surface_tolerance", "all") == 20  # the largest side of a voxel, in µm


def test_perfect_labels_score_best_in_every_row_of_the_table() -> None:
    truth = ladder()
    truth[5:9, 6:8, 6:9] = 2
    result = judged(truth, truth)
    for row in METRICS:
        name = "all" if row.capabilities["per"] == "scan" else "bone"
        assert value(result, row.name, name) == row.capabilities["best"], row.name


def test_means_over_scans_and_units_that_do_not_mix() -> None:
    truth, labels = ladder(), np.roll(ladder(), 1, axis=1)
    pairs = [
        Pair("a", volume(truth), volume(labels)),
        Pair("b", volume(truth), volume(truth)),
    ]
    both = evaluate(pairs, what=Details())
    assert value(both, "assd", scan="mean over scans") == pytest.approx(
        value(both, "assd", scan="a") / 2
    )
    assert value(both, "assd", scan="a") > 0
    unknown = Pair("c", volume(truth, (None,) * 3), volume(labels, (None,) * 3))
    mixed = evaluate([*pairs, unknown], what=Details())
    rows = [r for r in mixed.table() if r["metric"] == "assd" and r["scan"] == "mean over scans"]
    assert rows == []  # µm and voxels do not average
    assert value(mixed, "assd", scan="c") < 2


def test_unknown_voxel_size_gives_voxels_and_says_so() -> None:
    truth, labels = ladder(), np.roll(ladder(), 1, axis=1)
    result = judged(truth, labels, size=(None, None, None))
    units = {r["unit"] for r in result.table() if r["metric"] in {"assd", "hd95"}}
    assert units == {"voxels"}
    assert value(result, "surface_tolerance", "all") == 1
    assert any("distances are in voxels" in n for n in result.notes())
    with pytest.raises(UsageError, match="needs a known voxel size"):
        judged(truth, labels, size=(None, None, None), tolerance_um=10.0)


def test_voxel_sizes_that_differ_are_warned_of_and_the_truth_wins() -> None:
    truth, labels = ladder(), np.roll(ladder(), 1, axis=1)
    with pytest.warns(OsteonWarning, match="voxel sizes"):
        result = evaluate(
            [Pair("s", volume(truth), volume(labels, (50.0,) * 3))], what=Details(topology=False)
        )
    assert value(result, "hd95") == pytest.approx(10)  # one voxel along y, of the truth's 10 µm


@pytest.mark.parametrize("contiguous", [True, False])
def test_empty_classes_no_overlap_and_one_voxel(contiguous: bool) -> None:
    nothing, one = np.zeros((6, 7, 8)), np.zeros((6, 7, 8))
    one[1, 2, 2] = 1
    other = np.zeros_like(one)
    other[1, 2, 6] = 1
    absent = judged(nothing, nothing, contiguous=contiguous)
    for metric in ("assd", "hd95", "nsd", "cldice"):
        assert math.isnan(value(absent, metric))
    assert value(absent, "truth_objects") == value(absent, "predicted_objects") == 0
    false = judged(nothing, one, contiguous=contiguous)
    assert value(false, "nsd") == value(false, "cldice") == value(false, "iou") == 0
    assert math.isnan(value(false, "assd"))
    assert value(false, "objects_error") == 1
    assert any("no counterpart" in n for n in false.notes())
    apart = judged(one, other, contiguous=contiguous)
    assert value(apart, "iou") == value(apart, "nsd") == 0
    assert value(apart, "assd") == value(apart, "hd95") == pytest.approx(40)
    assert value(apart, "objects_error") == 0


def test_slices_that_are_no_neighbours() -> None:
    truth = np.zeros((3, 8, 8))
    truth[:, 2:4, 2:4] = 1  # one object in space, three in slices
    result = judged(truth, truth, contiguous=False, size=(None, 10.0, 10.0))
    assert value(result, "truth_objects") == 3
    assert {r["metric"] for r in result.table()}.isdisjoint({"conn_d_error"})
    assert value(result, "surface_tolerance", "all") == 10  # z is unknown and does not count
    assert any("not contiguous" in n for n in result.notes())


def test_voxels_without_true_label_are_no_objects() -> None:
    truth, labels = np.zeros((4, 8, 8)), np.zeros((4, 8, 8))
    truth[:, :4, :], truth[:, 5:, :] = 255, 1
    labels[:, :3, :3], labels[:, 5:, :] = 1, 1
    result = judged(truth, labels)
    assert value(result, "predicted_objects") == 1
    assert value(result, "assd") == 0


def test_too_large_for_centre_lines_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CENTRELINE_VOXELS", 100)
    result = judged(ladder(), ladder())
    assert "cldice" not in {r["metric"] for r in result.table()}
    assert any("were not computed" in n for n in result.notes())


def test_it_can_be_stopped() -> None:
    reporter = Reporter()

    def listen(event: object) -> None:
        if getattr(event, "stage", "") == "topology":
            reporter.stop.request()

    reporter = Reporter(listen, reporter.stop)
    with pytest.raises(Stopped):
        evaluate([Pair("s", volume(ladder()), volume(ladder()))], what=Details(), reporter=reporter)
