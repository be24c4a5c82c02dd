from __future__ import annotations

import csv
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from osteon.errors import InputError, UsageError
from osteon.evaluation import Details, Pair, evaluate
from osteon.evaluation.comparing import Contender, compare, contender
from osteon.evaluation.significance import holm, paired_test
from osteon.volume import ArrayVolume, Geometry


def made(name: str, scores: dict[str, float], *, specimens: dict[str, str] | None = None):
    return Contender(
        name,
        {("iou", "bone"): scores, ("assd", "bone"): {s: 1 - v for s, v in scores.items()}},
        {"iou": "1", "assd": "um"},
        specimens or {s: s for s in scores},
        {s: (10, 5) for s in scores},
    )


def read(folder: Path, name: str, seed: int, labels_seed: int) -> Contender:
    pairs = []
    for index in range(3):
        rng = np.random.default_rng(seed + index)
        truth = rng.integers(0, 3, (4, 6, 7)).astype(np.uint8)
        keep = np.random.default_rng(labels_seed + index).random(truth.shape) < 0.8
        size = Geometry((10.0, 10.0, 10.0))
        labels = np.where(keep, truth, 0).astype(np.uint8)
        pairs.append(Pair(f"s{index}", ArrayVolume(truth, size), ArrayVolume(labels, size)))
    result = evaluate(pairs, what=Details())
    result.write_json(folder / f"{name}.json")
    return contender(name, json.loads((folder / f"{name}.json").read_text("utf-8")))


@pytest.mark.parametrize("n", [2, 3, 6, 11])
def test_sign_flip_agrees_with_scipy(n: int) -> None:
    values = np.random.default_rng(n).normal(0.3, 1, n)
    p, test = paired_test(values)
    other = stats.permutation_test(
        (values, np.zeros(n)), lambda a, b: np.mean(a - b), permutation_type="samples",
        n_resamples=np.inf,
    )  # fmt: skip
    assert p == pytest.approx(other.pvalue)
    assert test == "exact sign-flip"


def test_sign_flip_worked_by_hand_and_its_limits() -> None:
    # 1, 2, 3: of 8 signs only +++ and −−− reach |6|.
    assert paired_test([1, 2, 3])[0] == pytest.approx(2 / 8)
    assert paired_test([0.1, 0.2, 0.3, -0.1])[0] == pytest.approx(
        np.mean(
            [
                abs(np.dot(s, [0.1, 0.2, 0.3, -0.1])) >= 0.5 - 1e-9
                for s in itertools.product((1, -1), repeat=4)
            ]
        )
    )
    assert math.isnan(paired_test([0.4])[0])
    assert "one specimen" in paired_test([0.4])[1]
    assert paired_test([0, 0])[0] == 1
    many = np.random.default_rng(0).normal(0.2, 1, 20)
    assert paired_test(many) == (pytest.approx(stats.wilcoxon(many).pvalue), "Wilcoxon signed-rank")


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03, math.nan])[:3] == pytest.approx([0.03, 0.06, 0.06])
    assert math.isnan(holm([math.nan])[0])


def test_differences_are_paired_by_scan_whatever_the_order() -> None:
    a = made("a", {"x": 0.5, "y": 0.9, "only_a": 0.1})
    b = made("b", {"y": 0.95, "x": 0.6})
    result = compare([a, b])
    assert (result.scans, result.left_out) == (("x", "y"), ("only_a",))
    iou, assd = result.differences()
    assert iou["difference"] == pytest.approx((0.1 + 0.05) / 2)
    assert (iou["model"], iou["against"], iou["better"], iou["worse"]) == ("b", "a", 2, 0)
    assert (iou["low"], iou["high"]) == (pytest.approx(0.05), pytest.approx(0.1))
    assert iou["p"] == pytest.approx(0.5)
    assert (assd["difference"], assd["better"]) == (pytest.approx(-0.075), 2)  # less is better
    swapped = compare([b, a]).differences()[0]
    assert swapped["difference"] == pytest.approx(-float(iou["difference"]))
    assert swapped["p"] == iou["p"]
    assert any("no exact test can give a p below 0.5" in n for n in result.notes())
    assert any("only_a" in n for n in result.notes())


def test_the_unit_is_the_specimen() -> None:
    same = {"x": "S", "y": "S"}
    a = made("a", {"x": 0.5, "y": 0.9}, specimens=same)
    b = made("b", {"x": 0.6, "y": 0.9}, specimens=same)
    (iou, _) = compare([a, b]).differences()
    assert iou["difference"] == pytest.approx(0.05)
    assert math.isnan(iou["p"])
    assert math.isnan(iou["low"])
    assert any("one specimen only" in n for n in compare([a, b]).notes())


def test_evaluations_from_files(tmp_path: Path) -> None:
    a, b, c = (read(tmp_path, n, 0, s) for n, s in (("a", 10), ("b", 20), ("c", 30)))
    result = compare([a, b, c])
    metrics = {key[0] for key in result.compared()}
    assert {"iou", "dice", "fw_iou", "assd", "hd95", "nsd", "cldice", "objects_error"} <= metrics
    assert metrics.isdisjoint({"truth_voxels", "ignored_voxels", "surface_tolerance"})
    rows = [r for r in result.differences() if (r["metric"], r["class"]) == ("iou", "bone")]
    assert [(r["model"], r["against"]) for r in rows] == [("b", "a"), ("c", "a"), ("c", "b")]
    first, second, third = (float(r["difference"]) for r in rows)
    assert second == pytest.approx(first + third)
    result.write(tmp_path / "out")
    with open(tmp_path / "out" / "differences.csv", encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(result.differences())
    data = json.loads((tmp_path / "out" / "comparison.json").read_text("utf-8"))
    assert (data["kind"], data["schema"]) == ("comparison", 1)
    assert "3 evaluations were compared on the same 3 scans" in data["summary"][0]


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    a = made("a", {"x": 0.5})
    with pytest.raises(UsageError, match="two evaluations or more"):
        compare([a])
    with pytest.raises(UsageError, match="called 'a'"):
        compare([a, a])
    with pytest.raises(InputError, match="share no scan"):
        compare([a, made("b", {"y": 0.5})])
    with pytest.raises(InputError, match="another truth"):
        compare([read(tmp_path, "p", 0, 1), read(tmp_path, "q", 5, 1)])
    for data in ({}, {"kind": "fit"}, {"kind": "evaluation", "rows": 3, "scans": []}):
        with pytest.raises(InputError, match="not an evaluation"):
            contender("x", data)
