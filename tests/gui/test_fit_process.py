"""A fit is followed by what it writes, whatever that is."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("napari", reason="the window needs the extra gui")
pytest.importorskip("pytestqt", reason="the window is tested by pytest-qt")

pytestmark = pytest.mark.usefixtures("screen")


class _Ended:
    """A process that has ended."""

    def __init__(self, code: int):
        self.returncode = code

    def poll(self) -> int:
        return self.returncode


def followed(run: Path, text: str, code: int) -> tuple[list[Any], list[Any], list[bool]]:
    from osteon.napari.fit_process import FitProcess

    process = FitProcess()
    process.run, process._process = run, _Ended(code)
    told: list[Any] = []
    failed: list[Any] = []
    ended: list[bool] = []
    process.told.connect(told.append)
    process.failed.connect(failed.append)
    process.ended.connect(ended.append)
    process.log.write_text(text)
    process.look()
    return told, failed, ended


def test_events_come_through(qapp: Any, tmp_path: Path) -> None:
    lines = [
        {"kind": "progress", "stage": "fit", "step": 3, "total": 9, "seconds_left": 4.5},
        {"kind": "message", "stage": "fit", "data": {"epoch": 1, "train_loss": 0.5}, "new": 1},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "fit-1").mkdir()
    (tmp_path / "fit-1" / "model.safetensors").touch()
    told, failed, ended = followed(tmp_path / "fit-1", text, 0)
    assert (told[0].step, told[0].total, told[0].seconds_left) == (3, 9, 4.5)
    assert told[1].data == {"epoch": 1, "train_loss": 0.5}
    assert (failed, ended) == ([], [True])


def test_an_error_keeps_what_to_do_about_it(qapp: Any, tmp_path: Path) -> None:
    data = {"what": "the disk is full", "where": "/d", "mend": "make room"}
    line = {"kind": "error", "message": "…", "data": data, "exit_code": 4}
    _, failed, ended = followed(tmp_path / "fit-1", json.dumps(line) + "\n", 4)
    assert (failed[0].what, failed[0].where, failed[0].mend) == (
        "the disk is full", "/d", "make room",
    )  # fmt: skip
    assert ended == [False]


def test_a_fit_that_dies_says_its_last_words(qapp: Any, tmp_path: Path) -> None:
    _, failed, _ = followed(tmp_path / "fit-1", "Killed by somebody\n", -9)
    assert "ended unexpectedly: Killed by somebody" in failed[0].what
    assert failed[0].where == str(tmp_path / "fit-1.log.jsonl")


def test_curves_take_epochs_alone(qapp: Any, qtbot: Any) -> None:
    from osteon.napari.curves import Curves

    curves = Curves()
    qtbot.addWidget(curves)
    assert not curves.add({"bytes": 3})
    assert curves.add({"epoch": 1, "train_loss": 0.5, "val_loss": None, "learning_rate": 1})
    assert curves.rows == [{"epoch": 1.0, "train_loss": 0.5}]


_KILLED = """
import os, signal, sys, time
from pathlib import Path
from qtpy.QtCore import QCoreApplication
app = QCoreApplication([])
from osteon.napari.fit_process import FitProcess
process = FitProcess()
dataset, settings, run = map(Path, sys.argv[1:])
process.start(run, dataset=dataset, settings=settings)
while not (run / "run.json").exists():
    time.sleep(0.1)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_fit_outlives_a_window_that_is_killed(scan: Path, mask: Path, tmp_path: Path) -> None:
    from osteon.datasets import Manifest, ScanRow
    from osteon.labels import BONE_PORES
    from osteon.napari.form import save_settings
    from osteon.settings import FitSettings, load_settings

    quick = ["training.epochs=2", "training.batch_size=2", "training.workers=0",
             "training.precision=fp32", "patches.size=64", "validation.method=none"]  # fmt: skip
    row = ScanRow(name="tube", image=str(scan), mask=str(mask), specimen="tube")
    Manifest(BONE_PORES, (row,)).save(tmp_path / "dataset.toml")
    save_settings(load_settings(FitSettings, overrides=quick), tmp_path / "fit.yaml")
    run = tmp_path / "fit-1"
    words = [str(tmp_path / "dataset.toml"), str(tmp_path / "fit.yaml"), str(run)]
    ended = subprocess.run([sys.executable, "-c", _KILLED, *words], check=False)
    assert ended.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 240
    while json.loads((run / "run.json").read_text())["status"] == "running":
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert json.loads((run / "run.json").read_text())["status"] == "finished"
    assert (run / "model.safetensors").is_file()
