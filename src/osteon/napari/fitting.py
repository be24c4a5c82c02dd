"""Fit: a dataset, a form of all settings, what the data doctor finds, curves, stop and go on."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

from qtpy.QtWidgets import (
    QFileDialog,
    QFormLayout,
    QScrollArea,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from osteon.errors import UsageError
from osteon.events import Event, Reporter
from osteon.napari.assembling import Assemble, save_dataset
from osteon.napari.closing import keep_from_closing
from osteon.napari.curves import Curves
from osteon.napari.fit_process import FitProcess
from osteon.napari.form import SettingsForm
from osteon.napari.noting import Warned
from osteon.napari.parts import (
    Fold,
    PathRow,
    ProgressRow,
    Said,
    buttons,
    open_in_browser,
)
from osteon.napari.session import session_of, unwrapped
from osteon.napari.work import Give, Work
from osteon.settings import FitSettings

#: Settings that most people look at; the others are folded away.
BASIC = (
    "mode", "voxel_size", "network.architecture", "network.encoder", "network.weights",
    "patches.size", "patches.per_slice", "augmentation.preset", "loss", "training.epochs",
    "training.max_minutes", "training.batch_size", "validation.method",
)  # fmt: skip
_TOML, _YAML = "Datasets (*.toml)", "Settings (*.yaml *.yml)"
_MARKS = {"error": "✗", "warning": "!", "note": "·"}


class FitWidget(QWidget):
    """The widget.

    Args:
        napari_viewer: The window's viewer.
    """

    def __init__(self, napari_viewer: Any):
        super().__init__()
        self.viewer = unwrapped(napari_viewer)
        self.session = session_of(self.viewer)
        self.dataset = PathRow("open", filter=_TOML, hint="dataset.toml")
        self.assemble = Assemble(self.viewer, self.session)
        self.run = PathRow("save", hint="a new folder in the work folder")
        self.form = SettingsForm(FitSettings, basic=BASIC)
        self.findings, self.said, self.curves = QTextBrowser(), Said(), Curves()
        self.warned = Warned()
        self.findings.setMaximumHeight(140)
        self.findings.hide()
        self.progress, self.checking = ProgressRow("Stop, keep the best"), ProgressRow()
        self.work, self.process = Work(self), FitProcess(self)
        self._checked: tuple[Path, FitSettings] | None = None
        self._lay_out()
        self._connect()

    def _lay_out(self) -> None:
        row, made = buttons({"Add": self.add_pair, "Begin anew": self.assemble.clear})
        self.add_button = made[0]
        self.assemble.put_buttons(row)
        use, (self.use_button,) = buttons({"Use these as the dataset": self.use_pairs})
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(8, 0, 0, 0)
        column.addWidget(self.assemble)
        column.addWidget(use)
        rows = QFormLayout()
        rows.addRow("Dataset", self.dataset)
        rows.addRow("Run folder", self.run)
        files, _ = buttons(
            {"Load settings …": self.load, "Save settings …": self.save, "Defaults": self.reset}
        )
        steps, (self.check_button, self.start_button, self.resume_button) = buttons(
            {
                "1. Check the data": self.check,
                "2. Start the fit": self.start,
                "Go on with a stopped run": self.resume,
            }
        )
        self.start_button.setEnabled(False)
        self.start_button.setToolTip("Once the data were checked.")
        scroll = QScrollArea()
        scroll.setWidget(self.form)
        scroll.setWidgetResizable(True)
        scroll.setMinimumHeight(160)
        ends, (self.report_button,) = buttons({"Open the report": self.open_report})
        self.report_button.setEnabled(False)
        column = QVBoxLayout(self)
        column.addLayout(rows)
        column.addWidget(Fold("Make a dataset of open layers", inside))
        column.addWidget(scroll, 1)
        for widget in (files, steps, self.checking, self.findings, self.progress, self.curves):
            column.addWidget(widget)
        column.addWidget(self.said)
        column.addWidget(self.warned)
        column.addWidget(ends)

    def _connect(self) -> None:
        self.dataset.changed.connect(self._to_be_checked)
        self.form.changed.connect(self._to_be_checked)
        self.warned.follow(self.work, self.process)
        self.work.told.connect(self.checking.tell)
        self.work.ended.connect(self._was_checked)
        self.checking.stopped.connect(self.work.stop)
        self.progress.stopped.connect(self.process.stop)
        self.process.told.connect(self._told)
        self.process.failed.connect(self._failed)
        self.process.ended.connect(self._ended)
        for picker in (self.assemble.scan, self.assemble.labels):
            self.destroyed.connect(picker.disconnect_all)
        keep_from_closing(self, self.process, "A fit", goes_on=True)

    def add_pair(self) -> None:
        """Add the chosen layers to the dataset that is being put together."""
        self._try(self.assemble.add)

    def use_pairs(self) -> None:
        """Write the dataset that was put together, and choose it."""

        def use() -> None:
            pairs = self.assemble.pairs
            scan = pairs[0].scan if pairs else None
            path = self.session.new("dataset", scan=scan, suffix=".toml") if pairs else Path()
            self.dataset.set_path(save_dataset(pairs, path))

        self._try(use)

    def load(self) -> None:
        """Fill in the settings of a YAML file."""
        path = QFileDialog.getOpenFileName(self, "Load settings", "", _YAML)[0]
        if path:
            self._try(lambda: self.form.load(Path(path)))

    def save(self) -> None:
        """Save the settings as the YAML file that ``osteon fit --settings`` reads."""
        path = QFileDialog.getSaveFileName(self, "Save settings", "fit.yaml", _YAML)[0]
        if path:
            self._try(lambda: self.form.save(Path(path)))

    def reset(self) -> None:
        """Fill in the defaults."""
        self.form.reset()

    def _to_be_checked(self) -> None:
        self._checked = None
        self.start_button.setEnabled(False)

    def check(self) -> None:
        """Have the data doctor look at the dataset, for this fit."""
        if self.work.running:
            return

        def begin() -> None:
            dataset, settings = self.dataset.path, self.form.settings()
            if dataset is None:
                if settings.simulation.items:  # simulated slices alone need no dataset
                    self._passed(None, settings)
                    return
                raise UsageError(
                    "no dataset was chosen",
                    mend="choose a dataset.toml, or make one of open layers",
                )

            def task(reporter: Reporter, give: Give) -> object:
                from osteon.workflows import check_dataset

                found = check_dataset(dataset, settings=settings, reporter=reporter)
                return dataset, settings, found

            self.check_button.setEnabled(False)
            self.said.say("")
            self.checking.begin()
            self.work.start(task)

        self._try(begin)

    def _was_checked(self, result: Any, error: Exception | None) -> None:
        self.checking.end()
        self.check_button.setEnabled(True)
        if error is not None:
            self.said.complain(error)
            return
        dataset, settings, found = result
        self.findings.setHtml("".join(_as_html(finding) for finding in found))
        self.findings.setVisible(bool(found))
        errors = sum(f.severity == "error" for f in found)
        if errors:
            self.said.say(
                f"{errors} of the findings would spoil the fit: mend them first, or start anyway."
            )
        else:
            self.said.say("Nothing was found that would spoil the fit.")
        self._passed(dataset, settings)

    def _passed(self, dataset: Path | None, settings: FitSettings) -> None:
        self._checked = (dataset or Path(), settings)
        self.start_button.setEnabled(not self.process.running)

    def start(self) -> None:
        """Start the fit that was checked."""

        def begin() -> None:
            dataset = self.dataset.path
            run = self.run.path or self._new_run(dataset)
            settings = run.with_name(f"{run.name}.yaml")
            self.form.save(settings)
            self._begin(run)
            self.process.start(run, dataset=dataset, settings=settings)

        self._try(begin)

    def _new_run(self, dataset: Path | None) -> Path:
        if self.session.chosen_folder is None and dataset is not None:
            folder = dataset.absolute().parent
            number = 1
            while (folder / f"fit-{number}").exists():
                number += 1
            return folder / f"fit-{number}"
        return self.session.new("fit")

    def resume(self) -> None:
        """Go on with a run that was stopped, or that the computer went down under."""

        def begin() -> None:
            run = self.run.path
            if run is None or not (run / "run.json").is_file():
                raise UsageError(
                    "this is no folder of a run",
                    where=run,
                    mend="fill in the run folder of the fit to go on with",
                )
            dataset = run / "dataset.toml"
            self._begin(run)
            more = ["--resume"]
            self.process.start(run, dataset=dataset if dataset.is_file() else None, more=more)

        self._try(begin)

    def _begin(self, run: Path) -> None:
        self.run.set_path(run)
        self.curves.clear()
        self.findings.hide()  # room for the curves
        self.said.say(f"The fit is starting; what it makes is in {run}")
        for button in (self.start_button, self.resume_button, self.report_button):
            button.setEnabled(False)
        self.progress.begin()

    def _told(self, event: Event) -> None:
        self.progress.tell(event)
        self.curves.add(event.data)
        if event.message and event.kind in ("message", "progress"):
            self.said.say(event.message)

    def _failed(self, error: Exception) -> None:
        self._error = error

    _error: Exception | None = None

    def _ended(self, has_model: bool) -> None:
        self.progress.end()
        self.resume_button.setEnabled(True)
        self.start_button.setEnabled(self._checked is not None)
        run = self.process.run or Path()
        self.report_button.setEnabled((run / "report.html").is_file())
        error, self._error = self._error, None
        if error is not None:
            self.said.complain(error)
            return
        if has_model:
            self.session.add_model(run / "model.safetensors")
            stopped = _status(run) == "stopped"
            how = "was stopped, its best model kept" if stopped else "has ended"
            self.said.say(
                f"The fit {how}: {run / 'model.safetensors'}, chosen in ‘Predict’."
                + " ‘Go on with a stopped run’ continues it." * stopped
            )
            if not stopped:
                self.run.set_path(None)  # the next fit does not take its place

    def open_report(self) -> None:
        """Open the report of the fit in the browser."""
        run = self.process.run
        if run is not None and not open_in_browser(run / "report.html"):
            self.said.say(f"No browser could be opened. The report is {run / 'report.html'}")

    def _try(self, action: Any) -> None:
        try:
            action()
        except Exception as error:
            self.said.complain(error)


def _status(run: Path) -> str:
    try:
        return str(json.loads((run / "run.json").read_text(encoding="utf-8"))["status"])
    except (OSError, ValueError, KeyError):
        return ""


def _as_html(finding: Any) -> str:
    mark, text, mend, where = (
        html.escape(one)
        for one in (_MARKS[finding.severity], finding.text, finding.mend, finding.where)
    )
    what = f"<p>{mark} <b>{text}</b> {mend}<br><small>{where}</small></p>"
    return what.replace("  ", " ")
