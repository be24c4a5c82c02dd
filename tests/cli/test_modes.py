"""The whole way in every mode, from weights that were fitted before, and what is refused."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from safetensors.torch import load_file

import osteon.training.fitting as training

from .calling import Ran, call, refused, setting, write_cohort

CLASSES = ("background", "bone", "pores")
SLICES, SIZE = 36, 64
#: A fit of seconds.
COMMON = (
    "patches.size=32",
    "patches.per_slice=1",
    "training.batch_size=4",
    "training.epochs=2",
    "training.workers=0",
    "training.threads=1",
    "training.precision=fp32",
    "optimiser.learning_rate=0.01",
)
SMALL = ("network.encoder=tu-lcnet_035", "network.decoder_channels=[16,16,8,8,8]")
BLOCKS = (
    "mode=3D",
    "network.encoder=resnet10",
    "network.decoder_channels=[8,8,8,8,8]",
    "training.batch_size=2",
    "training.epochs=1",
)
#: Name → settings, and what `model show` says of the model.
WAYS = {
    "2.5D": ((*SMALL, "mode=2.5D", "patches.slices=5"), "sees:           5 neighbouring slices"),
    "3D": (BLOCKS, "patches:        32 × 32 × 32 voxels"),
    "2D-resampled": ((*SMALL, "voxel_size=20"), "resampled:      every scan, to 20 µm"),
    "3D-resampled": ((*BLOCKS, "voxel_size=16"), "resampled:      every scan, to 16 µm"),
}


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three simulated scans of enough slices for a block, with voxels of about 14 to 20 µm."""
    folder = tmp_path_factory.mktemp("modes") / "cohort"
    small = setting("scans=3", "species=2", f"size={SIZE}", f"slices={SLICES}")
    ran = call("simulate", "cohort", "--out", folder, "--seed", 3, *small)
    assert ran.code == 0, ran.err
    return folder


def fit(dataset: Path, out: Path, *choices: str) -> Ran:
    return call("fit", dataset, "--out", out, *setting(*COMMON, *choices))


def pages(folder: Path) -> np.ndarray:
    return np.stack([tifffile.imread(path) for path in sorted(folder.glob("*.tif"))])


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "log.csv").open() as file:
        return list(csv.DictReader(file))


def scores(run: Path) -> list[float]:
    return [float(row["val_mean_iou"]) for row in rows(run)]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.filterwarnings("ignore::osteon.errors.OsteonWarning")  # blocks larger than a scan
def test_the_whole_way(way: str, deep: Path, tmp_path: Path) -> None:
    choices, told = WAYS[way]
    run, labels = tmp_path / "run", tmp_path / "labels"
    fitted = fit(deep / "dataset.toml", run, *choices)
    assert fitted.code == 0, fitted.err
    model = run / "model.safetensors"
    shown = call("model", "show", model)
    assert shown.code == 0, shown.err
    assert told in shown.out
    assert f", {way.split('-')[0]}, " in shown.out
    kept = json.loads((run / "split.json").read_text())["validation"][0]["scan"]
    scan, mask = deep / kept / "scan", deep / kept / "mask"

    size = re.search(rf'name = "{kept}".*?voxel_size_um = ([\d.]+)', manifest(deep), re.DOTALL)
    assert size is not None
    words = ("predict", scan, "--model", model, "--out", labels, "--voxel-size", size[1])
    predicted = call(*words, *setting("precision=fp32", "threads=1"))
    assert predicted.code == 0, predicted.err
    found = pages(labels)
    assert found.shape == (SLICES, SIZE, SIZE)  # the scan's own grid, every slice
    assert found.dtype == np.uint8
    assert set(np.unique(found)) <= {0, 1, 2}

    evaluated = call("evaluate", "--truth", mask, "--labels", labels, "--json")
    assert evaluated.code == 0, evaluated.err
    truth, ious = pages(mask), []
    for value in range(3):
        both = np.sum((truth == value) & (found == value))
        ious.append(both / np.sum((truth == value) | (found == value)))
    table = {(r["class"], r["metric"]): r["value"] for r in evaluated.json["table"]}
    assert [table[name, "iou"] for name in CLASSES] == pytest.approx(ious)
    # The same scan was measured in the fit: whole slices alike, blocks and other grids nearly.
    apart = 1e-3 if way == "2.5D" else 0.1
    assert np.mean(ious) == pytest.approx(max(scores(run)), abs=apart)


def manifest(folder: Path) -> str:
    return (folder / "dataset.toml").read_text()


# --- going on from a fitted model ------------------------------------------------------------

#: What the original's format can hold.
PLAIN = (
    "network.encoder=tu-lcnet_035",
    "normalisation.recipe=reference-zscore-positive",
    "augmentation.preset=none",
)


@pytest.fixture(scope="module")
def tubes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest of two scans that are soon learned."""
    return write_cohort(tmp_path_factory.mktemp("tubes") / "data")


@pytest.fixture(scope="module")
def first(tubes: Path) -> Iterator[Path]:
    """A fit that others start from."""
    out = tubes.parent / "first"
    ran = fit(tubes, out, *PLAIN, "training.epochs=3", "patches.per_slice=6")
    assert ran.code == 0, ran.err
    yield out
    for path in out.rglob("*"):
        if path.suffix in (".ckpt", ".safetensors", ".pth"):
            path.unlink()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_fit_starts_where_another_ended(
    suffix: str, first: Path, tubes: Path, tmp_path: Path
) -> None:
    source = first / "model.safetensors"
    if suffix == ".pth":
        source = tmp_path / "model.pth"
        made = call("model", "convert", first / "model.safetensors", "--out", source)
        assert made.code == 0, made.err
    out = tmp_path / "run"
    ran = fit(
        tubes,
        out,
        *PLAIN,
        f"network.weights={source}",
        "network.encoder_learning_rate=0",
        "training.epochs=1",
        "optimiser.learning_rate=1e-6",
        "schedule=constant",
    )
    assert ran.code == 0, ran.err
    begun, ended = scores(out)[0], max(scores(first))
    fresh = fit(
        tubes,
        tmp_path / "fresh",
        *PLAIN,
        "training.epochs=1",
        "optimiser.learning_rate=1e-6",
    )
    assert fresh.code == 0, fresh.err
    # A fit that starts from nothing is far behind. Not quite the same score: the statistics of
    # the decoder's batch normalisation follow the patches at any learning rate.
    fresh_score = scores(tmp_path / "fresh")[0]
    assert ended > fresh_score + 0.15  # or the test would say nothing
    assert begun > ended - 0.3 * (ended - fresh_score)
    before, after = (load_file(run / "model.safetensors") for run in (first, out))
    encoder = [name for name in before if name.startswith("encoder.")]
    assert len(encoder) > 100
    assert all(before[name].equal(after[name]) for name in encoder)  # statistics too
    assert any(not before[n].equal(after[n]) for n in before if n.startswith("decoder."))
    record = json.loads((out / "run.json").read_text())["start"]
    assert record["source"] == str(source)
    assert any("layers start" in note for note in record["notes"])
    assert f"started from:   {source}" in call("model", "show", out / "model.safetensors").out


@pytest.mark.parametrize("name", ["none.safetensors", "none.pth"])
def test_weights_that_are_not_there(name: str, cohort: Path, tmp_path: Path) -> None:
    path = tmp_path / name
    ran = fit(cohort / "dataset.toml", tmp_path / "run", *SMALL, f"network.weights={path}")
    refused(ran, 3, str(path), "no such model file")
    assert list(tmp_path.iterdir()) == []


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["2.5D", "3D"])
def test_slices_that_are_no_neighbours(mode: str, cohort: Path, tmp_path: Path) -> None:
    loose = tmp_path / "dataset.toml"
    text = manifest(cohort).replace("contiguous = true", "contiguous = false", 1)
    for name in ("image", "mask"):
        text = text.replace(f'{name} = "', f'{name} = "{cohort}/')
    loose.write_text(text)
    choices = BLOCKS if mode == "3D" else (*SMALL, "mode=2.5D")
    ran = fit(loose, tmp_path / "run", *choices)
    refused(ran, 3, mode, "contiguous = false", "mode=2D")
    assert [path.name for path in tmp_path.iterdir()] == ["dataset.toml"]


def test_a_plateau_needs_a_validation(cohort: Path, tmp_path: Path) -> None:
    ran = fit(
        cohort / "dataset.toml", tmp_path / "run", "schedule=plateau", "validation.method=none"
    )
    refused(ran, 2, "schedule=plateau", "validation")
    assert not (tmp_path / "run").exists()


# --- what is learned from --------------------------------------------------------------------


@pytest.fixture
def sparse(cohort: Path, tmp_path: Path) -> tuple[Path, np.ndarray]:
    """The cohort with four empty slices in the first scan, and the labels that are left."""
    names = sorted(path.parent.name for path in cohort.glob("*/mask"))
    text = manifest(cohort).replace('image = "', f'image = "{cohort}/')
    left = []
    for number, name in enumerate(names):
        mask = pages(cohort / name / "mask")
        if number == 0:
            mask[3:7] = 0
        folder = tmp_path / "data" / name / "mask"
        folder.mkdir(parents=True)
        for z, page in enumerate(mask):
            tifffile.imwrite(folder / f"{z:04d}.tif", page)
        if number < 2:
            left.append(mask)
    path = tmp_path / "data" / "dataset.toml"
    path.write_text(text)
    return path, np.concatenate(left)


def test_weights_of_the_classes_and_slices_come_from_the_data(
    sparse: tuple[Path, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, learned = sparse
    given: list[Sequence[float] | None] = []
    build = training.build_loss

    def noted(loss: Any, *, classes: int, class_weights: Sequence[float] | None) -> Any:
        given.append(class_weights)
        return build(loss, classes=classes, class_weights=class_weights)

    monkeypatch.setattr(training, "build_loss", noted)
    specimens = re.findall(r'specimen = "(.*?)"', dataset.read_text())
    names = re.findall(r'^name = "(.*?)"$', dataset.read_text(), re.MULTILINE)[-3:]
    last = specimens[names.index(sorted(names)[2])]
    common = (*SMALL, f"validation.specimens=[{last}]", "training.epochs=1")
    ran = fit(
        dataset, tmp_path / "run", *common, "loss.class_weights=data", "patches.skip_empty=true"
    )
    assert ran.code == 0, ran.err
    inverse = 1 / np.bincount(learned.ravel(), minlength=3)
    (weights,) = given
    assert weights is not None
    np.testing.assert_allclose(weights, inverse / inverse.mean(), rtol=1e-6)
    empty = int((learned.reshape(len(learned), -1).max(1) == 0).sum())
    assert empty >= 4
    assert int(rows(tmp_path / "run")[0]["step"]) == -(-(20 - empty) // 4)
