"""The slices of a scan that a model is least sure of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QListWidget, QListWidgetItem, QSpinBox, QWidget

from osteon.errors import OsteonError
from osteon.events import Reporter
from osteon.formats import open_volume
from osteon.napari.predictors import Predictors, Request
from osteon.napari.result import FULL, whole_target
from osteon.napari.session import Session
from osteon.napari.work import Give
from osteon.tables.shipped import find_model

#: Slices that are looked at if nothing else is said: some seconds each.
_LOOKED_AT = 12
_HEIGHT = 110


@dataclass(frozen=True)
class Ranked:
    """How uncertain a slice of a labelled scan is on average, 0 to 1."""

    z: int
    doubt: float


def find_uncertain(session: Session, request: Request, count: int) -> Any:
    """Make the task that finds the slices of a scan that a model is least sure of.

    Where the whole scan was predicted by this model with its uncertainty, all slices are ranked by
    that; else slices spread through the scan are labelled.

    Args:
        session: The session.
        request: Scan, model and settings.
        count: How many slices are looked at, or listed.

    Returns:
        The task: gives the file of the uncertainty and the ranked slices, or the classes, then
        each slice with its uncertainty.
    """
    target = whole_target(session, request.scan, request.model)

    def task(reporter: Reporter, give: Give) -> str:
        whole = whole_uncertainty(target, request.model)
        if whole is not None:
            return _rank(whole, count, reporter=reporter, give=give)
        return _look(session, request, count, reporter=reporter, give=give)

    return task


def whole_uncertainty(target: Path, model: str | Path) -> Path | None:
    """Return the uncertainty beside the labels of a whole scan; None if this model made none.

    Args:
        target: The labels of the whole scan.
        model: Name or file of the model.
    """
    from osteon.model_file import load_model
    from osteon.workflows.predicting_again import record_path
    from osteon.workflows.record import read_json

    try:
        record = read_json(record_path(target))
        path = Path(record["uncertainty"])
        made_by = record["model"]["weights_sha256"]
        same = made_by == load_model(find_model(model)).spec.weights_sha256
    except (OsteonError, KeyError, TypeError):
        return None  # not predicted, or without uncertainty
    return path if same and path.exists() else None


def _rank(whole: Path, count: int, *, reporter: Reporter, give: Give) -> str:
    volume = open_volume(whole)
    depth, deep = volume.shape[0], max(1, volume.chunks[0])
    found: list[Ranked] = []
    with reporter.stage("rank", total=depth, unit="slice") as progress:
        for first in range(0, depth, deep):
            if reporter.stopping:
                return f"Stopped after {progress.step} slices."
            slab = volume.read(slice(first, min(first + deep, depth)))
            means = slab.mean(axis=(1, 2), dtype=np.float64) / FULL
            found += [Ranked(first + i, float(mean)) for i, mean in enumerate(means)]
            progress.advance(len(slab))
    give(whole)
    for one in sorted(found, key=lambda one: -one.doubt)[:count]:
        give(one)
    listed = min(count, depth)
    return (
        f"The {listed} most uncertain of all {depth} slices, by the uncertainty of the whole scan: "
        "click one to go there."
    )


def _look(session: Session, request: Request, count: int, *, reporter: Reporter, give: Give) -> str:
    from osteon.workflows.slicewise import spread_slices

    predictor = Predictors.of(session).get(request, alone=True, reporter=reporter)
    give(predictor.scheme)
    wanted = spread_slices(predictor.shape[0], count)
    silent = Reporter(stop=reporter.stop)
    with reporter.stage("look", total=len(wanted), unit="slice") as progress:
        for z in wanted:
            if reporter.stopping:
                return f"Stopped after {progress.step} slices."
            for one in predictor.run(slice(z, z + 1), uncertainty=True, reporter=silent):
                give(one)
            progress.advance()
    return f"Looked at {len(wanted)} slices spread through the scan: click one to go there."


class UncertainList(QWidget):
    """Slices, the most uncertain first."""

    picked = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.list, self.count = QListWidget(), QSpinBox()
        self.count.setRange(1, 10_000)
        self.count.setValue(_LOOKED_AT)
        self.list.setMaximumHeight(_HEIGHT)
        self.list.itemClicked.connect(self._clicked)
        self.list.itemActivated.connect(self._clicked)
        self._found: dict[int, float] = {}

    def head(self, button: QWidget) -> QWidget:
        """Return the row above the list.

        Args:
            button: What starts the search.
        """
        row = QWidget()
        line = QHBoxLayout(row)
        line.setContentsMargins(0, 0, 0, 0)
        for widget in (button, QLabel("at most"), self.count):
            line.addWidget(widget)
        return row

    def clear(self) -> None:
        """Begin anew."""
        self._found = {}
        self.list.clear()

    def add(self, z: int, doubt: float) -> None:
        """Add a slice.

        Args:
            z: The slice.
            doubt: Its mean uncertainty, 0 to 1.
        """
        self._found[z] = doubt
        self.list.clear()
        for index, value in sorted(self._found.items(), key=lambda item: -item[1]):
            item = QListWidgetItem(f"slice {index}: {value:.1%} uncertain")
            item.setData(Qt.ItemDataRole.UserRole, index)
            self.list.addItem(item)

    def ranked(self) -> list[int]:
        """Return the slices, the most uncertain first."""
        return [
            int(self.list.item(i).data(Qt.ItemDataRole.UserRole)) for i in range(self.list.count())
        ]

    def _clicked(self, item: Any) -> None:
        self.picked.emit(int(item.data(Qt.ItemDataRole.UserRole)))
