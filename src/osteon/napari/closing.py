"""A window is not closed over running work without a question."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QMainWindow, QMessageBox, QWidget


class Runs(Protocol):
    """Something that runs and can be told to stop."""

    @property
    def running(self) -> bool:
        """Whether it runs."""

    def stop(self) -> None:
        """Ask it to end."""

    def wait(self, seconds: float = 15.0) -> bool:
        """Wait for its end."""


class _Guard(QObject):
    """Asks before a window is closed while something runs."""

    def __init__(self, widget: QWidget, runs: Runs, what: str, *, goes_on: bool):
        super().__init__(widget)
        self._runs, self._what, self._goes_on = runs, what, goes_on
        self._window: QMainWindow | None = None
        self._widget = widget

    def watch(self) -> None:
        """Find the window, once the widget is in it."""
        window = self._widget.window()
        if isinstance(window, QMainWindow) and self._window is None:
            self._window = window
            window.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Ask, if the window is to be closed while something runs.

        Args:
            watched: The window.
            event: What happens to it.

        Returns:
            Whether that is not to happen.
        """
        if event.type() != QEvent.Type.Close or not self._runs.running:
            return False
        answer = ask(self._widget, self._what, goes_on=self._goes_on)
        if answer == "stay":
            event.ignore()
            return True
        if answer == "stop":
            self._runs.stop()
            self._runs.wait()
        return False


def ask(parent: QWidget, what: str, *, goes_on: bool) -> str:
    """Ask what is to become of running work.

    Args:
        parent: Where the question is asked.
        what: What runs, such as ``A fit``.
        goes_on: Whether it can go on without the window.

    Returns:
        ``stop``, ``leave`` or ``stay``.
    """
    box = QMessageBox(parent)
    box.setWindowTitle("osteon")
    box.setText(f"{what} is running. What is done is kept, and can be gone on with later.")
    role = QMessageBox.ButtonRole
    stop = box.addButton("Stop it and close", role.AcceptRole)
    leave = box.addButton("Close, let it run on", role.AcceptRole) if goes_on else None
    box.addButton("Stay", role.RejectRole)
    box.exec()
    pressed = box.clickedButton()
    if pressed is stop:
        return "stop"
    return "leave" if leave is not None and pressed is leave else "stay"


def keep_from_closing(widget: QWidget, runs: Runs, what: str, *, goes_on: bool = False) -> Any:
    """Have the window of a widget ask before it is closed while something runs.

    Args:
        widget: The widget.
        runs: What may run.
        what: What it is called.
        goes_on: Whether it can go on without the window.

    Returns:
        The guard.
    """
    guard = _Guard(widget, runs, what, goes_on=goes_on)
    # The widget is put into the window after it was made.
    later: Callable[[], None] = guard.watch
    QTimer.singleShot(0, guard, later)
    return guard
