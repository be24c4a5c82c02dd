from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from osteon.evaluation import Evaluation, Pair, evaluate
from osteon.evaluation.intervals import bootstrap, by_specimen, caution
from osteon.metrics import frequency_weighted_iou
from osteon.volume import ArrayVolume, Geometry


def volume(values: object) -> ArrayVolume:
    return ArrayVolume(np.asarray(values, np.uint8), Geometry((10.0, 10.0, 10.0)))


def evaluation() -> Evaluation:
    rng = np.random.default_rng(1)
    pairs = []
    for name, specimen in (("a1", "A"), ("a2", "A"), ("b", "B"), ("c", None)):
        truth = rng.integers(0, 3, (3, 6, 7))
        labels = np.where(rng.random(truth.shape) < 0.6, truth, 1)
        pairs.append(Pair(name, volume(truth), volume(labels), specimen=specimen))
    return evaluate(pairs)


def test_frequency_weighted_iou_worked_by_hand() -> None:
    # Truth 4 background, 2 bone; IoU 3/4 (3 of 4 found, none false) and 2/3 (both found, 1 false).
    assert frequency_weighted_iou(np.array([[3, 1], [0, 2]])) == pytest.approx(
        (4 * 3 / 4 + 2 * 2 / 3) / 6
    )
    # A class that is only predicted has no weight of its own.
    three = np.array([[3, 0, 1], [0, 2, 0], [0, 0, 0]])
    assert frequency_weighted_iou(three) == pytest.approx((4 * 3 / 4 + 2 * 1) / 6)
    assert math.isnan(frequency_weighted_iou(np.zeros((2, 2), np.int64)))


def test_interval_agrees_with_scipy_where_a_specimen_is_a_scan() -> None:
    values = np.random.default_rng(0).normal(0.8, 0.1, 12)
    found = bootstrap(values, [str(i) for i in range(12)], resamples=20_000)
    other = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=5
    ).confidence_interval
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(other, abs=0.003)  # noise of the resampling


def test_scans_of_one_specimen_stay_together() -> None:
    # Two specimens: every resample is A alone, B alone or both; A has three scans.
    found = bootstrap([0.2, 0.2, 0.2, 1.0], ["A", "A", "A", "B"])
    assert (found.low, found.high) == (pytest.approx(0.2), pytest.approx(1.0))
    assert (found.value, found.scans, found.specimens) == (pytest.approx(0.4), 4, 2)
    assert by_specimen([0.2, 0.4, math.nan, 1.0], ["A", "A", "A", "B"]) == {
        "A": (pytest.approx(0.3), 2),
        "B": (1.0, 1),
    }


def test_one_specimen_has_no_interval_and_few_are_said() -> None:
    found = bootstrap([0.2, 0.4, math.nan], ["A", "A", "B"])
    assert found.value == pytest.approx(0.3)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert found.specimens == 1
    assert "no interval" in caution(1)
    assert "few" in caution(5)
    assert "few" not in caution(10)


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(5)))
def test_order_of_scans_does_not_matter(order: list[int]) -> None:
    values, names = [0.1, 0.5, 0.3, 0.9, 0.7], ["A", "B", "A", "C", "D"]
    one = bootstrap(values, names, resamples=200)
    other = bootstrap([values[i] for i in order], [names[i] for i in order], resamples=200)
    assert (one.low, one.high) == pytest.approx((other.low, other.high))


def test_tables_of_specimens_and_intervals() -> None:
    result = evaluation()
    bone = [scan.scores["iou"][1] for scan in result.scans]
    rows = [r for r in result.specimen_table() if (r["class"], r["metric"]) == ("bone", "iou")]
    assert [(r["specimen"], r["n"]) for r in rows] == [("A", 2), ("B", 1), ("c", 1)]
    assert rows[0]["value"] == pytest.approx((bone[0] + bone[1]) / 2)
    (found,) = (r for r in result.intervals() if (r["class"], r["metric"]) == ("bone", "iou"))
    assert found["value"] == pytest.approx(np.mean(bone))
    assert found["low"] < found["value"] < found["high"]
    assert (found["scans"], found["specimens"]) == (4, 3)
    assert result.summary()["bone_iou_interval"] == [found["low"], found["high"]]
    fw = [r for r in result.table() if r["metric"] == "fw_iou"]
    assert [r["scan"] for r in fw] == ["a1", "a2", "b", "c", "mean over scans", "pooled over scans"]
    assert fw[0]["value"] == pytest.approx(frequency_weighted_iou(result.scans[0].confusion))
    assert fw[4]["value"] == pytest.approx(np.mean([r["value"] for r in fw[:4]]))
    assert any("3 specimens are few" in s for s in result.sentences())
