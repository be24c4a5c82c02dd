"""The same bytes of weights, whatever the number of workers, killed and resumed or not."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from osteon.model_file import weights_digest

from .calling import call, setting

PATIENCE = 240
#: All that draws on randomness, or that a checkpoint could forget.
EVERYTHING = (
    "network.architecture=fpn",  # has dropout in its decoder
    "network.encoder=tu-lcnet_035",
    "augmentation.preset=strong",
    "training.average=0.9",
    "training.accumulate=2",
    "training.batch_size=4",
    "training.epochs=3",
    "training.threads=1",
    "training.precision=fp32",
    "training.clip_norm=1",
    "patches.size=64",
    "patches.per_slice=2",
    "patches.share=0.5",
)


def command(cohort: Path, out: Path, workers: int) -> list[str]:
    choices = setting(*EVERYTHING, f"training.workers={workers}")
    return ["fit", str(cohort / "dataset.toml"), "--out", str(out), "--seed", "11", *choices]


def digests(out: Path) -> tuple[str, str]:
    """Of the model and of the best weights."""
    best = load_file(out / "checkpoints" / "best.safetensors")
    shown = call("model", "show", out / "model.safetensors", "--json")
    return shown.json["weights_sha256"], weights_digest(best)


def scores(out: Path) -> list[str]:
    rows = (out / "log.csv").read_text().splitlines()[1:]
    return [",".join(row.split(",")[:8]) for row in rows]  # without the times


@pytest.fixture(scope="module")
def unbroken(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken") / "run"
    ran = call(*command(cohort, out, 0))
    assert ran.code == 0, ran.err
    return out


def kill_in_the_second_epoch(words: list[str], out: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "osteon", *words, "--events", "jsonl"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    deadline = time.monotonic() + PATIENCE
    per_epoch = None
    assert process.stderr is not None
    for line in process.stderr:
        event = json.loads(line)
        per_epoch = event.get("data", {}).get("steps_per_epoch", per_epoch)
        fitting = event["kind"] == "progress" and event["stage"] == "fit"
        if fitting and per_epoch and event["step"] > per_epoch:
            break
        assert time.monotonic() < deadline
    process.kill()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL
    assert len(scores(out)) in (1, 2)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 3])
def test_killed_and_resumed_gives_the_same_bytes(
    workers: int, unbroken: Path, cohort: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    kill_in_the_second_epoch(command(cohort, out, workers), out)
    ran = call("fit", cohort / "dataset.toml", "--out", out, "--resume")
    assert ran.code == 0, ran.err
    assert json.loads((out / "plan.json").read_text())["workers"] == workers
    assert scores(out) == scores(unbroken)
    assert digests(out) == digests(unbroken)


@pytest.mark.slow
def test_another_seed_gives_other_bytes(unbroken: Path, cohort: Path, tmp_path: Path) -> None:
    words = command(cohort, tmp_path / "run", 0)
    words[words.index("11")] = "12"
    assert call(*words).code == 0
    assert digests(tmp_path / "run") != digests(unbroken)
