"""Correct and learn: uncertain slices, the brush, reviewed slices, fine-tune, what changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from osteon.errors import UsageError
from osteon.events import Event, Reporter
from osteon.labels import BONE_PORES, LabelScheme
from osteon.napari.change import Changed, compare_models, show_change
from osteon.napari.closing import keep_from_closing
from osteon.napari.curves import Curves
from osteon.napari.fit_process import FitProcess
from osteon.napari.form import save_settings
from osteon.napari.layers import file_of, known, scheme_of
from osteon.napari.noting import Warned
from osteon.napari.parts import LayerPicker, ProgressRow, Said, buttons
from osteon.napari.predictors import Request
from osteon.napari.result import (
    check_covers,
    labels_layer,
    model_name,
    show_uncertainty,
    show_whole_uncertainty,
)
from osteon.napari.session import make_paintable, session_of, unwrapped
from osteon.napari.uncertain import Ranked, UncertainList, find_uncertain
from osteon.napari.work import Give, Work, was_stopped
from osteon.settings import PredictSettings

_MINUTES = 10.0


class LearnWidget(QWidget):
    """The widget.

    Args:
        napari_viewer: The window's viewer.
    """

    def __init__(self, napari_viewer: Any):
        super().__init__()
        self.viewer = unwrapped(napari_viewer)
        self.session = session_of(self.viewer)
        self.scan = LayerPicker(self.viewer, "image", "the scan")
        self.labels = LayerPicker(self.viewer, "labels", "the labels to correct")
        self.uncertain, self.classes = UncertainList(), QWidget()
        self.reviewed, self.minutes, self.model = QLabel(), QDoubleSpinBox(), QLabel()
        self.reviewed.setWordWrap(True)
        self.minutes.setRange(0.1, 10_000)
        self.minutes.setValue(_MINUTES)
        self.minutes.setDecimals(1)
        self.minutes.setSuffix(" min")
        self.progress, self.fitting = ProgressRow(), ProgressRow("Stop, keep what it learned")
        self.curves, self.said, self.warned = Curves(), Said(), Warned()
        self.work, self.process = Work(self), FitProcess(self)
        self._request: Request | None = None
        self._failure: Exception | None = None
        self._then: Any = None
        self._scheme = BONE_PORES
        self._lay_out()
        self._connect()
        self._labels_changed()
        self._model_changed()

    def _lay_out(self) -> None:
        rows = QFormLayout()
        rows.addRow("Scan", self.scan)
        rows.addRow("Model", self.model)
        rows.addRow("Labels", self.labels)
        find, (self.find_button,) = buttons({"Find uncertain slices": self.find})
        self._class_line = QHBoxLayout(self.classes)
        self._class_line.setContentsMargins(0, 0, 0, 0)
        mark, (self.mark_button, self.unmark_button) = buttons(
            {"Mark this slice as reviewed": self.mark, "Take back": self.unmark}
        )
        tune, (self.tune_button,) = buttons({"Fine-tune the model": self.fine_tune})
        line = QHBoxLayout()
        line.addWidget(tune, 1)
        line.addWidget(self.minutes)
        column = QVBoxLayout(self)
        column.addLayout(rows)
        column.addWidget(QLabel("<b>1.</b> Go where the model is in doubt"))
        column.addWidget(self.uncertain.head(find))
        column.addWidget(self.uncertain.list)
        column.addWidget(QLabel("<b>2.</b> Paint what is wrong: choose a class, drag on the slice"))
        column.addWidget(self.classes)
        column.addWidget(QLabel("<b>3.</b> Mark the slice when all of it is right"))
        column.addWidget(mark)
        column.addWidget(self.reviewed)
        column.addWidget(QLabel("<b>4.</b> Let the model learn from the reviewed slices"))
        column.addLayout(line)
        for widget in (self.progress, self.fitting, self.curves, self.said, self.warned):
            column.addWidget(widget)
        column.addStretch(1)

    def _connect(self) -> None:
        self.scan.chosen.connect(self._show_reviewed)
        self.labels.chosen.connect(self._labels_changed)
        self.uncertain.picked.connect(self.go_to)
        self.progress.stopped.connect(self.work.stop)
        self.warned.follow(self.work, self.process)
        self.work.told.connect(self.progress.tell)
        self.work.given.connect(self._given)
        self.work.ended.connect(self._ended)
        self.fitting.stopped.connect(self.process.stop)
        self.process.told.connect(self._told)
        self.process.failed.connect(self._failed)
        self.process.ended.connect(self._learned)
        self.session.folder_changed.connect(self._show_reviewed)
        self.session.models_changed.connect(self._model_changed)
        for picker in (self.scan, self.labels):
            self.destroyed.connect(picker.disconnect_all)
        keep_from_closing(self, self.process, "A fit", goes_on=True)

    def _model_changed(self) -> None:
        self.model.setText(f"{model_name(self.session.model)} (chosen in ‘Predict’)")

    # 1. where the model is in doubt

    def find(self) -> None:
        """Look for the slices that the model is least sure of."""

        def begin() -> Any:
            request = self._asked()
            self.uncertain.clear()
            return find_uncertain(self.session, request, self.uncertain.count.value())

        self._begin(begin, self.said.say)

    def go_to(self, z: int) -> None:
        """Show a slice.

        Args:
            z: The slice.
        """
        self.viewer.dims.set_current_step(0, z)

    def _asked(self) -> Request:
        return Request(file_of(self.scan.needed()), self.session.model, PredictSettings())

    # 2. the brush

    def _labels_changed(self) -> None:
        while self._class_line.count():
            self._class_line.takeAt(0).widget().deleteLater()
        layer = self.labels.layer
        for one in scheme_of(layer).classes if layer is not None else ():
            button = QPushButton(one.name)
            spot = QPixmap(12, 12)
            spot.fill(QColor(*one.colour))
            button.setIcon(QIcon(spot))
            button.clicked.connect(lambda _=False, value=one.value: self.paint_with(value))
            self._class_line.addWidget(button)
        self._show_reviewed()

    def paint_with(self, value: int) -> None:
        """Take napari's brush for a class.

        Args:
            value: Value of the class.
        """

        def take() -> None:
            layer = self._paintable()
            for other in self.viewer.layers:
                if known(other).get("derived"):
                    other.visible = False  # or it would hide what is painted
            self.viewer.layers.selection.active = layer
            layer.selected_label = value
            layer.mode = "paint"
            # Otherwise painting background would be hidden behind it.
            layer.preserve_labels = False

        self._try(take)

    def _paintable(self) -> Any:
        layer = self.labels.needed()
        scan = self.scan.needed()
        check_covers(layer, scan)
        name = "".join(c if c.isalnum() or c in "-._" else "-" for c in layer.name)
        make_paintable(layer, self.session.folder(file_of(scan)) / "now" / f"{name}.npy")
        return layer

    # 3. reviewed slices

    def corrections(self, scan: Path) -> Any:
        """Return the reviewed slices of the work folder.

        Args:
            scan: The scan.
        """
        from osteon.workflows.correcting import Corrections

        return Corrections(self.session.folder(scan) / "corrections")

    def mark(self) -> None:
        """Take the slice that is shown, as it is labelled, as reviewed."""

        def take() -> None:
            scan, layer = self.scan.needed(), self.labels.needed()
            check_covers(layer, scan)
            path, z = file_of(scan), self._shown()
            labels = np.array(layer.data[z], np.uint8)
            self.corrections(path).add(path, z, labels, scheme=scheme_of(layer))
            self.said.say(f"Slice {z} is reviewed and kept.")
            self._show_reviewed()

        self._try(take)

    def unmark(self) -> None:
        """Take back that the slice that is shown is reviewed."""

        def take() -> None:
            path = file_of(self.scan.needed())
            self.corrections(path).remove(path, self._shown())
            self._show_reviewed()

        self._try(take)

    def _shown(self) -> int:
        return int(self.viewer.dims.current_step[0])

    def _show_reviewed(self) -> None:
        layer = self.scan.layer
        text = "None yet."
        if layer is not None:
            try:
                path = file_of(layer)
                found = self.corrections(path)
                here = ", ".join(map(str, found.reviewed(path)))
                others = found.count - len(found.reviewed(path))
                text = f"Reviewed of this scan: {here or 'none yet'}."
                text += f" Of other scans: {others}." * bool(others)
            except Exception as error:
                self.said.complain(error)
        self.reviewed.setText(text)

    # 4. learn

    def fine_tune(self) -> None:
        """Fit the model further, to all reviewed slices of the work folder."""

        def begin() -> Any:
            if self.process.running:
                raise UsageError("a fit is running", mend="wait for it, or stop it")
            request = self._asked()
            corrections = self.corrections(request.scan)
            if not corrections.count:
                raise UsageError(
                    "no slice is reviewed yet",
                    mend="correct one or more slices and press ‘Mark this slice as reviewed’",
                )
            minutes = self.minutes.value()

            def task(reporter: Reporter, give: Give) -> object:
                from osteon.workflows.fine_tuning import fine_tune_settings

                return fine_tune_settings(request.model, minutes=minutes), corrections.path

            self._request = request
            return task

        self._begin(begin, self._start_fit)

    def _start_fit(self, result: Any) -> None:
        settings, dataset = result
        request = self._request
        if request is None:
            return

        def start() -> None:
            run = self.session.new("fit", scan=request.scan)
            file = run.with_name(f"{run.name}.yaml")
            save_settings(settings, file)
            self.curves.clear()
            self.process.start(run, dataset=dataset, settings=file)
            self.tune_button.setEnabled(False)
            self.fitting.begin()
            self.said.say("The model is learning from the reviewed slices.")

        self._try(start)

    def _told(self, event: Event) -> None:
        self.fitting.tell(event)
        self.curves.add(event.data)
        if event.kind == "progress" and event.message:
            self.said.say(event.message)

    def _failed(self, error: Exception) -> None:
        self._failure = error

    def _learned(self, has_model: bool) -> None:
        self.fitting.end()
        self.tune_button.setEnabled(True)
        error, self._failure = self._failure, None
        if error is not None:
            self.said.complain(error)
        elif has_model and self.process.run is not None and self._request is not None:
            before = self._request.model
            self.session.add_model(self.process.run / "model.safetensors")
            self.show_change(before)

    def show_change(self, before: str | Path) -> None:
        """Label the slice that is shown by the new model and by the one before.

        Args:
            before: The model that was fitted further.
        """

        def begin() -> Any:
            after = self._asked()
            return compare_models(
                self.session,
                Request(after.scan, before, after.settings),
                after,
                shown=self._shown(),
                reviewed=self.corrections(after.scan),
            )

        self._begin(begin, self.said.say)

    def _begin(self, begin: Any, then: Any) -> None:
        if self.work.running:
            return
        try:
            task = begin()
        except Exception as error:
            self.said.complain(error)
            return
        self._then = then
        self.find_button.setEnabled(False)
        self.progress.begin()
        self.work.start(task)

    def _given(self, part: Any) -> None:
        try:
            if isinstance(part, LabelScheme):
                self._scheme = part
            elif isinstance(part, Path):
                self._show_whole(part)
            elif isinstance(part, Ranked):
                self.uncertain.add(part.z, part.doubt)
            elif isinstance(part, Changed):
                model = model_name(self.session.model)
                show_change(self.viewer, self.scan.needed(), part, model=model, scheme=self._scheme)
            else:
                self._show_slice(part)
        except Exception as error:
            self.work.stop()
            self.said.complain(error)

    def _show_whole(self, uncertainty: Path) -> None:
        scan = self.scan.needed()
        show_whole_uncertainty(self.viewer, scan, uncertainty)
        name = f"{scan.name}: {model_name(self.session.model)}"
        if name in self.viewer.layers:  # not of a window that was closed since
            self.labels.choose(self.viewer.layers[name])

    def _show_slice(self, one: Any) -> None:
        scan = self.scan.needed()
        name = f"{scan.name}: {model_name(self.session.model)}"
        layer = labels_layer(self.viewer, self.session, scan, name=name, scheme=self._scheme)
        if isinstance(layer.data, np.ndarray) and not layer.data[one.z].any():
            layer.data[one.z] = one.labels  # what somebody painted stays
            layer.refresh()
        if one.uncertainty is not None:
            self.uncertain.add(one.z, one.doubt)
            show_uncertainty(self.viewer, scan, one.z, one.uncertainty)
        self.labels.choose(layer)

    def _ended(self, result: Any, error: Exception | None) -> None:
        self.progress.end()
        self.find_button.setEnabled(True)
        if was_stopped(error):
            self.said.say("Stopped.")
        elif error is not None:
            self.said.complain(error)
        elif self._then is not None:
            self._then(result)

    def _try(self, action: Any) -> None:
        try:
            action()
        except Exception as error:
            self.said.complain(error)
