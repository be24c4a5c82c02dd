"""Go through the window as a person would, by mouse and keyboard, and take pictures of it.

    xvfb-run -a -s "-screen 0 1500x950x24" .venv/bin/python tools/gui_tour.py \
        --scan DATA/S1_INT_AP/scan --truth DATA/S1_INT_AP/mask --out tour

Looks at a scan, previews it, finds uncertain slices, paints in one, marks it, fine-tunes, predicts
the whole scan, evaluates, and puts a dataset together. Widgets are only read, never called. Each
step fails if what it waits for does not come.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QPushButton, QTabBar, QWidget

from osteon.napari.launching import open_window

LEFT = Qt.MouseButton.LeftButton
SIZE = (1500, 950)
PATIENCE_S = 900.0


class Person:
    """Somebody at the window."""

    def __init__(self, viewer: Any, out: Path):
        self.viewer, self.out = viewer, out
        self.window = viewer.window._qt_window
        self.widgets = {type(w).__name__: w for w in self.window.findChildren(QWidget)
                        if type(w).__module__.startswith("osteon.napari")}  # fmt: skip

    def wait_until(self, there: Any, what: str) -> None:
        """Let the window work until something is there."""
        end = time.monotonic() + PATIENCE_S
        while not there():
            QTest.qWait(50)
            if time.monotonic() > end:
                self.picture("failed")
                sys.exit(f"waited in vain for: {what}")
        QTest.qWait(300)
        print(what, flush=True)

    def click(self, widget: QWidget, at: QPoint | None = None) -> None:
        """Click a widget in its middle."""
        QTest.mouseClick(widget, LEFT, pos=widget.rect().center() if at is None else at)
        QTest.qWait(150)

    def press(self, owner: str, text: str) -> QPushButton:
        """Click the button that says something."""
        found = [b for b in self.widgets[owner].findChildren(QPushButton) if b.text() == text]
        if not found or not found[0].isEnabled():
            self.picture("failed")
            sys.exit(f"no button to press: {text}")
        self.click(found[0])
        return found[0]

    def tab(self, text: str) -> None:
        """Click the tab of a widget at the side."""
        for bar in self.window.findChildren(QTabBar):
            for i in range(bar.count()):
                if bar.tabText(i).startswith(text):
                    self.click(bar, bar.tabRect(i).center())
                    return
        sys.exit(f"no tab {text}")

    def type_into(self, widget: QWidget, text: str) -> None:
        """Replace what a line says."""
        line = widget.lineEdit() if hasattr(widget, "lineEdit") else widget
        self.click(line)
        QTest.keyClick(line, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
        QTest.keyClicks(line, text)
        QTest.keyClick(line, Qt.Key.Key_Return)

    def choose(self, box: Any, text: str) -> None:
        """Go through a list by the arrow keys until it says something."""
        box.setFocus()
        QTest.keyClick(box, Qt.Key.Key_Home)
        for _ in range(box.count()):
            if box.currentText().startswith(text):
                return
            QTest.keyClick(box, Qt.Key.Key_Down)
        sys.exit(f"no entry {text}")

    def drag(self, points: list[tuple[float, float]]) -> None:
        """Drag over the canvas, at shares of its width and height."""
        canvas = self.window._qt_viewer.canvas.native
        places = [QPoint(int(x * canvas.width()), int(y * canvas.height())) for x, y in points]
        QTest.mouseMove(canvas, places[0])
        QTest.qWait(50)
        QTest.mousePress(canvas, LEFT, pos=places[0])
        for place in places[1:]:
            # QTest's moves carry no pressed button, which the canvas asks for.
            _move_pressed(canvas, place)
            QTest.qWait(50)
        QTest.mouseRelease(canvas, LEFT, pos=places[-1])
        QTest.qWait(200)

    def picture(self, name: str) -> None:
        """Save what the window shows."""
        QTest.qWait(400)
        self.viewer.window.screenshot(str(self.out / f"{name}.png"), canvas_only=False, flash=False)


def _move_pressed(widget: QWidget, place: QPoint) -> None:
    from qtpy.QtCore import QEvent, QPointF
    from qtpy.QtGui import QMouseEvent

    spot = QPointF(place)
    event = QMouseEvent(
        QEvent.Type.MouseMove, spot, widget.mapToGlobal(spot), Qt.MouseButton.NoButton, LEFT,
        Qt.KeyboardModifier.NoModifier,
    )  # fmt: skip
    QApplication.sendEvent(widget, event)


def look_and_preview(person: Person, work: Path) -> None:
    """Open, look, preview."""
    predict = person.widgets["PredictWidget"]
    person.picture("1-open")
    person.type_into(predict.folder.line, str(work))
    begun = time.monotonic()
    button = person.press("PredictWidget", "Preview this slice")
    person.wait_until(button.isEnabled, "preview")
    print(f"  first preview after {time.monotonic() - begun:.1f} s")
    begun = time.monotonic()
    button = person.press("PredictWidget", "Preview this slice")
    person.wait_until(button.isEnabled, "preview again")
    print(f"  preview after {time.monotonic() - begun:.1f} s")
    person.picture("2-preview")


def correct_and_learn(person: Person, minutes: str, slices: str) -> None:
    """Find an uncertain slice, paint, mark, fine-tune."""
    learn = person.widgets["LearnWidget"]
    person.tab("Correct")
    person.type_into(learn.uncertain.count, slices)
    button = person.press("LearnWidget", "Find uncertain slices")
    person.wait_until(button.isEnabled, "uncertain slices")
    first = learn.uncertain.list.visualItemRect(learn.uncertain.list.item(0)).center()
    person.click(learn.uncertain.list.viewport(), first)
    person.picture("3-uncertain")
    person.press("LearnWidget", "pores")
    layer = learn.labels.layer
    before = layer.data[person.viewer.dims.current_step[0]].copy()
    person.drag([(0.45, 0.5), (0.47, 0.5), (0.49, 0.51), (0.51, 0.52)])
    after = layer.data[person.viewer.dims.current_step[0]]
    if (before == after).all():
        sys.exit("the brush painted nothing")
    person.press("LearnWidget", "Mark this slice as reviewed")
    person.wait_until(lambda: "reviewed and kept" in learn.said.text(), "reviewed")
    person.picture("4-reviewed")
    person.type_into(learn.minutes, minutes)
    person.press("LearnWidget", "Fine-tune the model")
    person.wait_until(lambda: learn.curves.rows or "What to do" in learn.said.text(), "learning")
    person.picture("5-learning")
    person.wait_until(lambda: "The new model" in learn.said.text(), "learned")
    print(f"  {learn.said.text()}")
    person.picture("6-change")


def predict_and_evaluate(person: Person) -> None:
    """Label the whole scan, compare with the truth."""
    predict, judge = person.widgets["PredictWidget"], person.widgets["EvaluateWidget"]
    person.tab("Predict")
    button = person.press("PredictWidget", "Predict the whole scan")
    person.wait_until(button.isEnabled, "the whole scan")
    if "Labels:" not in predict.said.text():
        sys.exit(predict.said.text())
    name = person.viewer.layers[-1].name if predict._layer is None else predict._layer.name
    person.picture("7-whole")
    person.tab("Evaluate")
    person.choose(judge.truth, "S" if judge.truth.count() == 0 else judge.truth.itemText(0))
    person.choose(judge.labels, name)
    person.choose(judge.neighbours, "no")
    person.click(judge.only_overlap, QPoint(8, judge.only_overlap.height() // 2))
    button = person.press("EvaluateWidget", "Evaluate")
    person.wait_until(button.isEnabled, "evaluated")
    if judge.table.rowCount() == 0:
        sys.exit(judge.said.text())
    person.picture("8-evaluation")


def make_a_dataset(person: Person) -> None:
    """Put a dataset together of open layers and have it checked."""
    fit = person.widgets["FitWidget"]
    person.tab("Fit")
    folds = [w for w in fit.findChildren(QWidget) if type(w).__name__ == "Fold"]
    fold = next(w for w in folds if w.button.text() == "Make a dataset of open layers")
    person.click(fold.button, QPoint(12, fold.button.height() // 2))
    person.press("FitWidget", "Add")
    person.press("FitWidget", "Use these as the dataset")
    person.wait_until(lambda: fit.dataset.path is not None, "dataset")
    person.click(fold.button, QPoint(12, fold.button.height() // 2))
    button = person.press("FitWidget", "1. Check the data")
    person.wait_until(button.isEnabled, "checked")
    person.picture("9-fit")


def main() -> None:
    """Do it all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--scan", type=Path, required=True)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", default="1", help="of fine-tuning")
    parser.add_argument("--slices", default="3", help="looked at for uncertainty")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    viewer = open_window([asked.scan, asked.truth])
    viewer.window._qt_window.resize(*SIZE)
    viewer.layers[-1].visible = False
    person = Person(viewer, asked.out)
    QApplication.processEvents()
    print(f"window after {time.monotonic() - begun:.1f} s")
    look_and_preview(person, asked.out / "work")
    correct_and_learn(person, asked.minutes, asked.slices)
    predict_and_evaluate(person)
    make_a_dataset(person)
    viewer.close()


if __name__ == "__main__":
    main()
