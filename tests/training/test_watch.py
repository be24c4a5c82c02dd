"""What happens between the steps: interrupted validations, schedules, divergence, what is told."""

from __future__ import annotations

import math
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from osteon.backends.precision import Arithmetic
from osteon.errors import InputError
from osteon.events import Event, Reporter
from osteon.model_file import weights_digest
from osteon.training import plan

from .toys import Toy, run


class StopInValidation:
    """A listener that asks for a stop in a validation, counted from 1."""

    def __init__(self, number: int):
        self.reporter = Reporter(self)
        self._left = number

    def __call__(self, event: Event) -> None:
        if event.stage == "validate" and event.kind == "start":
            self._left -= 1
            if self._left == 0:
                self.reporter.stop.request("test")


FALLING = [  # at a rate so high that scores fall, and with them the learning rate
    "schedule=plateau", "schedule.patience=1", "training.epochs=5",
    "optimiser.learning_rate=0.1",
]  # fmt: skip


@pytest.mark.parametrize(
    ("choices", "numbers"),
    [([], [3]), (FALLING, [3, 1, 2]), ([*FALLING, "training.average=0.5"], [5])],
    ids=["the-last", "plateau-three-times", "average-the-last"],
)
def test_an_interrupted_validation_is_made_up_for(
    choices: list[str], numbers: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # At this rate a rounding decides when scores fall: not the layout that is faster at the moment.
    one = Arithmetic("fp32", channels_last=True)
    monkeypatch.setattr(plan, "probe", lambda *args, **more: (one, {}))
    whole = run(tmp_path / "whole", *choices)
    for turn, number in enumerate(numbers):
        listener = StopInValidation(number)
        broken = run(tmp_path / "broken", *choices, reporter=listener.reporter, resume=turn > 0)
        assert broken.stopped == "test"
        assert len(broken.history) < len(whole.history)
    last = run(tmp_path / "broken", *choices, resume=True)
    assert last.stopped is None
    for a, b in zip(last.history, whole.history, strict=True):
        assert (a.step, a.val_mean_iou, a.learning_rate) == (
            b.step, b.val_mean_iou, b.learning_rate,
        )  # fmt: skip
    assert weights_digest(last.weights) == weights_digest(whole.weights)
    if choices:
        assert whole.history[-1].learning_rate < whole.history[0].learning_rate


@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_loss_that_is_told_is_that_of_a_batch(
    accumulate: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("osteon.training.watch.LOSS_SECONDS", 0.0)
    monkeypatch.setattr("osteon.events.MIN_INTERVAL_S", 0.0)
    told: list[float] = []

    def listen(event: Event) -> None:
        found = re.search(r"loss ([\d.]+)$", event.message or "")
        if event.kind == "progress" and found:
            told.append(float(found[1]))

    choices = [f"training.accumulate={accumulate}", "training.batch_size=2", "training.epochs=1"]
    slow = [*choices, "optimiser.learning_rate=1e-7"]  # the loss stays what it was
    outcome = run(tmp_path, *slow, reporter=Reporter(listen))
    assert len(told) == 3 // accumulate
    assert told == pytest.approx([outcome.history[0].train_loss] * len(told), abs=0.05)


class Spoiled(Toy):
    """Patches that hold NaN from the second epoch on."""

    def item(self, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        image, labels = super().item(epoch, index)
        return image * (math.nan if epoch else 1.0), labels


def test_weights_that_are_not_finite_are_never_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("osteon.training.watch.LOSS_SECONDS", math.inf)
    with pytest.raises(InputError, match="diverged") as caught:
        run(tmp_path, source=Spoiled())
    assert "--resume" not in str(caught.value)
    kept: dict[str, Any] = torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)
    assert kept["global_step"] == 2
    assert all(bool(t.isfinite().all()) for t in kept["state_dict"].values())


@pytest.fixture
def _a_job_of_slurm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = signal.getsignal(signal.SIGUSR1)
    for name, value in (("JOB_ID", "7"), ("NTASKS", "1"), ("JOB_NAME", "fit"), ("PROCID", "0")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("_a_job_of_slurm")
def test_slurm_signals_are_not_taken_by_the_training_loop(tmp_path: Path) -> None:
    # Lightning's own handler would requeue the job and leave a checkpoint that osteon never reads.
    before, during = signal.getsignal(signal.SIGUSR1), []

    def listen(event: Event) -> None:
        if event.stage == "validate":
            during.append(signal.getsignal(signal.SIGUSR1))

    run(tmp_path, "training.epochs=1", reporter=Reporter(listen))
    assert set(during) == {before}


def test_ctrl_c_reaches_whoever_started_the_fit(tmp_path: Path) -> None:
    # Lightning makes SystemExit(1) of it and ignores SIGINT from then on.
    before = signal.getsignal(signal.SIGINT)

    def press(event: Event) -> None:
        if event.stage == "validate":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, reporter=Reporter(press))
    assert signal.getsignal(signal.SIGINT) == before
