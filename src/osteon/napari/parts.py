"""Small pieces that the widgets are put together from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from osteon.errors import UsageError
from osteon.events import Event
from osteon.napari.layers import known
from osteon.napari.work import in_words

#: Fewest characters that a list of layers shows: names of scans are long, the panel is narrow.
_WIDTH = 12
#: How what is wrong is written.
BAD = "color: #e8a33d;"
_MINUTE, _HOUR = 60, 3600


class LayerPicker(QComboBox):
    """A list of the layers of one kind, that follows the window.

    Layers that osteon made of others (uncertainty, differences) are left out.

    Args:
        viewer: The viewer.
        kind: ``image`` or ``labels``.
        what: What is chosen, for messages: ``a scan``.
    """

    chosen = Signal()

    def __init__(self, viewer: Any, kind: str, what: str):
        super().__init__()
        self._viewer, self._kind, self._what = viewer, kind, what
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(_WIDTH)
        for event in ("inserted", "removed", "reordered", "renamed"):
            signal = getattr(viewer.layers.events, event, None)
            if signal is not None:
                signal.connect(self._fill)
        self._fill()
        self.currentIndexChanged.connect(lambda _: self.chosen.emit())

    def _fill(self, event: Any = None) -> None:
        before = self.currentText()
        layers = [x for x in self._viewer.layers if x._type_string == self._kind]
        names = [x.name for x in layers if not known(x).get("derived")]
        if names == [self.itemText(i) for i in range(self.count())]:
            return
        self.blockSignals(True)
        self.clear()
        self.addItems(names)
        self.setCurrentIndex(names.index(before) if before in names else len(names) - 1)
        self.blockSignals(False)
        self.chosen.emit()

    def choose(self, layer: Any) -> None:
        """Choose a layer.

        Args:
            layer: One of the window's.
        """
        self._fill()
        self.setCurrentText(layer.name)

    @property
    def layer(self) -> Any | None:
        """The chosen layer; None if there is none."""
        name = self.currentText()
        return self._viewer.layers[name] if name and name in self._viewer.layers else None

    def needed(self) -> Any:
        """Return the chosen layer.

        Raises:
            UsageError: If there is none.
        """
        layer = self.layer
        if layer is None:
            raise UsageError(
                f"there is no {self._kind} layer to be used as {self._what}",
                mend="open one: drop its folder or file on the window, or File > Open",
            )
        return layer

    def disconnect_all(self) -> None:
        """Follow the window no longer."""
        for event in ("inserted", "removed", "reordered", "renamed"):
            signal = getattr(self._viewer.layers.events, event, None)
            if signal is not None:
                signal.disconnect(self._fill)


class VoxelSize(QLineEdit):
    """A voxel size in µm, in place of what a file says.

    Args:
        hint: Shown while it is empty.
    """

    def __init__(self, hint: str):
        super().__init__()
        self.setPlaceholderText(hint)

    def size_um(self) -> float | None:
        """Return the size; None where nothing is given.

        Raises:
            UsageError: If it is no number.
        """
        text = self.text().strip()
        try:
            return float(text) if text else None
        except ValueError:
            raise UsageError(
                f"‘{text}’ is no voxel size", mend="give µm, such as 10.5, or leave it empty"
            ) from None


class PathRow(QWidget):
    """A path with a Browse button.

    Args:
        mode: ``open``, ``save`` or ``folder``.
        filter: Of the file dialog, such as ``Datasets (*.toml)``.
        hint: Shown while it is empty.
    """

    changed = Signal(str)

    def __init__(self, mode: str, *, filter: str = "", hint: str = ""):
        super().__init__()
        self._mode, self._filter = mode, filter
        self.line = QLineEdit()
        self.line.setPlaceholderText(hint)
        self.line.textChanged.connect(self.changed)
        self.button = QPushButton("Browse …")
        self.button.clicked.connect(self._browse)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.line, 1)
        row.addWidget(self.button)

    def _browse(self) -> None:
        here = self.line.text()
        if self._mode == "folder":
            found = QFileDialog.getExistingDirectory(self, "Choose a folder", here)
        elif self._mode == "open":
            found = QFileDialog.getOpenFileName(self, "Choose a file", here, self._filter)[0]
        else:
            found = QFileDialog.getSaveFileName(self, "Save as", here, self._filter)[0]
        if found:
            self.line.setText(found)

    @property
    def path(self) -> Path | None:
        """The path; None while it is empty."""
        text = self.line.text().strip()
        return Path(text).expanduser() if text else None

    def set_path(self, path: Path | None) -> None:
        """Fill in a path.

        Args:
            path: The path; None: empty.
        """
        self.line.setText("" if path is None else str(path))


class Said(QLabel):
    """What the widget has to say: a result, or an error with what can be done about it."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        policy = QSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)

    def say(self, text: str) -> None:
        """Show a text.

        Args:
            text: The text.
        """
        self.setStyleSheet("")
        self.setText(text)

    def complain(self, error: BaseException) -> None:
        """Show what went wrong.

        Args:
            error: What was raised.
        """
        self.setStyleSheet(BAD)
        self.setText(in_words(error))


class ProgressRow(QWidget):
    """A bar with the time left and a button to stop.

    Args:
        stop: What the button says.
    """

    stopped = Signal()

    def __init__(self, stop: str = "Cancel"):
        super().__init__()
        self.bar, self.left = QProgressBar(), QLabel()
        self.button = QPushButton(stop)
        self.button.clicked.connect(self._stop)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.bar, 1)
        row.addWidget(self.left)
        row.addWidget(self.button)
        self.hide()

    def _stop(self) -> None:
        self.button.setEnabled(False)
        self.left.setText("stopping …")
        self.stopped.emit()

    def begin(self) -> None:
        """Show it, busy, before the first step is known."""
        self.bar.setRange(0, 0)
        self.left.setText("")
        self.button.setEnabled(True)
        self.show()

    def tell(self, event: Event) -> None:
        """Show how far the work is.

        Args:
            event: What it told.
        """
        if event.kind not in ("start", "progress") or event.step is None:
            return
        self.bar.setRange(0, event.total or 0)
        self.bar.setValue(event.step)
        self.bar.setFormat(f"{event.stage}: %v of %m {event.unit}s")
        if self.button.isEnabled() and event.seconds_left is not None:
            self.left.setText(f"{time_in_words(event.seconds_left)} left")

    def end(self) -> None:
        """Hide it."""
        self.hide()


class Fold(QWidget):
    """Widgets under a heading that a click shows or hides.

    Args:
        title: The heading.
        body: What it holds.
        opened: Whether it is shown at first.
    """

    def __init__(self, title: str, body: QWidget, *, opened: bool = False):
        super().__init__()
        self.button, self.body = QToolButton(), body
        self.button.setText(title)
        self.button.setCheckable(True)
        self.button.setChecked(opened)
        self.button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.button.setStyleSheet("QToolButton {border: none; font-weight: bold;}")
        self.button.toggled.connect(self._show)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.button)
        column.addWidget(body)
        self._show(opened)

    def _show(self, opened: bool) -> None:
        self.button.setArrowType(Qt.ArrowType.DownArrow if opened else Qt.ArrowType.RightArrow)
        self.body.setVisible(opened)


class Table(QTableWidget):
    """A table to read and to copy from."""

    def __init__(self) -> None:
        super().__init__()
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.verticalHeader().hide()

    def fill(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show rows.

        Args:
            heads: Names of the columns.
            rows: Cells.
        """
        self.setColumnCount(len(heads))
        self.setHorizontalHeaderLabels(list(heads))
        self.setRowCount(len(rows))
        for i, row in enumerate(rows):
            for j, cell in enumerate(row):
                self.setItem(i, j, QTableWidgetItem(cell))
        self.resizeColumnsToContents()


def buttons(actions: Mapping[str, Callable[[], None]]) -> tuple[QWidget, list[QPushButton]]:
    """Make a row of buttons.

    Args:
        actions: What each does, by what it says.

    Returns:
        The row, and the buttons.
    """
    row, made = QWidget(), []
    line = QHBoxLayout(row)
    line.setContentsMargins(0, 0, 0, 0)
    for text, action in actions.items():
        button = QPushButton(text)
        button.clicked.connect(lambda _=False, do=action: do())
        line.addWidget(button)
        made.append(button)
    return row, made


def time_in_words(seconds: float) -> str:
    """Write a time roughly: ``40 s``, ``12 min``, ``3.5 h``.

    Args:
        seconds: The time.
    """
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    return f"{seconds / _MINUTE:.0f} min" if seconds < 2 * _HOUR else f"{seconds / _HOUR:.1f} h"


def open_in_browser(path: Path) -> bool:
    """Open a report in the browser.

    Args:
        path: The HTML file.

    Returns:
        Whether the system says that it did.
    """
    return bool(QDesktopServices.openUrl(QUrl.fromLocalFile(str(path.absolute()))))
