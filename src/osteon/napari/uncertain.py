"""The slices of a scan that a model is least sure of."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QListWidget, QListWidgetItem, QSpinBox, QWidget

from osteon.events import Reporter
from osteon.napari.predictors import Predictors, Request
from osteon.napari.session import Session
from osteon.napari.work import Give

#: Slices that are looked at if nothing else is said: some seconds each.
_LOOKED_AT = 12
_HEIGHT = 110


def find_uncertain(session: Session, request: Request, count: int) -> Any:
    """Make the task that looks at slices spread through a scan.

    Args:
        session: The session.
        request: Scan, model and settings.
        count: How many slices.

    Returns:
        The task: gives the classes, then each slice with its uncertainty.
    """

    def task(reporter: Reporter, give: Give) -> str:
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
        return f"Looked at {len(wanted)} slices: click one to go there."

    return task


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
        for widget in (button, QLabel("of"), self.count, QLabel("looked at")):
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
