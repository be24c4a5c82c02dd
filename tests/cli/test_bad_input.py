"""What is wrong is said in a message of its own; nothing is left behind, nothing is lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tifffile
from safetensors import safe_open
from safetensors.torch import save_file

from .calling import QUICK, call, everything, phantom, refused, setting, write_cohort, write_slices

FP32 = ("--set", "precision=fp32", "--set", "threads=1")
SMALL = setting(*QUICK)


def truncated(scan: Path) -> None:
    page = sorted(scan.glob("*.tif"))[3]
    page.write_bytes(page.read_bytes()[:900])


def missing(scan: Path) -> None:
    shutil.rmtree(scan)


def with_nan(scan: Path) -> None:
    image = phantom(0)[0].astype(np.float32)
    image[2, 5, 7] = np.nan
    shutil.rmtree(scan)
    write_slices(scan, image)


def constant(scan: Path) -> None:
    shutil.rmtree(scan)
    write_slices(scan, np.full((6, 40, 48), 7, np.uint8))


def misshapen(mask: Path) -> None:
    shutil.rmtree(mask)
    write_slices(mask, np.ones((6, 40, 50), np.uint8))


def zero_255(mask: Path) -> None:
    for page in mask.glob("*.tif"):
        tifffile.imwrite(page, (tifffile.imread(page) == 1).astype(np.uint8) * 255)


FIT_CASES: dict[str, tuple[str, Callable[[Path], None], tuple[str, ...]]] = {
    "missing scan": ("scan", missing, ("scan 'a' is not there", "a/scan")),
    "truncated scan": ("scan", truncated, ("0003.tif",)),
    "NaN": ("scan", with_nan, ("NaN", "a/scan")),
    "constant scan": ("scan", constant, ("a/scan",)),
    "mask of another shape": ("mask", misshapen, ("(6, 40, 50)", "(6, 40, 48)", "a/mask")),
    "mask of 0 and 255": ("mask", zero_255, ("255", "remap", "a")),
}


@pytest.mark.parametrize("case", FIT_CASES)
def test_fit_refuses(case: str, tmp_path: Path) -> None:
    which, spoil, parts = FIT_CASES[case]
    manifest = write_cohort(tmp_path / "data")
    spoil(tmp_path / "data" / "a" / which)
    out = tmp_path / "run"
    refused(call("fit", manifest, "--out", out, *SMALL), 3, *parts)
    assert not out.exists()


def test_an_old_run_outlives_a_refused_one(tmp_path: Path) -> None:
    manifest = write_cohort(tmp_path / "data")
    out = tmp_path / "run"
    out.mkdir()
    for name in ("run.json", "settings.yaml", "model.safetensors", "notes.txt"):
        (out / name).write_text(f"the old {name}")
    before = everything(out)
    refused(call("fit", manifest, "--out", out, *SMALL), 4, "a run in this folder", "--overwrite")
    truncated(tmp_path / "data" / "a" / "scan")
    refused(call("fit", manifest, "--out", out, *SMALL, "--overwrite"), 3, "0003.tif")
    assert everything(out) == before


def test_fit_refuses_a_folder_that_is_none_of_its_own(tmp_path: Path) -> None:
    manifest = write_cohort(tmp_path / "data")
    before = everything(tmp_path / "data")
    out = tmp_path / "data" / "a"
    refused(call("fit", manifest, "--out", out, "--overwrite"), 4, "holds no run", str(out))
    (tmp_path / "file").write_text("kept")
    refused(call("fit", manifest, "--out", tmp_path / "file"), 4, "a file, not a folder")
    below = tmp_path / "file" / "run"
    refused(call("fit", manifest, "--out", below), 4, "'file' on the way", str(below))
    assert (tmp_path / "file").read_text() == "kept"
    assert everything(tmp_path / "data") == before


def test_resume_needs_a_run(tmp_path: Path) -> None:
    manifest = write_cohort(tmp_path / "data")
    out = tmp_path / "run"
    refused(call("fit", manifest, "--out", out, "--resume"), 3, "no run to go on with", str(out))
    both = call("fit", manifest, "--out", out, "--resume", "--overwrite")
    refused(both, 2, "--resume --overwrite")
    assert not out.exists()


def test_resume_refuses_other_settings(run: Path, cohort: Path) -> None:
    before = (run / "run.json").read_bytes()
    words = ("fit", cohort / "dataset.toml", "--out", run, "--resume")
    refused(call(*words, "--set", "training.epochs=3"), 2, "differ from", "settings.yaml")
    assert (run / "run.json").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--set", "patches.siez=64"], ("patches.siez", "did you mean patches.size")),
        (["--set", "patches"], ("'patches'", "name=value")),
        (["--set", "patches.size=100"], ("patches.size", "multiple of 32")),
        (["--set", "loss=jacard"], ("jacard", "did you mean jaccard")),
        (["--set", "network.encoder=resnt18"], ("resnt18", "resnet18")),
        (["--set", "training.cache=much"], ("much", "2GiB", "training.cache")),
        (["--seed", "-1"], ("seed",)),
        (["--set", "validation.specimens=[z]"], ("'z'", "the specimens are: a, b")),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_fit_refuses_settings(words: list[str], parts: tuple[str, ...], tmp_path: Path) -> None:
    manifest = write_cohort(tmp_path / "data")
    out = tmp_path / "run"
    refused(call("fit", manifest, "--out", out, *SMALL, *words), 2, *parts)
    assert not out.exists()


def test_a_settings_file_that_is_not_there(tmp_path: Path) -> None:
    ran = call("fit", "x.toml", "--out", tmp_path / "run", "--settings", tmp_path / "fit.yaml")
    refused(ran, 3, "does not exist", "fit.yaml")


def test_an_unknown_option_is_a_usage_error() -> None:
    ran = call("fit", "x.toml", "--out", "y", "--epoch", "3")
    assert ran.code == 2
    assert "--epoch" in ran.err


# --- predict


@pytest.fixture(scope="session")
def model(run: Path) -> Path:
    return run / "model.safetensors"


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    return write_slices(tmp_path / "scans" / "good", phantom(0)[0])


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """Let no file grow beyond a size, as a full disk does."""
    resource = pytest.importorskip("resource")  # not on Windows
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("spoil", "part"),
    [(missing, "no such"), (truncated, "0003.tif"), (with_nan, "NaN"), (constant, "good")],
)
def test_predict_refuses_a_scan(
    spoil: Callable[[Path], None], part: str, scan: Path, model: Path, tmp_path: Path
) -> None:
    spoil(scan)
    out = tmp_path / "out" / "labels.nrrd"
    refused(call("predict", scan, "--model", model, "--out", out, *FP32), 3, part)
    assert everything(tmp_path / "out") == {}


def test_predict_refuses_what_is_no_model(scan: Path, model: Path, tmp_path: Path) -> None:
    def predict(path: Path) -> list[object]:
        return ["predict", scan, "--model", path, "--out", tmp_path / "labels", *FP32]

    refused(call(*predict(tmp_path / "none")), 3, "no such model file", str(tmp_path / "none"))
    text = tmp_path / "text.safetensors"
    text.write_text("not a model at all")
    refused(call(*predict(text)), 5, "not an osteon model", str(text))
    with safe_open(model, framework="pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        description = json.loads(file.metadata()["osteon"])
    newer = tmp_path / "newer.safetensors"
    save_file(weights, newer, {"osteon": json.dumps({**description, "schema": 99})})
    refused(call(*predict(newer)), 5, "schema 99", "upgrade", str(newer))
    other = tmp_path / "other.safetensors"
    save_file({"weight": weights[min(weights)]}, other)
    refused(call(*predict(other)), 5, "holds no osteon model")
    assert not (tmp_path / "labels").exists()


def test_predict_never_takes_the_place_of_the_scan(scan: Path, model: Path, tmp_path: Path) -> None:
    before = everything(tmp_path)
    places = {
        scan: "replace the scan",
        scan / "labels.nrrd": "among the files of the scan",
        scan.parent: "a folder that holds the scan",
    }
    for out, part in places.items():
        ran = call("predict", scan, "--model", model, "--out", out, "--overwrite", *FP32)
        refused(ran, 4, part, str(out))
    several = call("predict", scan, scan, "--model", model, "--out", tmp_path / "x", *FP32)
    refused(several, 2, "to the same name: good")
    suffix = call("predict", scan, scan.parent, "--model", model, "--out", "x.nrrd", *FP32)
    refused(suffix, 2, "must be a folder", "x.nrrd")
    assert everything(tmp_path) == before


def test_predict_keeps_existing_labels(scan: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "labels.nrrd"
    out.parent.mkdir()
    out.write_text("labels drawn by hand")
    words = ("predict", scan, "--model", model, "--out", out, *FP32)
    refused(call(*words), 4, "exists", "--overwrite", str(out))
    truncated(scan)
    refused(call(*words, "--overwrite"), 3, "0003.tif")
    assert everything(out.parent) == {"labels.nrrd": b"labels drawn by hand"}


def test_predict_where_nothing_can_be_written(scan: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    below = tmp_path / "file" / "labels.nrrd"
    refused(
        call("predict", scan, "--model", model, "--out", below, *FP32),
        4,
        "'file' on the way",
        str(below),
    )
    out = tmp_path / "out" / "labels.npy"
    out.parent.mkdir()
    with full_disk(4096):  # the labels take 6 * 40 * 48 bytes
        ran = call("predict", scan, "--model", model, "--out", out, *FP32)
    refused(ran, 4, "labels.npy")
    assert everything(out.parent) == {}
    unknown = call("predict", scan, "--model", model, "--out", tmp_path / "a.xyz", *FP32)
    refused(unknown, 2, ".xyz", ".nrrd")


def test_one_broken_scan_does_not_stop_the_others(scan: Path, model: Path, tmp_path: Path) -> None:
    bad = write_slices(scan.with_name("bad"), phantom(1)[0])
    truncated(bad)
    last = write_slices(scan.with_name("last"), phantom(2)[0])
    out = tmp_path / "out"
    ran = call("predict", scan, bad, last, "--model", model, "--out", out, "--json", *FP32)
    assert ran.code == 7
    assert "Traceback" not in ran.err
    assert "0003.tif" in ran.err
    entries = ran.json["scans"]
    assert [entry["error"] is None for entry in entries] == [True, False, True]
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == ["good", "last"]
    assert len(list((out / "last").glob("*.tif"))) == 6
    said = call("predict", bad, bad.with_name("none"), "--model", model, "--out", out, *FP32)
    assert said.code == 3  # all failed: the code of the first
    assert said.out.splitlines() == [f"failed: {bad}", f"failed: {bad.with_name('none')}"]


# --- evaluate


@pytest.fixture
def masks(tmp_path: Path) -> tuple[Path, Path]:
    labels = phantom(0)[1]
    return (
        write_slices(tmp_path / "in" / "truth", labels),
        write_slices(tmp_path / "in" / "found", np.roll(labels, 1, axis=2)),
    )


@pytest.mark.parametrize(
    ("words", "code", "parts"),
    [
        (["--remap", "255:bone"], 2, ("255:bone", "--remap", "255=bone")),
        (["--labels-remap", "=bone"], 2, ("--labels-remap",)),
        (["--remap", "1=bone", "--remap", "1=pores"], 2, ("twice",)),
        (["--remap", "1=bones"], 2, ("'bones'", "remap 1=bones", "background, bone")),
        (["--slices", "4"], 2, ("'4'", "--slices", "96:128")),
        (["--slices", "4:4"], 2, ("'4:4'",)),
        (["--slices", "4:7"], 2, ("4:7", "6 slices", "0:6")),
        (["--scan", "nowhere"], 3, ("nowhere", "no such")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_evaluate_refuses_options(
    words: list[str], code: int, parts: tuple[str, ...], masks: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    truth, labels = masks
    ran = call("evaluate", "--truth", truth, "--labels", labels, "--out", out, *words)
    refused(ran, code, *parts)
    assert not out.exists()


def test_evaluate_refuses_volumes(masks: tuple[Path, Path], tmp_path: Path) -> None:
    truth, labels = masks
    out = tmp_path / "out"
    words = ("evaluate", "--out", out, "--labels", labels, "--truth")
    other = write_slices(tmp_path / "in" / "other", np.ones((6, 40, 50), np.uint8))
    refused(call(*words, other), 3, "(6, 40, 50)", "(6, 40, 48)")
    refused(call(*words, truth, "--scan", other), 3, "(6, 40, 50)", "--scan")
    refused(call(*words, tmp_path / "none"), 3, "no such", "none")
    zero_255(truth)
    refused(call(*words, truth), 3, "0/255", str(truth))
    assert not out.exists()
    mapped = call(*words, truth, "--remap", "0=background", "--remap", "255=bone")
    assert mapped.code == 0, mapped.err


def test_evaluate_keeps_what_is_there(masks: tuple[Path, Path], tmp_path: Path) -> None:
    truth, labels = masks
    out = tmp_path / "out"
    words = ("evaluate", "--truth", truth, "--labels", labels, "--out")
    assert call(*words, out).code == 0
    before = everything(out)
    refused(call(*words, out), 4, "an evaluation in this folder", "--overwrite", str(out))
    zero_255(truth)
    refused(call(*words, out, "--overwrite"), 3, "0/255")
    assert everything(out) == before
    (tmp_path / "file").write_text("kept")
    refused(call(*words, tmp_path / "file" / "out"), 4, "'file' on the way")


def test_evaluate_by_a_manifest_refuses(tmp_path: Path) -> None:
    manifest = write_cohort(tmp_path / "data")
    labels = tmp_path / "labels"
    shutil.copytree(tmp_path / "data" / "a" / "mask", labels / "a")
    words = ("evaluate", "--truth", manifest, "--labels", labels)
    refused(call(*words), 3, "no labels of scan 'b'", str(labels))
    refused(call(*words, "--remap", "1=bone"), 2, "--remap", "manifest")
    refused(call(*words, "--scan", tmp_path), 2, "--scan", "manifest")


# --- dataset and simulate


def test_dataset_new_refuses(tmp_path: Path) -> None:
    out = tmp_path / "dataset.toml"
    refused(call("dataset", "new", tmp_path / "none", "--out", out), 3, "none")
    (tmp_path / "empty").mkdir()
    refused(call("dataset", "new", tmp_path / "empty", "--out", out), 3, "empty")
    assert not out.exists()
    manifest = write_cohort(tmp_path / "data")
    before = manifest.read_bytes()
    again = call("dataset", "new", tmp_path / "data", "--out", manifest)
    refused(again, 4, "exists", "--overwrite")
    wrong = ("--overwrite", "--specimen", "(")
    refused(call("dataset", "new", tmp_path / "data", "--out", manifest, *wrong), 2, "(")
    assert manifest.read_bytes() == before


def test_simulate_refuses(tmp_path: Path) -> None:
    small = setting("scans=1", "size=64", "slices=8")
    (tmp_path / "file").write_text("kept")
    below = tmp_path / "file" / "sim"
    refused(call("simulate", "cohort", "--out", below, *small), 4, "'file' on the way")
    out = tmp_path / "sim"
    refused(call("simulate", "scan", "--out", out, "--set", "size=3"), 2, "size")
    assert not out.exists()
    assert call("simulate", "scan", "--out", out, *small).code == 0
    before = everything(out)
    refused(call("simulate", "scan", "--out", out, *small), 4, "a dataset in this folder already")
    assert everything(out) == before
