"""A study of real fits whose driver and fits are killed ends with the table of one that was not."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import yaml

from osteon.settings import SimulateSettings
from osteon.studies.collecting import collect
from osteon.workflows import simulate_cohort

EPOCHS, STEPS = 5, 12
FIRST, SECOND = "baseline-seed1", "baseline-seed2"
#: Seconds, on a busy machine.
PATIENCE = 1500
#: A fit of seconds; one thread and one precision, so that each process comes to the same figures.
SETTINGS = {
    "network": {"encoder": "tu-lcnet_035", "decoder_channels": [16, 16, 8, 8, 8]},
    "patches": {"size": 32, "per_slice": 3},
    "validation": {"max_slices": 4},
    "training": {
        "epochs": EPOCHS, "batch_size": 4, "threads": 1, "workers": 0, "precision": "fp32",
    },
}  # fmt: skip
#: Columns that tell how long something took and how much memory, not what came out.
COSTS = {"seconds", "seconds_per_epoch", "prediction_mvoxel_per_second", "peak_memory_bytes"}


def driver(study: Path, out: Path) -> subprocess.Popen[bytes]:
    words = ["study", "run", str(study), "--out", str(out), "--events", "none"]
    return subprocess.Popen(
        [sys.executable, "-m", "osteon", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said.decode()


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, "the driver ended before it was to be killed"
        assert time.monotonic() < until
        time.sleep(0.02)


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def kill_fit(out: Path, name: str) -> int:
    """SIGKILL of a fit, and of whatever it started; returns its number."""
    pid = pid_of(out, name)
    for one in [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]:
        os.kill(one.pid, signal.SIGKILL)
    return pid


def pid_of(out: Path, name: str) -> int:
    return int(json.loads((out / f"logs/{name}.process.json").read_text())["pid"])


def epochs(out: Path, name: str) -> int:
    """Epochs that a run has put on the disk."""
    log = out / "runs" / name / "log.csv"
    return len(log.read_text().splitlines()) - 1 if log.exists() else 0


def told(out: Path, name: str) -> list[dict[str, list[int]]]:
    """Of each process of a run, the step it began at, the steps it took, the epochs it ended."""
    found: list[dict[str, list[int]]] = []
    log = out / f"logs/{name}.log"
    for line in log.read_text().splitlines() if log.exists() else []:
        if not line.startswith("{") or (event := json.loads(line)).get("stage") != "fit":
            continue
        if event["kind"] == "start":
            found.append({"steps": [event["step"]], "epochs": []})
        elif event["kind"] == "progress":
            found[-1]["steps"].append(event["step"])
        elif (message := str(event.get("message"))).startswith("epoch "):
            found[-1]["epochs"].append(int(message.split()[1].split("/")[0]))
    return found


def within_epoch(out: Path, name: str, after: int) -> bool:
    """Whether a run has more epochs on the disk than so many, and is in the middle of the next."""
    kept, done = epochs(out, name), told(out, name)
    return kept > after and bool(done) and done[-1]["steps"][-1] > kept * STEPS


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def scores(out: Path) -> list[dict[str, object]]:
    rows = collect(out).runs
    return [{key: value for key, value in row.items() if key not in COSTS} for row in rows]


def curves(out: Path, name: str) -> list[dict[str, str]]:
    with (out / "runs" / name / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in rows]


@pytest.mark.slow
@pytest.mark.timeout(3 * PATIENCE)
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_study_ends_with_the_table_of_one_that_was_not(tmp_path: Path) -> None:
    cohort = SimulateSettings(scans=3, species=3, size=64, slices=8, kinds=("shaft",))
    simulate_cohort(tmp_path / "data", settings=cohort)
    study = tmp_path / "study.yaml"
    entries = {"schema": 1, "dataset": "data/dataset.toml", "seeds": [1, 2]}
    study.write_text(yaml.safe_dump({**entries, "settings": SETTINGS}))
    whole, out = tmp_path / "whole", tmp_path / "killed"
    finish(driver(study, whole))

    # As when the machine goes down, in the middle of the second fit.
    process = driver(study, out)
    wait_for(lambda: within_epoch(out, SECOND, 1), process)
    kill(process)
    kill_fit(out, SECOND)
    first = state(out / "runs" / FIRST)
    kept = epochs(out, SECOND)
    assert 2 <= kept < EPOCHS
    assert json.loads((out / "runs" / SECOND / "run.json").read_text())["status"] == "running"

    # The fit alone: its driver has it gone on with. Then the driver alone: the fit outlives it.
    process = driver(study, out)
    wait_for(lambda: within_epoch(out, SECOND, kept), process)
    killed = kill_fit(out, SECOND)
    more = epochs(out, SECOND)
    wait_for(lambda: pid_of(out, SECOND) != killed, process)
    kill(process)
    outlived = pid_of(out, SECOND)

    finish(driver(study, out))
    assert pid_of(out, SECOND) == outlived  # waited for, not started once more
    assert state(out / "runs" / FIRST) == first  # not repeated, nor touched
    every = list(range(1, EPOCHS + 1))
    assert [process["epochs"] for process in told(out, FIRST)] == [every]
    began = [process["steps"][0] for process in told(out, SECOND)]
    # Nothing but the epoch in progress was learned again.
    assert len(began) == 3
    assert began[0] == 0
    assert began[1] >= kept * STEPS
    assert began[2] >= more * STEPS
    ended = [epoch for process in told(out, SECOND) for epoch in process["epochs"]]
    assert sorted(set(ended)) == every
    assert scores(out) == scores(whole)
    assert [row["status"] for row in scores(out)] == ["finished", "finished"]
    for name in (FIRST, SECOND):
        assert curves(out, name) == curves(whole, name)
