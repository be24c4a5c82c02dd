"""What the benchmark of killed Dask workers counts, and a small run of it."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("study_workers")


def began(step: int) -> str:
    return json.dumps({"kind": "start", "stage": "fit", "step": step, "total": 12})


def ended(epoch: int) -> str:
    data = {"epoch": epoch, "step": 4 * epoch}
    message = f"epoch {epoch}/3: training loss 0.5"
    return json.dumps({"kind": "message", "stage": "fit", "message": message, "data": data})


def test_processes_of_a_run_are_read_from_its_log(bench: ModuleType) -> None:
    progress = json.dumps({"kind": "progress", "stage": "fit", "step": 5, "message": "epoch 2/3"})
    other = json.dumps({"kind": "start", "stage": "survey", "step": 0})
    lines = [other, began(0), ended(1), progress, began(4), ended(2), ended(3), "model: a"]
    found = bench.processes(lines)
    assert found == [(0, [4]), (4, [8, 12])]
    assert bench.learned_again(found) == 0


@pytest.mark.parametrize(
    ("each", "lost"),
    [
        ([(0, [4, 8, 12])], 0),
        ([(0, [4, 8]), (8, [8, 12])], 0),  # measured again, not learned again
        ([(0, [4, 8]), (6, [8, 12])], 1),
        ([(0, [4, 8]), (0, [4]), (4, [8, 12])], 3),  # begun anew, and then from before its second
    ],
)
def test_what_was_finished_and_learned_again_is_counted(
    bench: ModuleType, each: list[Any], lost: int
) -> None:
    assert bench.learned_again(each) == lost


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(
    os.environ.get("OSTEON_LARGE_TESTS") != "1",
    reason="takes four minutes of a processor: set OSTEON_LARGE_TESTS=1",
)
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_six_fits_on_two_workers_that_are_killed(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    words = ["--architectures", "unet", "--sizes", "32", "64", "--seeds", "3", "--json"]
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "study_workers.py"), "--work", str(tmp_path), *words],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["studies"]["2 Dask workers"]["finished"] == 6
    assert len(found["killed"]) == 2
    assert found["equal"] == found["compared"] == {"runs": 2, "scans": 2}
