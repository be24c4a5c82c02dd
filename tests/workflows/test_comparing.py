"""Evaluations and comparisons of files, as a user makes them."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from osteon.cli.app import main
from osteon.errors import InputError, OutputError, UsageError
from osteon.reports import rendering
from osteon.workflows.comparing import compare
from osteon.workflows.evaluating import EvaluateOptions, evaluate

SHAPE = (12, 24, 30)


def bone(seed: int) -> np.ndarray:
    out = np.zeros(SHAPE, np.uint8)
    out[2:10, 4:20, 4:26] = 2
    out[2:10, 4:20, 4:7] = out[2:10, 4:20, 22:26] = 1
    rng = np.random.default_rng(seed)
    for y in rng.integers(5, 18, 3):
        out[3:9, y : y + 2, 7:22] = 1
    return out


@pytest.fixture(autouse=True)
def small_surfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "SIDE", 40)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Three scans, two models, each evaluated into its run folder."""
    tmp_path = tmp_path_factory.mktemp("runs")
    lines = ["schema = 1"]
    for index in range(3):
        truth = bone(index)
        folder = tmp_path / "data" / f"m{index}"
        folder.mkdir(parents=True)
        tifffile.imwrite(folder / "scan.tif", truth * 60)
        tifffile.imwrite(folder / "mask.tif", truth)
        thin = truth.copy()
        thin[:, :, 22:24][truth[:, :, 22:24] == 1] = 2
        for model, labels in (("good", truth), ("thin", thin)):
            (tmp_path / model).mkdir(exist_ok=True)
            tifffile.imwrite(tmp_path / model / f"m{index}.tif", labels)
        lines += ["[[scans]]", f'name = "m{index}"', f'image = "data/m{index}/scan.tif"']
        lines += [f'mask = "data/m{index}/mask.tif"', f'specimen = "animal{index // 2}"']
        lines += ["voxel_size_um = [20.0, 10.0, 10.0]"]
    (tmp_path / "d.toml").write_text("\n".join(lines))
    for model in ("good", "thin"):
        evaluate(
            tmp_path / "d.toml", tmp_path / model, out=tmp_path / "runs" / model / "evaluation"
        )
    return tmp_path


def test_an_evaluation_writes_tables_figures_and_the_whole_report(runs: Path) -> None:
    folder = runs / "runs" / "thin" / "evaluation"
    names = {p.name for p in folder.iterdir()}
    tables = {"evaluation.csv", "slices.csv", "specimens.csv", "intervals.csv"} | {
        "measure_errors.csv"
    }
    assert names == tables | {"evaluation.json", "report.html", "figures"}
    with open(folder / "evaluation.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["scan", "class", "metric", "value", "unit", "n"]
    assert {"assd", "hd95", "nsd", "cldice", "conn_d_error"} <= {r["metric"] for r in rows}
    page = (folder / "report.html").read_text("utf-8")
    for heading in (
        "Surface", "Topology", "How sure the means are", "Three planes", "Surface of the bone",
        "Contact sheet", "Methods paragraph",
    ):  # fmt: skip
        assert f"<h2>{heading}</h2>" in page
    assert "[FILL IN" in page
    assert "20 × 10 × 10 µm" in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert (folder / "figures" / "iou_by_slice.svg").exists()
    assert (folder / "figures" / "m0_surface_truth.png").exists()


def test_models_are_compared_by_their_run_folders(runs: Path, capsys) -> None:
    out = runs / "comparison"
    with pytest.raises(SystemExit) as ended:
        main(["compare", str(runs / "runs/good"), f"other={runs / 'runs/thin'}", "--out", str(out)])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "other against good: bone IoU -0." in said
    assert "2 specimens" in said
    data = json.loads((out / "comparison.json").read_text("utf-8"))
    (bone_iou,) = (r for r in data["differences"] if (r["metric"], r["class"]) == ("iou", "bone"))
    assert bone_iou["difference"] < -0.1
    assert (bone_iou["better"], bone_iou["worse"], bone_iou["specimens"]) == (0, 3, 2)
    page = (out / "report.html").read_text("utf-8")
    assert "<h2>Paired differences</h2>" in page
    assert "exact sign-flip" in page
    with pytest.raises(OutputError, match="comparison in this folder"):
        compare([runs / "runs/good", runs / "runs/thin"], out=out)
    assert compare(
        [runs / "runs/good", runs / "runs/thin"], out=out, overwrite=True
    ).report.exists()


def test_what_is_no_evaluation_is_told_with_the_way_to_one(runs: Path) -> None:
    good, out = runs / "runs/good", runs / "c"
    with pytest.raises(InputError, match="no such folder"):
        compare([good, runs / "nowhere"], out=out)
    with pytest.raises(InputError, match="no evaluation in this folder"):
        compare([good, runs / "data"], out=out)
    with pytest.raises(UsageError, match="two evaluations or more"):
        compare([good], out=out)
    assert not out.exists()


def test_overlap_alone_and_slices_apart(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "t.tif", bone(0))
    tifffile.imwrite(tmp_path / "l.tif", bone(1))
    only = evaluate(
        tmp_path / "t.tif", tmp_path / "l.tif", options=EvaluateOptions(only_overlap=True)
    )
    assert "assd" not in {r["metric"] for r in only.evaluation.table()}
    apart = evaluate(
        tmp_path / "t.tif",
        tmp_path / "l.tif",
        out=tmp_path / "e",
        options=EvaluateOptions(contiguous=False, slices=(2, 10)),
    )
    page = (tmp_path / "e" / "report.html").read_text("utf-8")
    assert "<h2>Slices to leaf through</h2>" in page
    assert "<h2>Surface of the bone</h2>" not in page
    assert any("not contiguous" in n for n in apart.evaluation.notes())


@pytest.mark.parametrize("shape", [(1, 3, 4), (9, 2, 700), (200, 3, 3)])
def test_flat_and_narrow_and_empty_volumes_are_shown(tmp_path: Path, shape) -> None:
    tifffile.imwrite(tmp_path / "t.tif", np.zeros(shape, np.uint8))
    tifffile.imwrite(tmp_path / "l.tif", np.zeros(shape, np.uint8))
    run = evaluate(tmp_path / "t.tif", tmp_path / "l.tif", out=tmp_path / "e")
    assert run.report is not None
    assert run.report.exists()
