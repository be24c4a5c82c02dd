"""From a folder of scans to a model, labels, scores and reports; every figure computed again."""

from __future__ import annotations

import csv
import html
import json
import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
import zarr

from osteon.formats import open_volume

from .calling import QUICK, Ran, call, everything, setting

FP32 = ("--set", "precision=fp32", "--set", "threads=1")
CLASSES = ("background", "bone", "pores")


def read_folder(folder: Path) -> np.ndarray:
    return np.stack([tifffile.imread(path) for path in sorted(folder.glob("*.tif"))])


def text_of(page: Path) -> str:
    """The words of a page, without pictures and tags."""
    source = re.sub(r"(?s)<(style|script|svg).*?</\1>", " ", page.read_text(encoding="utf-8"))
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", source)))


@pytest.fixture(scope="session")
def model(run: Path) -> Path:
    return run / "model.safetensors"


@pytest.fixture(scope="session")
def predicted(cohort: Path, model: Path) -> tuple[Path, Ran]:
    """Labels of all scans of the cohort, in a folder."""
    out = cohort.parent / "labels"
    scans = [folder for folder in sorted(cohort.glob("*/scan"))]
    return out, call("predict", *scans, "--model", model, "--out", out, *FP32, "--json")


def test_simulate_makes_what_the_manifest_says(cohort: Path) -> None:
    folders = sorted(path.parent.name for path in cohort.glob("*/scan"))
    assert len(folders) == 3
    text = (cohort / "dataset.toml").read_text()
    for name in folders:
        assert f'image = "{name}/scan"' in text  # it can be moved as a whole
        assert read_folder(cohort / name / "scan").shape == (10, 64, 64)
        assert set(np.unique(read_folder(cohort / name / "mask"))) <= {0, 1, 2}


def test_new_and_check_a_dataset(cohort: Path, tmp_path: Path) -> None:
    out = tmp_path / "made.toml"
    made = call("dataset", "new", cohort, "--out", out, "--specimen", r"^([a-z]+)")
    assert made.code == 0
    assert made.out.splitlines() == [
        f"{out}: 3 scans of 2 specimens",
        f"next: osteon dataset check {out}",
    ]
    checked = call("dataset", "check", out, "--json", *setting("patches.size=32"))
    assert checked.code == 0
    assert checked.json["errors"] == 0
    names = {finding["name"] for finding in checked.json["findings"]}
    assert "what-a-fit-takes" in names


def test_a_dataset_with_errors_is_told_by_the_exit_code(cohort: Path, tmp_path: Path) -> None:
    manifest = (cohort / "dataset.toml").read_text().replace('image = "', f'image = "{cohort}/')
    broken = tmp_path / "dataset.toml"
    broken.write_text(re.sub(r'mask = "[^"]*"', 'mask = "nowhere"', manifest))
    checked = call("dataset", "check", broken)
    assert checked.code == 3
    assert "  where: " in checked.out
    assert re.search(r"^[1-9]\d* errors?, \d+ warnings?$", checked.out, re.MULTILINE)


def test_a_run_folder_says_what_it_is(run: Path, cohort: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    assert record["kind"] == "fit"
    assert record["status"] == "finished"
    assert record["dataset"] == str(cohort / "dataset.toml")
    assert set(record["data"]) == {path.parent.name for path in cohort.glob("*/scan")}
    assert record["versions"]["torch"]
    split = json.loads((run / "split.json").read_text())
    kept = [part["scan"] for part in split["validation"]]
    assert len(kept) == 1
    assert kept[0] not in [part["scan"] for part in split["training"]]
    said = (run.parent / "fit.err").read_text()
    assert f"fitting to 20 slices of 2 scans; measuring on 10 slices of 1 scan ({kept[0]})" in said
    assert (run.parent / "fit.out").read_text().splitlines() == [
        f"model:  {run / 'model.safetensors'}",
        f"report: {run / 'report.html'}",
    ]


def test_the_report_of_a_fit_has_the_figures_of_the_best_epoch(run: Path) -> None:
    with (run / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    best = max(rows, key=lambda row: float(row["val_mean_iou"]))
    page = text_of(run / "report.html")
    assert f"epoch {best['epoch']}, the best by validation" in page
    assert f"Mean IoU {float(best['val_mean_iou']):.3f} validation, epoch {best['epoch']}" in page
    for name in CLASSES:
        assert f"{name.capitalize()} IoU {float(best[f'val_iou_{name}']):.3f}" in page
    for word in ("patches.size", "weights were not fitted on", "SHA-256 of"):
        assert word in page


def test_show_a_model(run: Path, model: Path) -> None:
    shown = call("model", "show", model)
    with (run / "log.csv").open() as file:
        scores = [float(row["val_mean_iou"]) for row in csv.DictReader(file)]
    assert shown.code == 0
    assert "network:        unet with resnet18, 2D" in shown.out
    assert f"mean IoU {max(scores):.4f} in epoch {np.argmax(scores) + 1}" in shown.out
    assert "0 background, 1 bone, 2 pores" in shown.out
    spec = call("model", "show", model, "--json").json
    assert spec["provenance"]["settings"]["patches"]["size"] == 32
    assert spec["weights_sha256"] in shown.out


def test_list_choices() -> None:
    tables = call("model", "list", "--json").json
    assert "resnet18" in tables["encoders"]
    assert "resnet18" in call("model", "list").out


@pytest.fixture(scope="session")
def tilted(cohort: Path) -> Path:
    """A scan that lies askew in space, written by SimpleITK."""
    image = sitk.GetImageFromArray(read_folder(next(iter(sorted(cohort.glob("*/scan"))))))
    image.SetSpacing((0.012, 0.012, 0.02))  # mm, order (x, y, z)
    image.SetOrigin((1.5, -2.0, 3.25))
    image.SetDirection((0, -1, 0, 1, 0, 0, 0, 0, 1))
    path = cohort.parent / "tilted.nrrd"
    sitk.WriteImage(image, str(path))
    return path


def test_labels_lie_where_the_scan_lies(tilted: Path, model: Path, tmp_path: Path) -> None:
    scan = sitk.ReadImage(str(tilted))
    expected = open_volume(tilted).geometry
    found: list[np.ndarray] = []
    for name in ("slices", "labels.nii.gz", "labels.nrrd", "labels.zarr"):
        out = tmp_path / name
        ran = call("predict", tilted, "--model", model, "--out", out, *FP32)
        assert ran.code == 0, ran.err
        assert ran.out.startswith(f"labels: {out} (background ")
        geometry = open_volume(out).geometry
        np.testing.assert_allclose(geometry.voxel_size, expected.voxel_size, rtol=1e-6)
        np.testing.assert_allclose(geometry.origin, expected.origin, rtol=1e-6)
        np.testing.assert_allclose(geometry.direction, expected.direction, atol=1e-6)
        if name.endswith((".nrrd", ".gz")):  # an independent reader
            image = sitk.ReadImage(str(out))
            np.testing.assert_allclose(image.GetSpacing(), scan.GetSpacing(), rtol=1e-6)
            np.testing.assert_allclose(image.GetOrigin(), scan.GetOrigin(), rtol=1e-6)
            np.testing.assert_allclose(image.GetDirection(), scan.GetDirection(), atol=1e-6)
            found.append(sitk.GetArrayFromImage(image))
        elif name == "slices":
            found.append(read_folder(out))
        else:
            group = zarr.open(str(out), mode="r")
            array = group if isinstance(group, zarr.Array) else group[next(iter(group.keys()))]
            found.append(np.squeeze(np.asarray(array[:])))
        record = json.loads((tmp_path / f"{name}.osteon.json").read_text())
        assert record["scan"] == str(tilted)
        counts = np.bincount(found[-1].ravel(), minlength=3)
        assert record["voxels"] == dict(zip(CLASSES, counts.tolist(), strict=True))
    for array in found[1:]:
        np.testing.assert_array_equal(array, found[0])


def test_several_scans_are_named_after_their_folders(
    predicted: tuple[Path, Ran], cohort: Path
) -> None:
    out, ran = predicted
    assert ran.code == 0, ran.err
    names = [path.parent.name for path in sorted(cohort.glob("*/scan"))]
    assert [Path(entry["labels"]).name for entry in ran.json["scans"]] == names
    assert all(read_folder(out / name).shape == (10, 64, 64) for name in names)


def scores(truth: np.ndarray, labels: np.ndarray) -> tuple[list[float], list[float]]:
    """IoU and Dice of each class by their definitions."""
    iou, dice = [], []
    for value in range(3):
        a, b = truth == value, labels == value
        both, either = int((a & b).sum()), int((a | b).sum())
        iou.append(both / either if either else float("nan"))
        dice.append(2 * both / (a.sum() + b.sum()) if either else float("nan"))
    return iou, dice


def table(path: Path) -> dict[tuple[str, str, str], float]:
    with path.open() as file:
        return {
            (row["scan"], row["class"], row["metric"]): float(row["value"] or "nan")
            for row in csv.DictReader(file)
        }


def test_evaluate_against_a_mask(predicted: tuple[Path, Ran], cohort: Path, tmp_path: Path) -> None:
    name = sorted(path.parent.name for path in cohort.glob("*/scan"))[0]
    labels, mask = predicted[0] / name, cohort / name / "mask"
    out = tmp_path / "evaluation"
    ran = call("evaluate", "--truth", mask, "--labels", labels, "--out", out, "--json")
    assert ran.code == 0, ran.err
    iou, dice = scores(read_folder(mask), read_folder(labels))
    values = table(out / "evaluation.csv")
    for index, which in enumerate(CLASSES):
        np.testing.assert_allclose(values[name, which, "iou"], iou[index])
        np.testing.assert_allclose(values[name, which, "dice"], dice[index])
    rows = json.loads((out / "evaluation.json").read_text())
    flat = json.dumps(rows)
    assert json.dumps(iou[1]) in flat
    for row in ran.json["table"]:
        value = np.nan if row["value"] is None else row["value"]
        np.testing.assert_allclose(value, values[row["scan"], row["class"], row["metric"]])
    page = text_of(out / "report.html")
    assert f"Mean IoU {np.nanmean(iou):.3f}" in page
    assert f"Bone IoU {iou[1]:.3f}" in page
    assert "The scan was not found" not in page  # it is in the record beside the labels


def test_evaluate_against_a_manifest(
    predicted: tuple[Path, Ran], cohort: Path, tmp_path: Path
) -> None:
    out = tmp_path / "evaluation"
    manifest = cohort / "dataset.toml"
    ran = call("evaluate", "--truth", manifest, "--labels", predicted[0], "--out", out)
    assert ran.code == 0, ran.err
    values = table(out / "evaluation.csv")
    each = {}
    for folder in sorted(path.parent for path in cohort.glob("*/scan")):
        truth = read_folder(folder / "mask")
        each[folder.name] = scores(truth, read_folder(predicted[0] / folder.name))[0]
        np.testing.assert_allclose(values[folder.name, "bone", "iou"], each[folder.name][1])
        assert folder.name in ran.out
    mean = np.mean([np.nanmean(iou) for iou in each.values()])
    assert f"{mean:.4f}" in next(li for li in ran.out.splitlines() if li.startswith("mean over"))
    assert (out / "slices.csv").exists()
    assert f"report: {out / 'report.html'}" in ran.out


def test_some_slices_keep_their_numbers(
    predicted: tuple[Path, Ran], cohort: Path, tmp_path: Path
) -> None:
    name = sorted(path.parent.name for path in cohort.glob("*/scan"))[0]
    labels, mask = predicted[0] / name, cohort / name / "mask"
    out = tmp_path / "part"
    words = ("--truth", mask, "--labels", labels, "--out", out, "--slices", "4:7")
    ran = call("evaluate", *words)
    assert ran.code == 0, ran.err
    with (out / "slices.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["z"] for row in rows if row["class"] == "bone"] == ["4", "5", "6"]
    truth, found = read_folder(mask), read_folder(labels)
    for row in rows:
        if row["class"] == "bone":
            z = int(row["z"])
            np.testing.assert_allclose(
                float(row["value"] or "nan"), scores(truth[z], found[z])[0][1]
            )
    iou = scores(truth[4:7], found[4:7])[0]
    np.testing.assert_allclose(table(out / "evaluation.csv")[name, "bone", "iou"], iou[1])


def test_events_are_lines_of_json(cohort: Path, tmp_path: Path, model: Path) -> None:
    scan = sorted(cohort.glob("*/scan"))[0]
    words = ("predict", scan, "--model", model, *FP32, "--events", "jsonl", "--out")
    ran = call(*words, tmp_path / "labels", "--json")
    assert ran.code == 0
    events = [json.loads(line) for line in ran.err.splitlines()]
    stages = [(event["kind"], event["stage"]) for event in events]
    assert stages.index(("start", "predict")) < stages.index(("end", "predict"))
    assert max(e["step"] for e in events if e["kind"] == "progress") == 10
    assert events[-1] == {"kind": "result", "stage": "predict", "data": ran.json}
    again = call(*words, tmp_path / "labels", "--json")
    assert again.code == 0
    assert again.json["scans"][0]["finished_before"]
    again = call(*words, tmp_path / "labels", "--json", "--memory", "1GiB")  # not the same command
    assert again.code == 4
    assert again.out == ""
    last = json.loads(again.err.splitlines()[-1])
    assert last["kind"] == "error"
    assert last["exit_code"] == 4
    assert "--overwrite" in last["data"]["mend"]


def test_demo_is_made_of_the_same_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from osteon.workflows import demonstrating

    monkeypatch.setattr(demonstrating, "SCANS", 3)
    monkeypatch.setattr(demonstrating, "SIZE", 64)
    monkeypatch.setattr(demonstrating, "SLICES", 8)
    monkeypatch.setattr(demonstrating, "SETTINGS", (*QUICK, "training.epochs=1"))
    out = tmp_path / "demo"
    ran = call("demo", "--out", out)
    assert ran.code == 0, ran.err
    said = [line[:3] for line in ran.err.splitlines() if re.match(r"\d/4 ", line)]
    assert said == ["1/4", "2/4", "3/4", "4/4"]
    assert f"report of the evaluation: {out / 'evaluation' / 'report.html'}" in ran.out
    unseen = json.loads((out / "evaluation" / "evaluation.json").read_text())
    used = json.loads((out / "run" / "run.json").read_text())["data"]
    assert len(used) == 2
    assert not set(used) & {row["scan"] for row in unseen["rows"]}
    before = everything(out / "evaluation")
    again = call("demo", "--out", out)
    assert again.code == 4
    assert "--overwrite" in again.err
    assert everything(out / "evaluation") == before
