"""What a first preview needs is made ready beforehand, once."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("napari", reason="the window needs the extra gui")
pytest.importorskip("pytestqt", reason="the window is tested by pytest-qt")

from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication

from osteon.errors import Stopped
from osteon.events import Reporter, StopToken
from osteon.settings import PredictSettings

from .common import PATIENCE_MS, put, wait_for


def test_a_preview_finds_the_model_ready(
    viewer: Any, qtbot: Any, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from osteon.napari.predicting import PredictWidget
    from osteon.napari.predictors import Predictors
    from osteon.workflows import slicewise

    ran: list[slice] = []
    run = slicewise.SlicePredictor.run

    def counted(self: Any, part: slice, **more: Any) -> Any:
        ran.append(part)
        return run(self, part, **more)

    monkeypatch.setattr(slicewise.SlicePredictor, "run", counted)
    put(viewer, scan)
    widget = PredictWidget(viewer)
    qtbot.addWidget(widget)
    widget.session.choose_folder(tmp_path / "work")
    assert not widget.warming.running  # a widget that nobody sees costs nothing
    widget.show()
    qtbot.wait(1000)
    assert not widget.warming.running  # nor one that is only there
    QApplication.sendEvent(widget, QEvent(QEvent.Type.Enter))
    kept = Predictors.of(widget.session)._kept
    qtbot.waitUntil(lambda: bool(kept or Predictors.of(widget.session)._kept), timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: not widget.warming.running, timeout=PATIENCE_MS)

    assert ran == [slice(0, 1)]  # the network has run once, on one slice
    widget.warming.again()
    qtbot.wait(1000)
    qtbot.waitUntil(lambda: not widget.warming.running, timeout=PATIENCE_MS)
    assert ran == [slice(0, 1)]  # what is kept is ready

    def late(*args: Any, **more: Any) -> None:
        raise AssertionError("this should have been ready")

    monkeypatch.setattr(slicewise, "SlicePredictor", late)
    widget.preview()
    wait_for(qtbot, widget)
    assert widget.said.text().startswith("Labelled slice"), widget.said.text()
    [(_, predictor, _)] = Predictors.of(widget.session)._kept
    # Another backend would have to be converted first, for one slice.
    assert predictor._job.backend.description.startswith("torch")
    assert not (tmp_path / "work").exists() or not list((tmp_path / "work").glob("*part"))


class _Slow:
    """Takes until it is let go; counts how often it is made."""

    made = 0
    go = threading.Event()

    def __init__(self, *args: Any, **more: Any):
        type(self).made += 1
        self.go.wait(20)


def test_who_asks_for_what_is_being_made_waits_for_it(
    scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from osteon.napari.predictors import Predictors, Request
    from osteon.workflows import slicewise

    monkeypatch.setattr(slicewise, "SlicePredictor", _Slow)
    predictors, request = Predictors(), Request(scan, "bone-pores", PredictSettings())
    got: list[Any] = []

    def ask() -> None:
        got.append(predictors.get(request, alone=True, reporter=Reporter()))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    stop = StopToken()
    stop.request()
    with pytest.raises(Stopped, match="made ready"):
        predictors.get(request, alone=True, reporter=Reporter(stop=stop))
    _Slow.go.set()
    for thread in threads:
        thread.join()
    assert _Slow.made == 1
    assert got[0] is got[1]


_FIRST_LABELS = """
import sys
import napari
import numpy as np
from osteon.labels import BONE_PORES
from osteon.napari.drawing import load_drawing
from osteon.napari.layers import labels_keywords
from osteon.volume import Geometry

viewer = napari.Viewer(show=False)
grey = np.zeros((3, 32, 32), np.uint8)
viewer.add_image(grey)
try:  # napari does without
    from numba.core import event
    recorder = event.RecordingListener()
    event.register("numba:compile", recorder)
    compiled = recorder.buffer
except ImportError:
    compiled = []
if "ready" in sys.argv:
    load_drawing()
compiled.clear()
before = set(sys.modules)
from vispy.visuals.line.dash_atlas import _make_pattern
patterns = _make_pattern.cache_info().misses
viewer.add_labels(np.zeros_like(grey), **labels_keywords("labels", Geometry(), BONE_PORES))
heavy = {"pandas", "numba.typed.typeddict"} & (set(sys.modules) - before)
computed = _make_pattern.cache_info().misses - patterns
print("compiled", len(compiled), "computed", computed, "loaded", sorted(heavy))
viewer.close()
"""


@pytest.mark.parametrize(
    ("ready", "said"),
    [("ready", "compiled 0 computed 0 loaded []"), ("", "'pandas']")],
)
def test_a_first_labels_layer_compiles_and_loads_nothing_once_that_is_made_ready(
    screen: None, ready: str, said: str
) -> None:
    # In a process of its own: here another test may have compiled it already.
    words = [sys.executable, "-c", _FIRST_LABELS, ready]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_MS / 1000)
    assert said in done.stdout, done.stderr
