"""A scan is predicted by a process that may have a quarter of its size as memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "larger_than_memory.py"
#: PyTorch with CUDA's libraries and the networks' take about 900 MiB of it before anything is run.
CAP_MIB = 1152
LARGE = pytest.mark.skipif(
    os.environ.get("OSTEON_LARGE_TESTS") != "1",
    reason="takes 5 GiB of disk and some minutes: set OSTEON_LARGE_TESTS=1",
)
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="caps memory as Linux does")


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--work", str(folder), "--json", *words]
    return subprocess.run(command, capture_output=True, text=True)


@LINUX
@LARGE
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_quarter_of_the_scan_is_enough(tmp_path: Path) -> None:
    if shutil.disk_usage(tmp_path).free < 5 * CAP_MIB * 2**20:
        pytest.skip("the disk has too little room for such a scan")
    done = run(
        tmp_path, "--cap", f"{CAP_MIB}MiB", "--times", "4", "--side", "512", "--air", "0.5",
        "--dtype", "float32", "--memory", "128MiB", "--", "--backend", "torch", "--set",
        "precision=fp32",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["scan_mib"] >= 4 * found["cap_mib"]
    assert found["on_disk_mib"] >= found["scan_mib"]  # no holes, not compressed
    assert found["labels"] == found["slices"]
    assert found["equal"] >= 0.999


@LINUX
@pytest.mark.slow
def test_the_cap_is_one(tmp_path: Path) -> None:
    """What the process needs at least is refused to it, so the test above can fail."""
    done = run(
        tmp_path, "--cap", "256MiB", "--times", "0.01", "--side", "256", "--", "--backend", "torch"
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["exit_code"] != 0
