from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from osteon.errors import InputError
from osteon.settings import FitSettings
from osteon.studies.collecting import collect
from osteon.studies.folder import StudyFolder
from osteon.studies.hardness import hard_scans, relations
from osteon.studies.planning import Plan, Run
from osteon.studies.reporting import conclusion, report_study

#: Group → (score of its first cell, GFLOPs a patch).
GROUPS = {"small": (0.95, 1.0), "large": (0.97, 10.0), "poor": (0.92, 5.0)}


def write_run(folder: StudyFolder, run: Run, score: float, gflops: float) -> None:
    """What a finished fit leaves behind."""
    place = folder.run(run.name)
    place.mkdir(parents=True)
    costs = {"parameters": 1000, "gflops_per_patch": gflops, "seconds": 60.0}
    record: dict[str, Any] = {
        "status": "finished",
        "costs": {**costs, "seconds_per_epoch": [30, 30]},
    }
    record["result"] = {"best_epoch": 2, "epochs": 2}
    (place / "run.json").write_text(json.dumps(record))
    (place / "log.csv").write_text(
        "epoch,val_mean_iou,val_iou_background,val_iou_bone\n"
        f"1,0.5,0.5,0.5\n2,{score},{score + 0.01},{score - 0.01}\n"
    )
    (place / "validation.csv").write_text(
        "scan,mean_iou,iou_background,iou_bone,voxels_background,voxels_bone\n"
        f"f{run.fold},{score},{score},{score},{100 * (run.fold or 0)},100\n"
    )


def make(path: Path, *, offset: float = 0.0, done: int | None = None) -> StudyFolder:
    """Three groups × 3 folds × 2 seeds: score − 0.01·(fold − 1) + 0.001·(seed − 1)."""
    runs = [
        Run(f"{name}-fold{fold}-seed{seed}", name, fold, seed, {"patches.size": 256}, FitSettings())
        for name in GROUPS
        for fold in (1, 2, 3)
        for seed in (1, 2)
    ]
    folder = StudyFolder(path)
    path.mkdir()
    folder.begin(Plan("toy", path / "dataset.toml", tuple(runs), 0.0, 0.0))
    for run in runs[:done]:
        score, gflops = GROUPS[run.group]
        score += offset - 0.01 * ((run.fold or 1) - 1) + 0.001 * (run.seed - 1)
        write_run(folder, run, score, gflops)
    return folder


def test_groups_are_ranked_and_the_front_is_known(tmp_path: Path) -> None:
    make(tmp_path / "s")
    groups = collect(tmp_path / "s").groups
    assert [g["group"] for g in groups] == ["large", "small", "poor"]
    # Of "large": (0.97 + 0.96 + 0.95)/3 and half a thousandth for the second seed.
    assert groups[0]["mean_iou"] == pytest.approx(0.9605)
    assert groups[0]["low"] < 0.9605 < groups[0]["high"]
    # "poor" costs more than "small" and scores less.
    assert [g["pareto"] for g in groups] == [True, True, False]


def test_the_spread_is_split(tmp_path: Path) -> None:
    make(tmp_path / "s")
    split = collect(tmp_path / "s").splits["small"]
    # Additive by construction: sample variances of (0, −0.01, −0.02) and of (0, 0.001).
    assert split.fold.variance == pytest.approx(1e-4)
    assert split.seed.variance == pytest.approx(5e-7)
    assert split.residual.variance == pytest.approx(0.0, abs=1e-12)


def test_the_report_and_its_tables(tmp_path: Path) -> None:
    make(tmp_path / "s")
    page = report_study(tmp_path / "s").read_text()
    assert "18 of 18 runs are finished" in page
    assert "No conclusion" not in page
    assert page.count("<svg") == 2
    with (tmp_path / "s/tables/runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 18
    assert float(rows[1]["mean_iou"]) == pytest.approx(0.951)
    assert rows[1]["patches.size"] == "256"
    summary = json.loads((tmp_path / "s/summary.json").read_text())
    assert summary["caution"] is None
    assert "3-fold cross-validation by specimen, 2 seed(s), 18 fits" in summary["methods"]


def test_without_convergence_no_conclusion_is_drawn(tmp_path: Path) -> None:
    make(tmp_path / "s", offset=-0.1)
    told = conclusion(collect(tmp_path / "s"))
    assert told is not None
    assert "small, reaches a mean IoU of 0.84" in told
    assert told[:30] in report_study(tmp_path / "s").read_text()


def test_a_study_can_be_reported_halfway(tmp_path: Path) -> None:
    make(tmp_path / "s", done=3)
    found = collect(tmp_path / "s")
    assert found.splits == {}
    assert "3 of 18 runs are finished" in report_study(tmp_path / "s").read_text()


def test_nothing_finished_is_an_error(tmp_path: Path) -> None:
    make(tmp_path / "s", done=0)
    with pytest.raises(InputError, match="no run"):
        report_study(tmp_path / "s")


def test_hard_scans_come_first_and_what_goes_with_it() -> None:
    rows = [
        {
            "scan": f"s{i}",
            "mean_iou": 0.9 - 0.1 * i,
            "iou_bone": 0.5,
            "voxels_bone": 10 + i,
            "voxels_background": 90 - i,
        }
        for i in range(6)
        for _ in range(2)
    ]
    hard = hard_scans(rows)
    assert [r["scan"] for r in hard] == ["s5", "s4", "s3", "s2", "s1", "s0"]
    assert hard[-1]["share_bone"] == pytest.approx(0.1)
    assert hard[0]["runs"] == 2
    # More bone, lower score, strictly: a rank correlation of −1.
    found = {r["property"]: r["rho"] for r in relations(hard)}
    assert found == pytest.approx({"share_bone": -1.0, "share_background": 1.0})
