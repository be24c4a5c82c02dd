"""Fits to simulated slices: alone, beside scans, with one scale and with two."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from osteon import workflows
from osteon.datasets import Manifest, ScanRow
from osteon.errors import UsageError
from osteon.events import Event, Reporter
from osteon.labels import BONE_PORES, LabelClass, LabelScheme
from osteon.model_file import load_model
from osteon.settings import FitSettings, load_settings
from osteon.workflows.fit_data import (
    Prepared,
    complete,
    examine,
    fit_data,
    network_spec,
    open_data,
)

SMALL = (
    "network.encoder=tu-lcnet_035",
    "network.decoder_channels=[16, 16, 8, 8, 8]",
    "patches.size=64",
    "patches.per_slice=2",
    "normalisation.recipe=edges",
    "augmentation.preset=none",
    "simulation.items=8",
    "simulation.validation_items=6",
    "training.batch_size=4",
    "training.epochs=2",
    "training.workers=0",
    "training.precision=fp32",
)


def settings(*more: str) -> FitSettings:
    return load_settings(FitSettings, overrides=[*SMALL, *more])


def dataset(tmp_path: Path, scheme: LabelScheme = BONE_PORES) -> Path:
    y, x = np.mgrid[:96, :112]
    r = np.hypot(y - 48, x - 56)
    labels = np.where(r < 20, 2, np.where(r < 34, 1, 0)).astype(np.uint8)
    rng = np.random.default_rng(0)
    rows = []
    for name in "ab":
        image = np.clip(40 + 120 * (labels == 1) + rng.normal(0, 6, labels.shape), 0, 255)
        np.save(tmp_path / f"{name}.npy", np.stack([image.astype(np.uint8)] * 3))
        np.save(tmp_path / f"{name}-mask.npy", np.stack([labels] * 3))
        paths = {k: str(tmp_path / f"{name}{v}.npy") for k, v in (("image", ""), ("mask", "-mask"))}
        rows.append(ScanRow(name=name, specimen=name, **paths))
    path = tmp_path / "dataset.toml"
    Manifest(scheme, tuple(rows)).save(path)
    return path


@pytest.mark.parametrize("context", ["true", "false"])
def test_a_fit_needs_no_dataset(tmp_path: Path, context: str) -> None:
    run = workflows.fit(out=tmp_path / "run", settings=settings(f"network.context={context}"))
    spec = load_model(run.model).spec
    assert spec.network.in_channels == (2 if context == "true" else 1)
    assert (spec.context is not None) == (context == "true")
    assert spec.recipe == "edges"
    assert spec.labels == BONE_PORES
    record = json.loads((run.folder / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["dataset"] is None
    assert not (run.folder / "dataset.toml").exists()
    assert "8 simulated slices an epoch" in (run.folder / "report.html").read_text()
    assert 0 < run.outcome.history[-1].val_mean_iou < 1


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    whole = workflows.fit(out=tmp_path / "whole", settings=settings("training.epochs=2"))
    part = tmp_path / "part"
    stopped = workflows.fit(out=part, settings=settings("training.epochs=2"), reporter=_after_one())
    assert stopped.outcome.stopped
    resumed = workflows.fit(out=part, resume=True)
    assert not resumed.outcome.stopped
    one, other = load_file(whole.model), load_file(resumed.model)
    assert all(np.array_equal(one[name], other[name]) for name in one)


# A model of a few steps is undecided about everything, and says so.
@pytest.mark.filterwarnings("ignore::osteon.errors.OsteonWarning")
@pytest.mark.parametrize("kept", [True, False])
def test_it_goes_on_with_the_scans_it_began_with(tmp_path: Path, kept: bool) -> None:
    manifest, run = dataset(tmp_path), tmp_path / "run"
    chosen = settings("validation.specimens=[b]")
    stopped = workflows.fit(manifest, out=run, settings=chosen, reporter=_after_one())
    assert stopped.outcome.stopped
    if not kept:  # then the run's own copy is read
        manifest.unlink()
    resumed = workflows.fit(out=run, resume=True)
    assert len(resumed.outcome.history) == 2
    assert json.loads((run / "run.json").read_text())["status"] == "finished"


def _after_one() -> Reporter:

    def stop(event: Event) -> None:
        if event.kind == "message" and "epoch 1/2" in event.message:
            reporter.stop.request("for the test")

    reporter = Reporter(stop)
    return reporter


# A model of four steps is undecided about everything, and says so.
@pytest.mark.filterwarnings("ignore::osteon.errors.OsteonWarning")
@pytest.mark.parametrize("context", ["true", "false"])
def test_scans_and_simulated_slices_are_learned_from_together(tmp_path: Path, context: str) -> None:
    chosen = settings(f"network.context={context}", "validation.specimens=[b]")
    prepared = open_data(dataset(tmp_path), chosen)
    run = workflows.fit(tmp_path / "dataset.toml", out=tmp_path / "run", settings=chosen)
    # 3 slices of scan a, 2 patches each; with two scales as many reduced ones and a half; 8 made.
    patches = 3 * 2 * (1.75 if context == "true" else 1)
    assert run.outcome.plan.steps_per_epoch == -(-(round(patches) + 8) // 4)
    labels = workflows.predict([tmp_path / "b.npy"], model=run.model, out=tmp_path / "labels.npy")
    assert labels[0].predicted is not None
    assert np.load(tmp_path / "labels.npy").shape == (3, 96, 112)
    data = fit_data(
        _completed(prepared, chosen), chosen, network_spec(_completed(prepared, chosen), chosen)
    )
    shapes = {data.source.item(0, i)[0].shape for i in range(len(data.source))}
    assert shapes == {(2 if context == "true" else 1, 64, 64)}
    assert data.tiles is not None
    assert data.tiles.scans == ("b",)


def _completed(prepared: Prepared, chosen: FitSettings) -> Prepared:
    quiet = Reporter()
    return complete(prepared, examine(prepared, chosen, quiet), chosen, quiet)


def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(UsageError, match="nothing to learn from") as caught:
        workflows.fit(out=out, settings=settings("simulation.items=0"))
    assert "simulation.items" in str(caught.value.mend)
    with pytest.raises(UsageError, match=r"normalisation\.recipe=edges"):
        settings("normalisation.recipe=zscore")
    for asked in ("network.context=true", "simulation.items=8"):
        with pytest.raises(UsageError, match=f"{asked.partition('=')[0]} works in 2D only"):
            load_settings(FitSettings, overrides=["mode=2.5D", "normalisation.recipe=edges", asked])
    with pytest.raises(UsageError, match="cannot be counted"):
        workflows.fit(out=out, settings=settings("loss.class_weights=data"))
    scheme = LabelScheme(
        (
            LabelClass("air", 0, (0, 0, 0)),
            LabelClass("bone", 1, (255, 255, 255)),
            LabelClass("x", 2, (255, 0, 0)),
        )
    )
    with pytest.raises(UsageError, match="have the classes"):
        workflows.fit(dataset(tmp_path, scheme), out=out, settings=settings())
    assert not out.exists()
