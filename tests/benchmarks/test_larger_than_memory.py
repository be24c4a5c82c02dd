"""A scan is predicted by a process that may have a quarter of its size as memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "larger_than_memory.py"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="caps memory as Linux does")


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--work", str(folder), "--json", *words]
    return subprocess.run(command, capture_output=True, text=True)


@LINUX
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_quarter_of_the_scan_is_enough(tmp_path: Path) -> None:
    done = run(
        tmp_path, "--cap", "640MiB", "--times", "4", "--side", "2048", "--air", "0.5",
        "--memory", "192MiB", "--", "--backend", "torch", "--set", "precision=fp32",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["scan_mib"] >= 4 * found["cap_mib"]
    assert found["on_disk_mib"] >= found["scan_mib"]  # no holes, not compressed
    assert found["labels"] == found["slices"]
    assert found["equal"] >= 0.999
    # File-backed pages (libraries) are counted as resident, and not by the cap.
    assert found["peak_mib"] < found["scan_mib"] / 4 + 512


@LINUX
@pytest.mark.slow
def test_the_cap_is_one(tmp_path: Path) -> None:
    """What the process needs at least is refused to it, so the test above can fail."""
    done = run(
        tmp_path, "--cap", "64MiB", "--times", "0.1", "--side", "256", "--",
        "--backend", "torch",
    )  # fmt: skip
    assert done.returncode == 1
    assert json.loads(done.stdout)["exit_code"] != 0
