"""Predict: a model, a preview of the slice that is shown, some slices, or the whole scan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from osteon.errors import OsteonError
from osteon.events import Event, Reporter
from osteon.labels import LabelScheme
from osteon.napari.closing import keep_from_closing
from osteon.napari.form import SettingsForm
from osteon.napari.layers import file_of, known
from osteon.napari.noting import Warned
from osteon.napari.parts import (
    Fold,
    LayerPicker,
    PathRow,
    ProgressRow,
    Said,
    VoxelSize,
    buttons,
    open_in_browser,
)
from osteon.napari.predictors import Predictors, Request
from osteon.napari.result import (
    Growing,
    finest,
    labels_layer,
    model_name,
    show_file,
    show_uncertainty,
    show_whole_uncertainty,
    whole_target,
)
from osteon.napari.session import session_of, unwrapped
from osteon.napari.warming import Warming
from osteon.napari.work import Give, Work, was_stopped
from osteon.settings import PredictSettings
from osteon.tables.shipped import find_model

_OTHER = "another model …"
_BASIC = ("speed", "cleanup.largest")


@dataclass(frozen=True)
class Whole:
    """The outcome of predicting a whole scan: its labels, and what is beside them if it is."""

    labels: Path
    report: Path | None
    uncertainty: Path | None = None


class PredictWidget(QWidget):
    """The widget.

    Args:
        napari_viewer: The window's viewer.
    """

    def __init__(self, napari_viewer: Any):
        super().__init__()
        self.viewer = unwrapped(napari_viewer)
        self.session = session_of(self.viewer)
        self.scan = LayerPicker(self.viewer, "image", "the scan")
        self.model = QComboBox()
        self.folder = PathRow("folder", hint="beside the scan")
        self.voxel_size = VoxelSize("what the scan says")
        self.first, self.last = QSpinBox(), QSpinBox()
        self.doubt = QCheckBox("Show where the model is uncertain")
        self.replace = QCheckBox("Replace what exists")
        self.form = SettingsForm(PredictSettings, basic=())
        self.progress, self.said, self.warned = ProgressRow(), Said(), Warned()
        self.work = Work(self)
        self._growing: Growing | None = None
        #: The button that goes on where a stop ended; empty: none.
        self._again = ""
        self._layer: Any = None
        self.report: Path | None = None
        self.warming = Warming(self, self.session, self.request)
        self._lay_out()
        self._connect()
        self._models_changed()
        self._scan_changed()

    def _lay_out(self) -> None:
        rows = QFormLayout()
        rows.addRow("Scan", self.scan)
        rows.addRow("Model", self.model)
        rows.addRow("Work folder", self.folder)
        more = QWidget()
        further = QFormLayout(more)
        further.setContentsMargins(8, 0, 0, 0)
        further.addRow("Voxel size (µm)", self.voxel_size)
        further.addRow(self.replace)
        further.addRow(self.form)
        first, (self.preview_button,) = buttons({"Preview this slice": self.preview})
        self.preview_button.setToolTip("Labels the slice that is shown, in seconds.")
        span = QWidget()
        line = QHBoxLayout(span)
        line.setContentsMargins(0, 0, 0, 0)
        row, (self.slab_button,) = buttons({"Predict slices": self.predict_slab})
        for widget in (row, self.first, QLabel("to"), self.last):
            line.addWidget(widget)
        whole, (self.whole_button,) = buttons({"Predict the whole scan": self.predict_whole})
        report, (self.report_button,) = buttons({"Open the report": self.open_report})
        self.report_button.hide()
        column = QVBoxLayout(self)
        column.addLayout(rows)
        for widget in (
            first,
            span,
            whole,
            self.doubt,
            self.progress,
            self.said,
            self.warned,
            report,
        ):
            column.addWidget(widget)
        column.addWidget(Fold("More settings", more))
        column.addStretch(1)

    def _connect(self) -> None:
        self.scan.chosen.connect(self._scan_changed)
        self.model.activated.connect(self._model_picked)
        self.folder.changed.connect(self._folder_changed)
        self.session.folder_changed.connect(self._folder_shown)
        self.session.models_changed.connect(self._models_changed)
        self.progress.stopped.connect(self.work.stop)
        self.work.told.connect(self.warned.tell)
        self.work.told.connect(self._told)
        self.work.given.connect(self._given)
        self.work.ended.connect(self._ended)
        self.destroyed.connect(self.scan.disconnect_all)
        keep_from_closing(self, self.work, "A prediction")

    def _scan_changed(self) -> None:
        layer = self.scan.layer
        depth = finest(layer).data.shape[0] if layer is not None else 1
        for box in (self.first, self.last):
            box.setRange(0, max(0, depth - 1))
        self.last.setValue(depth - 1)
        self._forget()
        self.warming.again()

    def _forget(self) -> None:
        """Of the warnings keep those of opening the scan."""
        self.warned.forget()
        layer = self.scan.layer
        for text in known(layer).get("warned", ()) if layer is not None else ():
            self.warned.add(text)

    def _models_changed(self) -> None:
        self.model.clear()
        for model in self.session.models:
            text = model_name(model)
            self.model.addItem(f"{text} (comes with osteon)" if text == model else text, model)
        self.model.addItem(_OTHER, None)
        chosen = [self.model.itemData(i) for i in range(self.model.count())]
        if self.session.model in chosen:
            self.model.setCurrentIndex(chosen.index(self.session.model))
        self.warming.again()

    def _model_picked(self, index: int) -> None:
        model = self.model.itemData(index)
        if model is not None:
            self.session.choose_model(model)
            return
        path = QFileDialog.getOpenFileName(
            self, "Choose a model", "", "Models (*.safetensors *.pth)"
        )[0]
        if path:
            self.session.add_model(Path(path))
        else:
            self._models_changed()

    def _folder_changed(self) -> None:
        self.session.choose_folder(self.folder.path)

    def _folder_shown(self) -> None:
        if self.folder.path != self.session.chosen_folder:
            self.folder.set_path(self.session.chosen_folder)

    def request(self) -> Request:
        """Return what is asked for.

        Raises:
            OsteonError: If there is no scan, or a value is wrong.
        """
        layer = self.scan.needed()
        size = self.voxel_size.size_um()
        return Request(file_of(layer), self.session.model, self.form.settings(), size)

    def target(self, request: Request) -> Path:
        """Return where the labels of a whole scan go.

        Args:
            request: What is asked for.
        """
        return whole_target(self.session, request.scan, request.model)

    def preview(self) -> None:
        """Label the slice that is shown."""
        z = int(self.viewer.dims.current_step[0])
        self._slices(slice(z, z + 1), alone=True)

    def predict_slab(self) -> None:
        """Label the slices from the one number to the other."""
        first, last = sorted((self.first.value(), self.last.value()))
        self._slices(slice(first, last + 1), alone=False)

    def _slices(self, part: slice, *, alone: bool) -> None:
        doubt, folder = self.doubt.isChecked(), self.session

        def begin(request: Request) -> Any:
            target = self.target(request)
            keep = None if alone else target.with_name(f"{target.stem}.slices")
            self._again = "" if alone else "Predict slices"

            def task(reporter: Reporter, give: Give) -> str:
                predictor = Predictors.of(folder).get(request, alone=alone, reporter=reporter)
                give(predictor.scheme)
                slices = predictor.run(part, uncertainty=doubt, keep=keep, reporter=reporter)
                for one in slices:
                    give(one)
                many = part.stop - part.start
                what = f"slice {part.start}" if many == 1 else f"{many} slices"
                note = " It was seen on its own: in the whole scan a little may differ."
                own = alone and predictor.asks_for_neighbours
                return f"Labelled {what}." + note * own

            return task

        self._begin(begin)

    def predict_whole(self) -> None:
        """Label the whole scan, or go on where it was stopped."""
        replace, doubt = self.replace.isChecked(), self.doubt.isChecked()

        def begin(request: Request) -> Any:
            target = self.target(request)
            settings = request.settings
            if doubt:
                settings = settings.model_copy(update={"uncertainty": True})
            self._again = "Predict the whole scan"

            def task(reporter: Reporter, give: Give) -> Whole:
                from osteon.model_file import load_model
                from osteon.workflows import predict

                give(load_model(find_model(request.model)).spec.labels)
                give(target)
                runs = predict(
                    [request.scan],
                    out=target,
                    model=request.model,
                    settings=settings,
                    voxel_size=request.voxel_size,
                    overwrite=replace,
                    reporter=reporter,
                )
                return Whole(target, runs[0].report, runs[0].beside.get("uncertainty"))

            return task

        self._begin(begin)

    def open_report(self) -> None:
        """Open the report of the prediction in the browser."""
        if self.report is not None and not open_in_browser(self.report):
            self.said.say(f"No browser could be opened. The report is {self.report}")

    def _begin(self, begin: Any) -> None:
        if self.work.running:
            return
        self.report_button.hide()
        self._growing = None
        try:
            task = begin(self.request())
        except Exception as error:
            self.said.complain(error)
            return
        self._enable(now=False)
        self._forget()  # here, not where work begins: showing the labels is work as well
        self.said.say("Reading the scan and loading the model; only the first time takes long.")
        self.progress.begin()
        self.work.start(task)

    def _enable(self, *, now: bool) -> None:
        for button in (self.preview_button, self.slab_button, self.whole_button):
            button.setEnabled(now)

    def _labels(self, scheme: LabelScheme) -> Any:
        scan = self.scan.needed()
        name = f"{scan.name}: {model_name(self.session.model)}"
        return labels_layer(self.viewer, self.session, scan, name=name, scheme=scheme)

    def _told(self, event: Event) -> None:
        self.progress.tell(event)
        if self._growing is not None:
            self._growing.look()
        if event.kind == "message" and event.message:
            self.said.say(event.message)

    def _given(self, part: object) -> None:
        try:
            if isinstance(part, LabelScheme):
                self._layer = self._labels(part)
            elif isinstance(part, Path):
                self._growing = Growing(self._layer, part)
            else:
                self._show_slice(part)
        except Exception as error:
            self.work.stop()
            self.said.complain(error)

    def _show_slice(self, one: Any) -> None:
        self._layer.data[one.z] = one.labels
        self._layer.refresh()
        if one.uncertainty is not None:
            show_uncertainty(self.viewer, self.scan.needed(), one.z, one.uncertainty)

    def _show_whole(self, layer: Any, result: Whole) -> None:
        """Show the file of labels: what is written may have been tidied, too."""

        def task(reporter: Reporter, give: Give) -> Whole:
            show_file(layer, result.labels, reporter)
            return result

        self._layer = layer
        self._enable(now=False)
        self.progress.begin()
        self.work.start(task)

    def _shown(self, result: Whole) -> None:
        """The labels of a whole scan are there: offer what is beside them."""
        self._layer.refresh()
        self.report = result.report
        self.report_button.setVisible(result.report is not None)
        self.said.say(f"Labels: {result.labels}")
        if result.uncertainty is not None:
            try:
                show_whole_uncertainty(self.viewer, self.scan.needed(), result.uncertainty)
            except OsteonError as error:
                self.said.complain(error)

    def _ended(self, result: object, error: Exception | None) -> None:
        self.progress.end()
        self._enable(now=True)
        growing, self._growing = self._growing, None
        if error is not None:
            if growing is not None:
                growing.look()
            if was_stopped(error):
                self.said.say(f"{error.args[0]}".split("\n")[0].capitalize() + _kept(self._again))
            else:
                self.said.complain(error)
            return
        if isinstance(result, Whole):
            if growing is not None:
                self._show_whole(growing.layer, result)
                return
            self._shown(result)
        elif isinstance(result, str):
            self.said.say(result)


def _kept(again: str) -> str:
    return f". What is done is kept: press ‘{again}’ again to go on." if again else ""
