"""Go through the window as a person would, by mouse and keyboard, and take pictures of it.

    xvfb-run -a -s "-screen 0 1500x950x24" .venv/bin/python tools/gui_tour.py \
        --scan DATA/S1_INT_AP/scan --truth DATA/S1_INT_AP/mask \
        --second DATA/S2_LES_AP/scan DATA/S2_LES_AP/mask --out tour

Looks at a scan, previews it, finds uncertain slices, paints in one, marks it, fine-tunes, predicts
the whole scan with its uncertainty, goes to the most uncertain slice, evaluates, measures, puts a
dataset of two animals together and fits a few steps to it. Widgets are only read, never called.
Each step fails if what it waits for does not come. ``--only`` takes a part of it.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from qtpy.QtCore import QEventLoop, QPoint, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QPushButton, QTabBar, QWidget

from osteon.napari.launching import open_window

LEFT = Qt.MouseButton.LeftButton
SIZE = (1500, 950)
PATIENCE_S = 900.0


def pause(milliseconds: int) -> None:
    """Let the window work; sleeps between events, which vispy's replacement of qWait does not."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


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
            pause(50)
            if time.monotonic() > end:
                self.picture("failed")
                sys.exit(f"waited in vain for: {what}")
        pause(300)
        print(what, flush=True)

    def click(self, widget: QWidget, at: QPoint | None = None) -> None:
        """Click a widget in its middle."""
        QTest.mouseClick(widget, LEFT, pos=widget.rect().center() if at is None else at)
        pause(150)

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

    def unfold(self, owner: QWidget, title: str) -> None:
        """Click a heading that shows or hides what is under it."""
        folds = [w for w in owner.findChildren(QWidget) if type(w).__name__ == "Fold"]
        fold = next(w for w in folds if w.button.text() == title)
        self.click(fold.button, QPoint(12, fold.button.height() // 2))

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
        pause(50)
        QTest.mousePress(canvas, LEFT, pos=places[0])
        for place in places[1:]:
            # QTest's moves carry no pressed button, which the canvas asks for.
            _move_pressed(canvas, place)
            pause(50)
        QTest.mouseRelease(canvas, LEFT, pos=places[-1])
        pause(200)

    def picture(self, name: str) -> None:
        """Save what the window shows."""
        pause(400)
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


def predict_whole(person: Person) -> str:
    """Label the whole scan with its uncertainty, go where that is highest; name of the layer."""
    predict, learn = person.widgets["PredictWidget"], person.widgets["LearnWidget"]
    person.tab("Predict")
    if not predict.doubt.isChecked():
        person.click(predict.doubt, QPoint(8, predict.doubt.height() // 2))
    button = person.press("PredictWidget", "Predict the whole scan")
    person.wait_until(button.isEnabled, "the whole scan")
    if "Labels:" not in predict.said.text():
        sys.exit(predict.said.text())
    name = str(predict._layer.name)
    person.tab("Correct")
    button = person.press("LearnWidget", "Find uncertain slices")
    person.wait_until(button.isEnabled, "ranked")
    if "by the uncertainty of the whole scan" not in learn.said.text():
        sys.exit(learn.said.text())
    first = learn.uncertain.list.visualItemRect(learn.uncertain.list.item(0)).center()
    person.click(learn.uncertain.list.viewport(), first)
    person.picture("7-whole")
    return name


def evaluate_and_measure(person: Person, name: str) -> None:
    """Compare labels with the truth, and measure them."""
    judge = person.widgets["EvaluateWidget"]
    person.tab("Evaluate")
    person.choose(judge.truth, judge.truth.itemText(0))
    person.choose(judge.labels, name)
    person.choose(judge.neighbours, "no")
    person.click(judge.only_overlap, QPoint(8, judge.only_overlap.height() // 2))
    button = person.press("EvaluateWidget", "Evaluate")
    person.wait_until(button.isEnabled, "evaluated")
    if judge.table.rowCount() == 0:
        sys.exit(judge.said.text())
    person.picture("8-evaluation")
    person.choose(judge.measured, name)
    button = person.press("EvaluateWidget", "Measure")
    person.wait_until(button.isEnabled, "measured")
    print(f"  {judge.said.text()}")
    if judge.table.item(0, 1) is None or judge.table.horizontalHeaderItem(0).text() != "measure":
        person.picture("failed")
        sys.exit(judge.said.text())
    person.picture("9-measures")


def make_a_dataset(person: Person) -> None:
    """Put a dataset together of open layers and have it checked."""
    fit = person.widgets["FitWidget"]
    pair = fit.assemble
    person.tab("Fit")
    person.unfold(fit, "Make a dataset of open layers")
    masks = [pair.labels.itemText(i) for i in range(pair.labels.count())]
    masks = [text for text in masks if text.endswith("/mask")]
    scans = [pair.scan.itemText(i) for i in range(pair.scan.count())]
    for scan, mask in zip(scans, masks, strict=True):
        person.choose(pair.scan, scan)
        person.choose(pair.labels, mask)
        person.type_into(pair.specimen, scan.split("_")[0])
        person.press("FitWidget", "Add")
    person.press("FitWidget", "Use these as the dataset")
    person.wait_until(lambda: fit.dataset.path is not None, "dataset")
    person.unfold(fit, "Make a dataset of open layers")


def fit_a_little(person: Person) -> None:
    """Fit a few steps from the form."""
    fit = person.widgets["FitWidget"]
    for setting, text in {"patches.size": "128", "patches.per_slice": "4",
                          "training.batch_size": "8", "training.epochs": "3"}.items():  # fmt: skip
        person.type_into(fit.form.field(setting).widget, text)
    button = person.press("FitWidget", "1. Check the data")
    person.wait_until(button.isEnabled, "checked")
    person.picture("10-fit")
    person.press("FitWidget", "2. Start the fit")
    person.wait_until(lambda: not fit.process.running and fit.resume_button.isEnabled(), "fitted")
    print(f"  {fit.said.text()}")
    if "The fit has ended" not in fit.said.text() or len(fit.curves.rows) < 2:
        person.picture("failed")
        sys.exit(fit.said.text())
    person.picture("11-fitted")
    predict = person.widgets["PredictWidget"]
    person.tab("Predict")
    if not predict.model.currentText().startswith("fit-"):
        sys.exit("the model that was fitted is not chosen")


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
    parser.add_argument("--second", type=Path, nargs=2, metavar=("SCAN", "TRUTH"), default=())
    parser.add_argument("--only", nargs="+", choices=("learn", "predict", "fit"))
    asked = parser.parse_args()
    parts = asked.only or ("learn", "predict", "fit")
    asked.out.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    viewer = open_window([asked.scan, asked.truth, *asked.second])
    viewer.window._qt_window.resize(*SIZE)
    for layer in viewer.layers[1:]:
        layer.visible = False
    person = Person(viewer, asked.out)
    QApplication.processEvents()
    print(f"window after {time.monotonic() - begun:.1f} s")
    look_and_preview(person, asked.out / "work")
    if "learn" in parts:
        correct_and_learn(person, asked.minutes, asked.slices)
    if "predict" in parts:
        evaluate_and_measure(person, predict_whole(person))
    if "fit" in parts:
        make_a_dataset(person)
        fit_a_little(person)
    viewer.close()


if __name__ == "__main__":
    main()
