"""The curves of a fit while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from qtpy.QtWidgets import QVBoxLayout, QWidget

_BACK, _FRONT = "#262930", "#d0d4db"  # napari's dark theme
_LOSS, _SCORE = "#e69f00", "#56b4e9"
_HEIGHT = 190


class Curves(QWidget):
    """Loss and validation score by epoch."""

    def __init__(self) -> None:
        super().__init__()
        from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg

        self._figure = Figure(facecolor=_BACK, layout="constrained")
        made: Any = FigureCanvasQTAgg
        self._canvas = made(self._figure)
        self.rows: list[dict[str, float]] = []
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._canvas)
        self.setFixedHeight(_HEIGHT)
        self.hide()

    def clear(self) -> None:
        """Begin anew."""
        self.rows = []
        self.hide()

    def add(self, row: Mapping[str, Any]) -> bool:
        """Take what a fit tells of an epoch.

        Args:
            row: Its data; other messages have no ``epoch`` and are left out.

        Returns:
            Whether it was an epoch.
        """
        if "epoch" not in row or "train_loss" not in row:
            return False
        kept = ("epoch", "train_loss", "val_loss", "val_mean_iou")
        self.rows.append({k: float(row[k]) for k in kept if row.get(k) is not None})
        self._draw()
        self.show()
        return True

    def _draw(self) -> None:
        self._figure.clear()
        loss = self._figure.add_subplot()
        self._line(loss, "train_loss", _LOSS, "loss of the fit")
        self._line(loss, "val_loss", _LOSS, "loss, validation", style="--")
        loss.set_xlabel("epoch")
        loss.xaxis.set_major_locator(MaxNLocator(integer=True))
        if any("val_mean_iou" in row for row in self.rows):
            score = loss.twinx()
            self._line(score, "val_mean_iou", _SCORE, "mean IoU, validation")
            self._paint(score)
        self._paint(loss)
        legend = self._figure.legend(
            loc="outside upper center", ncols=3, fontsize=8, frameon=False, labelcolor=_FRONT
        )
        legend.set_in_layout(True)
        self._canvas.draw_idle()

    def _line(self, axes: Any, name: str, colour: str, label: str, *, style: str = "-") -> None:
        points = [(row["epoch"], row[name]) for row in self.rows if name in row]
        if points:
            x, y = zip(*points, strict=True)
            axes.plot(x, y, style, color=colour, label=label, marker=".", markersize=4)

    @staticmethod
    def _paint(axes: Any) -> None:
        axes.set_facecolor(_BACK)
        axes.tick_params(colors=_FRONT, labelsize=8)
        axes.xaxis.label.set_color(_FRONT)
        for spine in axes.spines.values():
            spine.set_color(_FRONT)
