from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from osteon.datasets import new_manifest
from osteon.errors import InputError
from osteon.reports.blocks import Section
from osteon.reports.page import render
from osteon.settings import FitSettings
from osteon.studies.collecting import collect
from osteon.studies.folder import StudyFolder
from osteon.studies.hardness import hard_scans, holm, interval, relations
from osteon.studies.planning import Plan, Run
from osteon.studies.reporting import conclusion, report_study
from osteon.studies.sections import scans_section
from osteon.studies.traits import scan_traits

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
    assert page.count("<svg") == 2  # costs, learning curves; too few specimens for traits
    assert "Highest: large, mean IoU 0.96" in page
    # The scans are not there.
    assert "Voxel sizes and contrasts are left out" in page
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
    page = report_study(tmp_path / "s").read_text()
    assert told[:30] in page
    assert "Highest" not in page


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


def test_a_specimen_counts_once_in_relations() -> None:
    # Two scans a specimen, and within each the trait goes the other way: means decide.
    rows = [
        {"scan": f"{i}{k}", "specimen": f"s{i}", "mean_iou": 0.5 + 0.05 * i - k, "voxel_um": i + k}
        for i in range(6)
        for k in (0.0, 0.1)
    ]
    (row,) = relations(rows)
    assert row["specimens"] == 6
    assert row["rho"] == pytest.approx(1.0)
    assert relations(rows[:10]) == []  # five specimens are too few


def test_p_is_corrected_and_the_interval_is_that_of_the_formula() -> None:
    # Holm by hand: 0.01·3, 0.02·2, 0.03·1, never below an earlier one.
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    # ρ = 0.5, n = 20: atanh 0.549306, SE √(1.125/17) = 0.257248, ± 1.959964 SE, then tanh.
    assert interval(0.5, 20) == pytest.approx((0.0451, 0.7832), abs=1e-4)


def test_traits_are_measured_on_the_scans(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (4, 64, 64)).astype(np.uint8)
    # Background 60, bone 200, pores 100, all with a standard deviation of 10.
    grey = np.array([60.0, 200.0, 100.0])[labels] + rng.normal(0, 10, labels.shape)
    for name, array in (("scan", grey.astype(np.uint8)), ("mask", labels)):
        (tmp_path / "a").mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / f"a/{name}.tif", array, photometric="minisblack")
    manifest = new_manifest(tmp_path)
    rows = tuple(row.model_copy(update={"voxel_size_um": 12.5}) for row in manifest.scans)
    replace(manifest, scans=rows).save(tmp_path / "dataset.toml")
    found, missing = scan_traits(tmp_path / "dataset.toml", ["a", "gone"])
    assert missing == ""
    assert found["a"]["voxel_um"] == pytest.approx(12.5)
    assert found["a"]["contrast_background"] == pytest.approx(14.0, rel=0.05)
    assert found["a"]["contrast_pores"] == pytest.approx(10.0, rel=0.05)
    none, why = scan_traits(tmp_path / "elsewhere.toml", ["a"])
    assert none == {}
    assert "left out" in why


def test_what_sets_hard_scans_apart_is_drawn_and_said_with_care(tmp_path: Path) -> None:
    def page(rows: list[dict[str, Any]]) -> str:
        return render(title="t", sections=[Section("Scans", scans_section(rows, ""))])

    rows = [
        {"scan": f"s{i}", "specimen": f"s{i}", "mean_iou": 0.9 - 0.01 * i, "sd": 0.0}
        | {"iou_bone": 0.9, "contrast_pores": 9.0 - i, "voxel_um": math.nan}
        for i in range(8)
    ]
    strict = page(rows)
    assert "Scans with a higher contrast bone–pores (CNR) score higher (ρ = +1.00)" in strict
    assert "voxel size" not in strict  # unknown
    assert strict.count("<svg") == 1
    for row, contrast in zip(rows, (3, 1, 4, 1.5, 5, 2, 6, 2.5), strict=True):
        row["contrast_pores"] = contrast
    assert "None of these can be told from chance" in page(rows)
    assert "Too few specimens" in page(rows[:4])
