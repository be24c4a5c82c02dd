"""Evaluate and measure: two label layers compared, and the measures of a bone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QVBoxLayout, QWidget

from osteon.errors import UsageError
from osteon.events import Reporter
from osteon.labels import IGNORE, LabelClass, LabelScheme
from osteon.napari.closing import keep_from_closing
from osteon.napari.form import SettingsForm
from osteon.napari.layers import (
    KEY,
    MAGENTA,
    check_same_shape,
    colours,
    file_of,
    geometry_of,
    labels_keywords,
    scheme_of,
)
from osteon.napari.lazy import Disagreement
from osteon.napari.noting import Warned
from osteon.napari.parts import (
    Fold,
    LayerPicker,
    ProgressRow,
    Said,
    Table,
    VoxelSize,
    buttons,
    open_in_browser,
)
from osteon.napari.result import hide_labels
from osteon.napari.session import session_of, unwrapped
from osteon.napari.work import Give, Work
from osteon.settings import MeasureSettings

#: Scores that the table shows; the report has all.
_SCORES = ("iou", "dice", "precision", "recall")


@dataclass(frozen=True)
class Shown:
    """What is shown of a result: a table, words, and the report if there is one."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: str
    report: Path | None = None


class EvaluateWidget(QWidget):
    """The widget.

    Args:
        napari_viewer: The window's viewer.
    """

    def __init__(self, napari_viewer: Any):
        super().__init__()
        self.viewer = unwrapped(napari_viewer)
        self.session = session_of(self.viewer)
        self.truth = LayerPicker(self.viewer, "labels", "the truth")
        self.labels = LayerPicker(self.viewer, "labels", "the labels to evaluate")
        self.scan = LayerPicker(self.viewer, "image", "the scan")
        self.measured = LayerPicker(self.viewer, "labels", "the labels to measure")
        self.only_overlap = QCheckBox("Overlap alone: leave out surface, topology and measures")
        self.neighbours = QComboBox()
        for text, value in (("yes", None), ("no: slices far apart", False)):
            self.neighbours.addItem(text, value)
        self.voxel_size = VoxelSize("what the labels say")
        self.form = SettingsForm(MeasureSettings, basic=())
        self.table, self.progress = Table(), ProgressRow()
        self.said, self.warned = Said(), Warned()
        self.work = Work(self)
        self.report: Path | None = None
        self._lay_out()
        self.progress.button.hide()  # neither can be stopped halfway
        self.warned.follow(self.work)
        self.work.told.connect(self.progress.tell)
        self.work.ended.connect(self._ended)
        for picker in (self.truth, self.labels, self.scan, self.measured):
            self.destroyed.connect(picker.disconnect_all)
        keep_from_closing(self, self.work, "An evaluation")

    def _lay_out(self) -> None:
        first = QWidget()
        rows = QFormLayout(first)
        rows.addRow("Truth", self.truth)
        rows.addRow("Labels", self.labels)
        rows.addRow("Scan (for the report)", self.scan)
        rows.addRow("Slices touch in space", self.neighbours)
        rows.addRow(self.only_overlap)
        row, (self.evaluate_button, self.report_button) = buttons(
            {"Evaluate": self.evaluate, "Open the report": self.open_report}
        )
        self.report_button.setEnabled(False)
        rows.addRow(row)
        second = QWidget()
        further = QFormLayout(second)
        further.addRow("Labels", self.measured)
        further.addRow("Voxel size (µm)", self.voxel_size)
        further.addRow(Fold("More settings", self.form))
        row, (self.measure_button,) = buttons({"Measure": self.measure})
        further.addRow(row)
        column = QVBoxLayout(self)
        column.addWidget(Fold("Compare labels with the truth", first, opened=True))
        column.addWidget(Fold("Measure a bone", second, opened=True))
        for widget in (self.progress, self.said, self.warned, self.table):
            column.addWidget(widget)

    def evaluate(self) -> None:
        """Compare the labels with the truth, and show where they differ."""
        self._begin(self._evaluation)

    def _evaluation(self) -> Any:
        truth, labels = self.truth.needed(), self.labels.needed()
        if truth is labels:
            raise UsageError(
                "truth and labels are the same layer",
                where=truth.name,
                mend="choose two; open the true labels if they are not there",
            )
        check_same_shape(truth, labels)
        scan = None if self.scan.layer is None else file_of(self.scan.layer)
        self.show_disagreement(truth, labels)
        out = self.session.new("evaluation", scan=scan)
        session = self.session
        only, contiguous = self.only_overlap.isChecked(), self.neighbours.currentData()

        def task(reporter: Reporter, give: Give) -> Shown:
            from osteon.workflows import EvaluateOptions, evaluate

            files = [session.labels_file(layer, scan=scan) for layer in (truth, labels)]
            options = EvaluateOptions(scan=scan, only_overlap=only, contiguous=contiguous)
            run = evaluate(files[0], files[1], out=out, options=options, reporter=reporter)
            found = run.evaluation
            rows = [
                [name, *(_number(found.mean(score, name)[0]) for score in _SCORES)]
                for name in (*found.scheme.names, None)
            ]
            rows[-1][0] = "mean"
            words = "\n".join([*found.sentences(), *found.notes()])
            return Shown(
                ["class", *_SCORES], [[str(c) for c in r] for r in rows], words, run.report
            )

        return task

    def show_disagreement(self, truth: Any, labels: Any) -> Any:
        """Show where labels differ from the truth, in the colour of what the truth says.

        Args:
            truth: The layer of the truth.
            labels: The layer of the labels.

        Returns:
            The layer; it follows what is painted in either.
        """
        scheme = _of_truth(scheme_of(truth))
        name = f"where {labels.name} differs"
        if name in self.viewer.layers:
            self.viewer.layers.remove(name)
        keywords = labels_keywords(name, geometry_of(truth), scheme)
        keywords["colormap"] = {**colours(scheme), 1: (*MAGENTA, 1.0)}
        keywords["opacity"] = 0.9
        keywords["metadata"][KEY]["derived"] = True
        hide_labels(self.viewer)
        return self.viewer.add_labels(Disagreement(truth.data, labels.data), **keywords)

    def open_report(self) -> None:
        """Open the report of the evaluation in the browser."""
        if self.report is not None and not open_in_browser(self.report):
            self.said.say(f"No browser could be opened. The report is {self.report}")

    def measure(self) -> None:
        """Measure the bones of the labels."""
        self._begin(self._measurement)

    def _measurement(self) -> Any:
        layer = self.measured.needed()
        settings, size = self.form.settings(), self.voxel_size.size_um()
        scan = None if self.scan.layer is None else file_of(self.scan.layer)
        out = self.session.new("measure", scan=scan)
        session = self.session

        def task(reporter: Reporter, give: Give) -> Shown:
            from osteon.reports.blocks import NONE
            from osteon.workflows import MeasureOptions, measure

            file = session.labels_file(layer, scan=scan)
            options = MeasureOptions(voxel_size=size)
            run = measure(file, out=out, settings=settings, options=options, reporter=reporter)
            heads, rows = run.table()
            # What could not be measured is at the end, where nobody has to scroll past it.
            rows.sort(key=lambda row: all(cell == NONE for cell in row[2:]))
            return Shown(heads, rows, "\n".join([f"Tables: {out}", *run.notes]))

        return task

    def _begin(self, prepare: Any) -> None:
        if self.work.running:
            return
        try:
            task = prepare()
        except Exception as error:
            self.said.complain(error)
            return
        self._enable(now=False)
        self.said.say("")
        self.progress.begin()
        self.work.start(task)

    def _enable(self, *, now: bool) -> None:
        for button in (self.evaluate_button, self.measure_button):
            button.setEnabled(now)

    def _ended(self, result: object, error: Exception | None) -> None:
        self.progress.end()
        self._enable(now=True)
        if error is not None:
            self.said.complain(error)
        elif isinstance(result, Shown):
            self.table.fill(result.heads, result.rows)
            self.said.say(result.words)
            if result.report is not None:
                self.report = result.report
                self.report_button.setEnabled(True)


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _of_truth(scheme: LabelScheme) -> LabelScheme:
    """The classes of a disagreement: what the truth says, one value higher."""
    names = [LabelClass("the same", 0, (0, 0, 0))]
    names += [
        LabelClass(f"truth: {c.name}", c.value + 1, c.colour)
        for c in scheme.classes
        if c.value + 1 < IGNORE
    ]
    return LabelScheme(tuple(names))
