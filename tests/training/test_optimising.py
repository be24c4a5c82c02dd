"""Accumulation, clipping, moving average, schedules, frozen encoders, early stopping."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from osteon.backends.precision import Arithmetic
from osteon.errors import UsageError
from osteon.losses import JaccardLoss
from osteon.model_file import weights_digest
from osteon.networks import build_network
from osteon.training.averaging import decay_at, moving_average
from osteon.training.module import FitModule, learning_rate_factor, parameter_groups

from .toys import SPEC, StopAt, Toy, run, settings


class Small(torch.nn.Module):
    """An encoder with batch normalisation and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4))
        self.head = torch.nn.Conv2d(4, 3, 1)
        self.head_norm = torch.nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head_norm(self.head(self.encoder(x)))
        return result


ENCODER = {"encoder.0.weight", "encoder.0.bias", "encoder.1.weight", "encoder.1.bias"}


def module(network: torch.nn.Module, *overrides: str) -> FitModule:
    return FitModule(
        network,
        JaccardLoss(),
        settings=settings(*overrides),
        total_steps=10,
        arithmetic=Arithmetic("fp32", channels_last=False),
        encoder=ENCODER,
    )


def test_a_moving_average_is_the_sum_worked_by_hand() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    values = [3.0, 5.0, -1.0, 2.0]
    layer.weight.data.fill_(values[0])
    average = moving_average(layer, 0.9)
    expected = values[0]
    for count, value in enumerate(values):
        layer.weight.data.fill_(value)
        average.update_parameters(layer)
        if count:  # the first update copies
            decay = min(0.9, (1 + count) / (10 + count))
            expected = decay * expected + (1 - decay) * value
        else:
            expected = value
        assert float(average.module.weight) == pytest.approx(expected, rel=1e-6)


def test_the_decay_rises_to_its_value() -> None:
    assert decay_at(0, 0.999) == pytest.approx(0.1)
    assert decay_at(90, 0.999) == pytest.approx(0.91)
    assert decay_at(10**6, 0.999) == 0.999


def test_an_average_copies_counters_and_averages_statistics() -> None:
    norm = torch.nn.BatchNorm1d(1)
    average = moving_average(norm, 0.5)
    average.update_parameters(norm)
    norm.num_batches_tracked.fill_(7)
    norm.running_mean.fill_(1.0)  # type: ignore[union-attr]
    average.update_parameters(norm)
    assert int(average.module.num_batches_tracked) == 7
    decay = 2 / 11
    assert float(average.module.running_mean) == pytest.approx(1 - decay)


def test_the_average_is_what_is_measured_and_kept(tmp_path: Path) -> None:
    outcome = run(tmp_path / "a", "training.average=0.9", "training.epochs=2")
    assert outcome.plan.measured == "moving average of the weights"
    plain = run(tmp_path / "b", "training.epochs=2")
    assert plain.plan.measured == "weights"
    assert weights_digest(outcome.weights) != weights_digest(plain.weights)
    state = torch.load(tmp_path / "a/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    live = {k.removeprefix("network."): v for k, v in state.items() if k.startswith("network.")}
    kept = load_file(tmp_path / "a/checkpoints/best.safetensors")
    # The weights that are fitted are those of the fit without an average: it only looks on.
    last = torch.load(tmp_path / "b/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    name = "segmentation_head.0.weight"
    assert torch.equal(live[name], last[f"network.{name}"])
    assert not torch.equal(kept[name], live[name])


def test_accumulated_gradients_are_the_mean_of_the_batches(tmp_path: Path) -> None:
    # A network without batch normalisation would give the same step for 2 × 2 patches as for 4;
    # here the claim is about Lightning's division, so it is checked on the losses' gradients.
    network = Small()
    images, labels = torch.randn(4, 1, 8, 8), torch.randint(0, 3, (4, 6, 6))
    loss = torch.nn.CrossEntropyLoss()

    def gradient(parts: list[slice]) -> torch.Tensor:
        network.zero_grad()
        for part in parts:
            (
                loss(network.head(network.encoder[0](images[part])), labels[part]) / len(parts)
            ).backward()
        return network.head.weight.grad.clone()  # type: ignore[union-attr]

    assert torch.allclose(gradient([slice(0, 4)]), gradient([slice(0, 2), slice(2, 4)]), atol=1e-6)
    outcome = run(tmp_path, "training.accumulate=2", "training.batch_size=2", "training.epochs=2")
    assert outcome.plan.steps_per_epoch == 2  # 6 patches: 2 × 2, then the other two twice
    assert [row.step for row in outcome.history] == [2, 4]


def test_accumulation_steps_as_often_as_the_plan_says(tmp_path: Path) -> None:
    run(
        tmp_path,
        "training.accumulate=3",
        "training.batch_size=1",
        "training.epochs=2",
        "patches.size=64",
        source=Toy(6, size=64),
    )
    state = torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)
    steps = {int(s["step"]) for s in state["optimizer_states"][0]["state"].values()}
    assert steps == {4}


@pytest.mark.parametrize("step", [1, 3])
def test_accumulation_and_average_survive_a_stop(step: int, tmp_path: Path) -> None:
    choices = ["training.accumulate=2", "training.batch_size=2", "training.average=0.9"]
    unbroken = run(tmp_path / "whole", *choices)
    run(tmp_path / "broken", *choices, reporter=StopAt(step).reporter)
    resumed = run(tmp_path / "broken", *choices, resume=True)
    assert weights_digest(resumed.weights) == weights_digest(unbroken.weights)
    assert [r.train_loss for r in resumed.history] == pytest.approx(
        [r.train_loss for r in unbroken.history], rel=1e-9
    )


def test_single_patches_too_small_for_the_network_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="single patches"):
        run(tmp_path, "training.batch_size=1")


def test_a_lone_last_patch_is_learned_from(tmp_path: Path) -> None:
    # 5 patches in batches of 4 leave one, of which batch normalisation alone could make nothing.
    outcome = run(tmp_path, source=Toy(5), tiles=None)
    assert outcome.plan.steps_per_epoch == 2
    assert len(outcome.history) == 3


def test_clipping_bounds_the_step(tmp_path: Path) -> None:
    def distance(folder: Path, *overrides: str) -> float:
        choices = ["optimiser=sgd", "optimiser.learning_rate=1", "optimiser.momentum=0"]
        outcome = run(
            folder, *choices, "schedule=constant", "training.epochs=1", "training.batch_size=6",
            *overrides, tiles=None,
        )  # fmt: skip
        torch.manual_seed(42)
        start = dict(build_network(SPEC).named_parameters())
        return math.sqrt(
            sum(float((outcome.weights[k] - v.detach()).square().sum()) for k, v in start.items())
        )

    free = distance(tmp_path / "free")
    assert free > 0.02
    assert distance(tmp_path / "clipped", "training.clip_norm=0.01") == pytest.approx(
        0.01, rel=1e-3
    )


def test_a_share_of_the_learning_rate_goes_to_the_encoder() -> None:
    made = module(Small(), "network.encoder_learning_rate=0.1", "optimiser.learning_rate=0.5")
    optimiser = made.configure_optimizers()["optimizer"]  # type: ignore[index]
    rates = {id(p): g["lr"] for g in optimiser.param_groups for p in g["params"]}
    found = {n: rates[id(p)] for n, p in made.network.named_parameters()}
    assert {n for n, rate in found.items() if rate == pytest.approx(0.05)} == ENCODER
    assert {n for n, rate in found.items() if rate == 0.5} == set(found) - ENCODER


def test_a_frozen_encoder_stays_as_it_is_with_its_statistics() -> None:
    network = Small()
    made = module(network, "network.encoder_learning_rate=0")
    before = {k: v.clone() for k, v in network.state_dict().items()}
    optimiser = made.configure_optimizers()["optimizer"]  # type: ignore[index]
    network.train()
    made._trainer = None
    for layer in made._frozen:
        layer.train(False)
    loss = network(torch.randn(4, 1, 8, 8)).square().mean()
    loss.backward()
    optimiser.step()
    changed = {k for k, v in network.state_dict().items() if not torch.equal(v, before[k])}
    assert not {k for k in changed if k.startswith("encoder.")}
    assert {"head.weight", "head_norm.running_mean"} <= changed


def test_a_fit_with_a_frozen_encoder_leaves_it_alone(tmp_path: Path) -> None:
    outcome = run(tmp_path, "network.encoder_learning_rate=0", "training.epochs=1")
    torch.manual_seed(42)
    start = build_network(SPEC).state_dict()
    changed = {k for k, v in outcome.weights.items() if not torch.equal(v, start[k])}
    assert changed
    assert not {k for k in changed if k.startswith("encoder.")}


def test_without_an_encoder_there_is_none_to_freeze() -> None:
    with pytest.raises(UsageError, match="no encoder"):
        parameter_groups(Small(), (), learning_rate=1.0, encoder_share=0.0)


def test_schedules_at_their_corners() -> None:
    def rates(*overrides: str) -> list[float]:
        factor = learning_rate_factor(settings(*overrides).schedule, highest=1e-3, total=100)
        return [1e-3 * factor(step) for step in (0, 20, 50, 100)]

    half = 1e-6 + (1e-3 - 1e-6) / 2  # the cosine's middle, by hand
    assert rates()[0] == 1e-3
    assert rates()[2] == pytest.approx(half)
    assert rates()[3] == pytest.approx(1e-6)
    assert rates("schedule=one-cycle")[:2] == pytest.approx([4e-5, 1e-3])
    assert rates("schedule=constant") == [1e-3] * 4


class Measurements:
    """Scores for the epochs, instead of a validation's."""

    def __init__(self, *scores: float):
        self._scores = list(scores)

    def __call__(self, network: object, loss: object, tiles: Any, **kwargs: object) -> object:
        from osteon.training.measuring import Measured

        score = self._scores.pop(0)
        counts = torch.zeros(len(tiles.scans), 3, 3).numpy()
        return Measured(0.5, score, (score,) * 3, counts)


def test_a_plateau_lowers_the_learning_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "osteon.training.watch.measure", Measurements(0.5, 0.6, 0.6, 0.55, 0.7, 0.7, 0.7)
    )
    outcome = run(
        tmp_path, "schedule=plateau", "schedule.patience=1", "schedule.factor=0.5",
        "training.epochs=7",
    )  # fmt: skip
    # Epochs 3 and 4 are no better than 2: lowered for the 5th, which is better.
    rates = [row.learning_rate for row in outcome.history]
    assert rates == pytest.approx([1e-3] * 4 + [5e-4] * 3)


def test_a_plateau_remembers_what_it_saw_before_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = ["schedule=plateau", "schedule.patience=1", "training.epochs=4"]
    scores = (0.6, 0.5, 0.5, 0.5)
    monkeypatch.setattr("osteon.training.watch.measure", Measurements(*scores))
    unbroken = run(tmp_path / "a", *choices)
    monkeypatch.setattr("osteon.training.watch.measure", Measurements(*scores))
    run(tmp_path / "b", *choices, reporter=StopAt(5).reporter)
    resumed = run(tmp_path / "b", *choices, resume=True)
    assert [r.learning_rate for r in resumed.history] == [r.learning_rate for r in unbroken.history]
    assert resumed.history[-1].learning_rate < 1e-3
    assert weights_digest(resumed.weights) == weights_digest(unbroken.weights)


def test_a_fit_ends_early_when_nothing_gets_better(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("osteon.training.watch.measure", Measurements(0.5, 0.6, 0.6, 0.55, 0.7))
    choices = ["training.patience=2", "training.epochs=9"]
    outcome = run(tmp_path, *choices)
    assert outcome.best_epoch == 2
    assert len(outcome.history) == 4
    assert outcome.stopped is None
    assert "2 epochs" in str(outcome.converged)
    again = run(tmp_path, *choices, resume=True)  # has nothing left to do
    assert len(again.history) == 4
    assert again.converged
    assert weights_digest(again.weights) == weights_digest(outcome.weights)


def test_the_log_for_tensorboard_holds_the_epochs(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(tmp_path, reporter=StopAt(3).reporter)
    outcome = run(tmp_path, resume=True)
    log = EventAccumulator(str(tmp_path / "tensorboard"))
    log.Reload()
    for name, field in (("IoU/mean", "val_mean_iou"), ("loss/training", "train_loss")):
        told = {e.step: e.value for e in log.Scalars(name)}
        expected = {r.step: getattr(r, field) for r in outcome.history}
        assert told == pytest.approx(expected, rel=1e-5)
    assert {f"IoU/{n}" for n in ("background", "bone", "pores")} <= set(log.Tags()["scalars"])


def test_the_plan_says_what_it_takes(tmp_path: Path) -> None:
    outcome = run(tmp_path, "training.epochs=1", "training.accumulate=2", "training.batch_size=2")
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert plan["accumulate"] == 2
    assert plan["measured"] == "weights"
    assert outcome.usage.peak_memory > 2e8  # torch alone takes more
    assert outcome.usage.gpu_memory is None
