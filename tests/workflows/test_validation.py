"""What is kept back to measure a fit, and what its report says of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from osteon import workflows
from osteon.errors import OutputError, UsageError
from osteon.events import Event, Reporter
from osteon.model_file import load_model
from osteon.settings import FitSettings, load_settings

QUICK = (
    "network.decoder_channels=[16,16,8,8,8]",
    "patches.size=32",
    "patches.per_slice=1",
    "training.batch_size=8",
    "training.epochs=1",
    "training.workers=0",
    "training.threads=1",
    "training.precision=fp32",
)


@pytest.fixture(autouse=True)
def _no_weights_are_kept(tmp_path: Path) -> Iterator[None]:
    yield
    for pattern in ("*.ckpt", "*.safetensors"):
        for path in tmp_path.rglob(pattern):
            path.unlink()


def dataset(folder: Path, *, contiguous: bool = True) -> Path:
    """One scan of 12 slices, of one specimen."""
    rng = np.random.default_rng(1)
    z, y, x = np.indices((12, 32, 32))
    labels = (np.hypot(y - 12 - z / 2, x - 16) < 9).astype(np.uint8)
    image = (60 + 120 * labels + rng.normal(0, 5, labels.shape)).astype(np.uint8)
    for name, array in (("scan", image), ("mask", labels)):
        (folder / "one" / name).mkdir(parents=True)
        for index, page in enumerate(array):
            tifffile.imwrite(folder / "one" / name / f"{index:03d}.tif", page)
    out = folder / "dataset.toml"
    workflows.new_dataset(folder, out=out, contiguous=contiguous)
    return out


def settings(*overrides: str) -> FitSettings:
    return load_settings(FitSettings, overrides=[*QUICK, *overrides])


def test_slabs_of_one_scan(tmp_path: Path) -> None:
    said: list[Event] = []
    run = workflows.fit(
        dataset(tmp_path / "data"),
        out=tmp_path / "run",
        settings=settings("validation.method=slabs", "validation.share=0.25", "validation.gap=3"),
        reporter=Reporter(said.append),
    )
    # 12 slices: a quarter is measured, three lie between, the rest is learned from.
    assert [part.slices for part in run.split.training] == [tuple(range(6))]
    assert [part.slices for part in run.split.validation] == [(9, 10, 11)]
    page = run.report.read_text(encoding="utf-8")
    assert "slabs, with a gap of 3 slices between" in page
    assert "optimistic" in page
    assert any("note: " in (e.message or "") and "optimistic" in e.message for e in said)
    best = run.best
    assert best is not None
    assert f"{best.val_mean_iou:.3f}" in page
    kept = load_model(run.model).spec.provenance["best"]
    assert kept["val_mean_iou"] == pytest.approx(best.val_mean_iou)


def test_slabs_need_neighbouring_slices(tmp_path: Path) -> None:
    manifest = dataset(tmp_path / "data", contiguous=False)
    with pytest.raises(UsageError, match="contiguous = false"):
        workflows.fit(manifest, out=tmp_path / "run", settings=settings("validation.method=slabs"))
    assert not (tmp_path / "run").exists()


def test_one_specimen_needs_a_decision(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="only one specimen") as caught:
        workflows.fit(dataset(tmp_path / "data"), out=tmp_path / "run", settings=settings())
    mend = caught.value.mend or ""
    assert "validation.method=slabs" in mend
    assert "validation.method=none" in mend
    assert not (tmp_path / "run").exists()


def test_nothing_kept_back(tmp_path: Path) -> None:
    from osteon.cli.models import describe

    run = workflows.fit(
        dataset(tmp_path / "data"),
        out=tmp_path / "run",
        settings=settings("validation.method=none"),
    )
    assert run.split.validation == ()
    assert len(run.split.training[0].slices) == 12
    assert run.as_dict()["val_mean_iou"] is None or np.isnan(run.as_dict()["val_mean_iou"])
    page = run.report.read_text(encoding="utf-8")
    assert "Nothing was kept back to measure it" in page
    assert "validation:     not measured" in describe(load_model(run.model))


def test_a_full_disk_is_told_and_recorded(tmp_path: Path) -> None:
    manifest, out = dataset(tmp_path / "data"), tmp_path / "run"
    resource = pytest.importorskip("resource")  # not on Windows
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))  # the weights take 45 MB
    try:
        with pytest.raises(OutputError, match="cannot be written") as caught:
            workflows.fit(manifest, out=out, settings=settings("validation.method=none"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.where is not None
    assert str(out) in caught.value.where
    record = json.loads((out / "run.json").read_text())
    assert record["status"] == "failed"
    assert "cannot be written" in record["error"]
    assert not [path for path in out.rglob("*") if "part" in path.suffix]
    run = workflows.fit(manifest, out=out, resume=True)
    assert json.loads((out / "run.json").read_text())["status"] == "finished"
    assert run.model.exists()
