"""SIGTERM (the time of a cluster's job is up, ``docker stop``) ends commands as Ctrl-C does."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from .calling import call
from .test_stop_and_resume import PATIENCE, digest, start, status, steps, wait_for_step

pytestmark = [
    pytest.mark.timeout(2 * PATIENCE),
    pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without asking"),
]


def test_a_fit_ends_cleanly_and_resume_goes_on(run: Path, cohort: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(cohort, out)
    wait_for_step(process, 2)
    process.send_signal(signal.SIGTERM)
    said, events = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, events
    assert "Traceback" not in events
    assert "stopped early (told to end by the system (SIGTERM))" in said
    assert status(out) == "stopped"
    again = call("fit", cohort / "dataset.toml", "--out", out, "--resume")
    assert again.code == 0, again.err
    assert digest(out) == digest(run)
    assert steps(out) == steps(run)


def test_a_prediction_leaves_nothing_half_done(run: Path, tmp_path: Path) -> None:
    scan = tmp_path / "scan.tif"
    rng = np.random.default_rng(0)
    tifffile.imwrite(scan, rng.integers(1, 255, (300, 128, 128), dtype=np.uint8))
    words = ["predict", scan, "--model", run / "model.safetensors", "--out", tmp_path / "out.tif"]
    command = [sys.executable, "-c", "from osteon.cli import main; main()", *map(str, words)]
    with subprocess.Popen(
        [*command, "--events", "jsonl"], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            event = json.loads(line)
            if event["stage"] == "predict" and event["kind"] == "progress":
                break
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
    assert process.returncode == 130, rest
    assert json.loads(rest.splitlines()[-1])["exit_code"] == 130
    assert sorted(p.name for p in tmp_path.iterdir()) == ["scan.tif"]
