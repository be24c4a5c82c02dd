"""A fit that was stopped, or killed, comes to the weights of one that was not."""

from __future__ import annotations

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import tifffile
from safetensors.torch import load_file

from osteon.model_file import weights_digest

from .calling import QUICK, call, refused, setting

PATIENCE = 600  # seconds, on a busy machine
pytestmark = pytest.mark.timeout(2 * PATIENCE)


def digest(run: Path) -> str:
    return weights_digest(load_file(run / "model.safetensors"))


def status(run: Path) -> str:
    return str(json.loads((run / "run.json").read_text())["status"])


def start(cohort: Path, out: Path) -> subprocess.Popen[str]:
    words = ["fit", str(cohort / "dataset.toml"), "--out", str(out), *setting(*QUICK)]
    command = [sys.executable, "-c", "from osteon.cli import main; main()", *words]
    return subprocess.Popen(
        [*command, "--events", "jsonl"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_step(process: subprocess.Popen[str], step: int) -> None:
    if process.stderr is None:
        raise ValueError("standard error is not piped")
    for line in process.stderr:
        event = json.loads(line)
        if event["stage"] == "fit" and event["kind"] == "progress" and event["step"] >= step:
            return
    raise AssertionError("the fit ended before it was to be interrupted")


def steps(run: Path) -> list[int]:
    with (run / "log.csv").open() as file:
        return [int(row["step"]) for row in csv.DictReader(file)]


def test_ctrl_c_ends_cleanly_and_resume_goes_on(run: Path, cohort: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(cohort, out)
    wait_for_step(process, 2)
    process.send_signal(signal.SIGINT)
    said, events = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    told = [json.loads(line) for line in events.splitlines()]
    messages = [event["message"] for event in told if event["kind"] == "message"]
    assert sum("press Ctrl-C again" in message for message in messages) == 1
    assert said.splitlines()[-2:] == [
        "stopped early (interrupted from the keyboard)",
        f"go on by: osteon fit {cohort / 'dataset.toml'} --out {out} --resume",
    ]
    assert status(out) == "stopped"
    shown = call("model", "show", out / "model.safetensors")
    assert shown.code == 0
    assert "stopped early" in (out / "report.html").read_text()
    assert digest(out) != digest(run)
    again = call("fit", cohort / "dataset.toml", "--out", out, "--resume")
    assert again.code == 0, again.err
    assert status(out) == "finished"
    assert digest(out) == digest(run)
    assert steps(out) == steps(run)


@pytest.mark.slow
def test_a_killed_fit_goes_on(run: Path, cohort: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(cohort, out)
    deadline = time.monotonic() + PATIENCE
    while not (out / "checkpoints" / "last.ckpt").exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.communicate(timeout=PATIENCE)
    assert status(out) == "running"
    again = call("fit", cohort / "dataset.toml", "--out", out, "--resume")
    assert again.code == 0, again.err
    assert digest(out) == digest(run)
    assert steps(out) == steps(run)


@pytest.fixture
def data(cohort: Path, tmp_path: Path) -> Path:
    """A copy of the cohort that may be spoiled."""
    return Path(shutil.copytree(cohort, tmp_path / "data"))


@pytest.fixture
def stopped(data: Path, tmp_path: Path) -> Path:
    """A fit that a stop file ended."""
    out = tmp_path / "run"

    def stop() -> None:
        while not (out / "plan.json").exists():
            time.sleep(0.01)
        (out / "STOP").touch()

    thread = threading.Thread(target=stop, daemon=True)
    thread.start()
    ran = call("fit", data / "dataset.toml", "--out", out, *setting(*QUICK))
    thread.join(timeout=PATIENCE)
    assert ran.code == 0, ran.err
    assert "stopped early (stop file STOP found)" in ran.out
    return out


def swapped(manifest: str, *scans: str) -> str:
    """Exchange the specimens of two scans."""
    a, b = (
        re.findall(rf'name = "{scan}".*?specimen = "(.*?)"', manifest, re.DOTALL)[0]
        for scan in scans
    )
    for old, new in ((a, "?"), (b, a), ("?", b)):
        manifest = manifest.replace(f'"{old}"', f'"{new}"')
    return manifest


def test_a_stop_file_ends_it_and_changed_data_are_refused(
    stopped: Path, run: Path, data: Path
) -> None:
    assert status(stopped) == "stopped"
    assert not (stopped / "STOP").exists()
    record, manifest = (stopped / "run.json").read_bytes(), data / "dataset.toml"
    resume = ("fit", manifest, "--out", stopped, "--resume")
    split = json.loads((stopped / "split.json").read_text())
    training, validation = split["training"][0]["scan"], split["validation"][0]["scan"]

    page = sorted((data / training / "scan").glob("*.tif"))[4]
    kept = page.read_bytes()
    image = tifffile.imread(page)
    image[3, 3] ^= 1
    tifffile.imwrite(page, image)
    refused(call(*resume), 3, "the data changed", training)
    page.write_bytes(kept)

    rows = manifest.read_text()
    manifest.write_text(rows[: rows.rindex("[[scans]]")])  # one scan fewer
    refused(call(*resume), 3, "the data changed")
    manifest.write_text(swapped(rows, training, validation))
    refused(call(*resume), 3, "divides", "split.json")
    manifest.write_text(rows)

    assert (stopped / "run.json").read_bytes() == record
    again = call(*resume)
    assert again.code == 0, again.err
    assert digest(stopped) == digest(run)


def test_a_finished_fit_stays_what_it_is(run: Path, cohort: Path) -> None:
    before = digest(run), (run / "log.csv").read_bytes()
    again = call("fit", cohort / "dataset.toml", "--out", run, "--resume")
    assert again.code == 0, again.err
    assert (digest(run), (run / "log.csv").read_bytes()) == before
