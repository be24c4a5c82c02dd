"""Work outside the thread of the window: what it tells, how it is stopped, what went wrong."""

from __future__ import annotations

import contextlib
import threading
import traceback
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, Signal

from osteon.errors import OsteonError, OsteonWarning, Stopped, out_of_memory
from osteon.events import Event, Reporter, StopToken
from osteon.files import output_error
from osteon.napari.apart import load_apart
from osteon.napari.warned import hearing

#: How long the window waits for work to end before it closes, in seconds.
END_SECONDS = 15.0
#: Lines of a traceback that are shown of a bug.
_LINES = 6

#: What the command line calls something, and what it is called in the window.
_WORDS = (
    ("run the same command again", "press the same button again"),
    ("the same command", "the same button"),
    ("or ask for it to be replaced (--overwrite)", "or tick ‘Replace what exists’"),
    ("or replace them by --overwrite", "or tick ‘Replace what exists’"),
    ("go on by --resume, or replace it by --overwrite", "or press ‘Go on with a stopped run’"),
    ("or --overwrite to begin anew", "or tick ‘Replace what exists’ to begin anew"),
    ("another name for --out", "another name"),
    ("for --out", "for it"),
    ("--resume", "‘Go on with a stopped run’"),
    ("--overwrite", "‘Replace what exists’"),
    ("a smaller --memory for predictions", "a smaller ‘memory’ in ‘More settings’ for predictions"),
    ("then give the command again", "then press the button again"),
    ("give it by --voxel-size", "fill in ‘Voxel size’"),
    ("--voxel-size", "‘Voxel size’"),
)
Give = Callable[[object], None]
Task = Callable[[Reporter, Give], object]


def in_words(error: BaseException) -> str:
    """Say what went wrong to a person at a window, with what can be done about it.

    Args:
        error: What was raised.

    Returns:
        A text of a few lines.
    """
    told = error if isinstance(error, OsteonError) else out_of_memory(error)
    if told is not None:
        text = told.what[:1].upper() + told.what[1:]
        if told.where:
            text += f"\nWhere: {told.where}"
        if told.mend:
            text += f"\nWhat to do: {told.mend}"
        return for_window(text)
    lines = "".join(traceback.format_exception(error)).splitlines()[-_LINES:]
    return "This is a bug in osteon. Please report it with these lines:\n" + "\n".join(lines)


def for_window(text: str) -> str:
    """Say what is meant for the command line as it is done in the window.

    Args:
        text: A message.
    """
    for said, meant in _WORDS:
        text = text.replace(said, meant)
    return text


class Work(QObject):
    """One piece of work at a time, in a thread of its own.

    Signals reach the thread of the window. After ``began`` come any number of ``told`` (an
    :class:`~osteon.events.Event`, warnings among them) and ``given`` (a part of the result), then
    one ``ended`` with the result and None, or with None and what was raised.

    Args:
        parent: The widget it belongs to.
    """

    began = Signal()
    told = Signal(object)
    given = Signal(object)
    ended = Signal(object, object)

    def __init__(self, parent: QObject | None = None):
        super().__init__(parent)
        self._thread: threading.Thread | None = None
        self._stop = StopToken()

    @property
    def running(self) -> bool:
        """Whether there is work that has not ended."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, task: Task) -> None:
        """Begin.

        Args:
            task: Called with a reporter, and with what hands over parts of the result.
        """
        self.began.emit()
        self._stop = StopToken()
        reporter = Reporter(self._tell, self._stop)
        self._thread = threading.Thread(
            target=self._run, args=(task, reporter), name="osteon-work", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Ask the work to end after its present step."""
        self._stop.request("stopped in the window")

    def wait(self, seconds: float = END_SECONDS) -> bool:
        """Wait for the thread to end.

        Args:
            seconds: How long at most.

        Returns:
            Whether it has ended.
        """
        if self._thread is not None:
            self._thread.join(seconds)
        return not self.running

    def _run(self, task: Task, reporter: Reporter) -> None:
        try:
            load_apart()  # tasks import what they need, often PyTorch
            with hearing(self._warned):
                result = task(reporter, self._give)
        except OSError as error:
            self._end(None, output_error(error, _place(error)))
        except Exception as error:
            self._end(None, error)
        else:
            self._end(result, None)

    # The window may be gone when the thread has something to say.
    def _tell(self, event: Event) -> None:
        with contextlib.suppress(RuntimeError):
            self.told.emit(event)

    def _warned(self, warning: OsteonWarning) -> None:
        data = {"name": warning.name}
        self._tell(Event("warning", "osteon", message=str(warning), data=data))

    def _give(self, part: object) -> None:
        with contextlib.suppress(RuntimeError):
            self.given.emit(part)

    def _end(self, result: object, error: Exception | None) -> None:
        with contextlib.suppress(RuntimeError):
            self.ended.emit(result, error)


def was_stopped(error: object) -> bool:
    """Whether work ended because it was asked to.

    Args:
        error: What was raised.
    """
    return isinstance(error, Stopped)


def _place(error: OSError) -> Any:
    from pathlib import Path

    return Path(str(error.filename or "the work folder"))
