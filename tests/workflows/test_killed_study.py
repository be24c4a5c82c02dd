"""A study of real, tiny fits whose driver and fits are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from .processes import QUICK, write_dataset

PATIENCE = 300


def osteon(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "osteon", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_all(driver: subprocess.Popen[bytes]) -> None:
    """As when the machine loses its power."""
    others = psutil.Process(driver.pid).children(recursive=True)
    for process in (psutil.Process(driver.pid), *others):
        process.send_signal(signal.SIGKILL)
    driver.wait()


@pytest.mark.slow
def test_a_killed_study_ends_with_the_same_weights_and_predicts(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    settings: dict[str, object] = {}
    for item in QUICK:
        name, _, value = item.partition("=")
        group, _, key = name.partition(".")
        settings.setdefault(group, {})[key] = yaml.safe_load(value)  # type: ignore[index]
    entries = {"schema": 1, "dataset": "dataset.toml", "folds": 2, "settings": settings}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(entries))
    words = ["study", "run", str(tmp_path / "study.yaml"), "--out"]
    assert osteon(*words, str(tmp_path / "whole")).wait(PATIENCE) == 0
    killed = tmp_path / "killed"
    driver = osteon(*words, str(killed))
    log, start = killed / "runs" / "baseline-fold1-seed42" / "log.csv", time.monotonic()
    while not log.exists() and time.monotonic() - start < PATIENCE:
        time.sleep(0.05)
    kill_all(driver)
    assert osteon(*words, str(killed)).wait(PATIENCE) == 0
    for fold in (1, 2):
        hashes = []
        for study in ("whole", "killed"):
            run = tmp_path / study / "runs" / f"baseline-fold{fold}-seed42"
            assert json.loads((run / "run.json").read_text())["status"] == "finished"
            best = (run / "checkpoints" / "best.safetensors").read_bytes()
            hashes.append((best, (run / "validation.csv").read_text()))
        assert hashes[0] == hashes[1]
    assert osteon("study", "report", str(killed)).wait(PATIENCE) == 0
    labels = tmp_path / "labels"
    predict = [
        "predict",
        str(tmp_path / "a" / "scan"),
        "--model",
        str(killed),
        "--out",
        str(labels),
    ]
    assert osteon(*predict, "--set", "report=no").wait(PATIENCE) == 0
    record = json.loads((tmp_path / "labels.osteon.json").read_text())
    assert len(record["mean_with"]) == 1
