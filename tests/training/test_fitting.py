"""Fitting: the best weights are the best epoch's, stopping and resuming lose nothing."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from osteon.errors import InputError, OutputError
from osteon.metrics import confusion_matrix, iou
from osteon.model_file import weights_digest
from osteon.networks import build_network, load_weights
from osteon.training import FitOutcome

from .toys import SPEC, StopAt, Toy, ToyTiles, run


@pytest.fixture(autouse=True)
def _every_step_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osteon.events.MIN_INTERVAL_S", 0.0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[FitOutcome, Path]:
    folder = tmp_path_factory.mktemp("whole")
    return run(folder), folder


def test_an_epoch_has_every_patch_once(whole: tuple[FitOutcome, Path]) -> None:
    outcome, _ = whole
    assert outcome.plan.steps_per_epoch == 2  # 4 + 2 patches
    assert [row.step for row in outcome.history] == [2, 4, 6]
    assert outcome.stopped is None


def test_log_has_a_row_an_epoch(whole: tuple[FitOutcome, Path]) -> None:
    outcome, folder = whole
    with (folder / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
    assert float(rows[1]["val_mean_iou"]) == pytest.approx(outcome.history[1].val_mean_iou)
    assert set(rows[0]) >= {"val_iou_bone", "val_iou_pores", "learning_rate", "train_loss"}


def test_best_weights_are_those_of_the_best_epoch(tmp_path: Path) -> None:
    # A learning rate that ruins the network after the first epochs would be kept by a live
    # reference to the weights; the kept ones must score what the log says.
    outcome = run(tmp_path, "training.epochs=6", "optimiser.learning_rate=0.02")
    assert outcome.best_epoch is not None
    best = max(outcome.history, key=lambda row: row.val_mean_iou)
    assert outcome.best_epoch == best.epoch
    network = build_network(SPEC)
    load_weights(network, outcome.weights)
    network.eval()
    scores = []
    for index in range(2):
        image, labels, _ = ToyTiles().item(index)
        with torch.inference_mode():
            predicted = network(torch.from_numpy(image)[None]).argmax(1)[0].numpy()
        confusion = confusion_matrix(labels, predicted.astype(np.uint8), classes=3)
        scores.append(np.nanmean(iou(confusion)))
    assert np.mean(scores) == pytest.approx(best.val_mean_iou, abs=1e-6)
    assert weights_digest(load_file(tmp_path / "checkpoints/best.safetensors")) == weights_digest(
        outcome.weights
    )


@pytest.mark.parametrize("step", [1, 2, 3])
def test_stopped_and_resumed_equals_unbroken(
    step: int, whole: tuple[FitOutcome, Path], tmp_path: Path
) -> None:
    first = run(tmp_path, reporter=StopAt(step).reporter)
    assert first.stopped == "test"
    second = run(tmp_path, resume=True)
    unbroken = whole[0]
    assert second.stopped is None
    assert weights_digest(second.weights) == weights_digest(unbroken.weights)
    for a, b in zip(second.history, unbroken.history, strict=True):
        assert (a.epoch, a.step, a.val_mean_iou) == (b.epoch, b.step, b.val_mean_iou)
        assert a.train_loss == pytest.approx(b.train_loss, rel=1e-9)


def test_workers_do_not_change_the_result(whole: tuple[FitOutcome, Path], tmp_path: Path) -> None:
    outcome = run(tmp_path, "training.workers=2")
    assert outcome.plan.workers == 2
    assert weights_digest(outcome.weights) == weights_digest(whole[0].weights)


def test_stop_before_the_first_validation_gives_a_model(tmp_path: Path) -> None:
    outcome = run(tmp_path, reporter=StopAt(1).reporter)
    assert outcome.best_epoch is None
    load_weights(build_network(SPEC), outcome.weights)


def test_without_validation_the_last_weights_are_kept(tmp_path: Path) -> None:
    outcome = run(tmp_path, tiles=None)
    assert outcome.best_epoch == 3
    assert all(math.isnan(row.val_mean_iou) for row in outcome.history)


def test_divergence_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osteon.training.watch.LOSS_SECONDS", 0.0)
    with pytest.raises(InputError, match="diverged"):
        run(tmp_path, source=Toy(value=math.nan))


def test_a_damaged_checkpoint_is_told(tmp_path: Path) -> None:
    run(tmp_path, reporter=StopAt(1).reporter)
    last = tmp_path / "checkpoints/last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(InputError, match="checkpoint cannot be read"):
        run(tmp_path, resume=True)


def test_an_unwritable_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        run(tmp_path / "file")


def test_max_minutes_becomes_a_recorded_number_of_steps(tmp_path: Path) -> None:
    outcome = run(tmp_path, "training.max_minutes=0.05", "training.epochs=10000")
    assert outcome.plan.total_steps < 10000 * 2
    assert outcome.history[-1].step == outcome.plan.total_steps
    assert outcome.seconds < 30
