"""How the command line talks: progress and messages on standard error, results on output."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Mapping
from enum import StrEnum
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console as RichConsole

from osteon.errors import ExitCode, OsteonError, OsteonWarning, out_of_memory
from osteon.events import Event, Reporter

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


def forgive_encoding() -> None:
    """Print ``?`` for letters that the output lacks, as a pipe of Windows lacks mm⁴."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


class Say(StrEnum):
    """How progress is told."""

    TEXT = "text"
    JSONL = "jsonl"
    NONE = "none"


class Console:
    """What a command says while it works; turns Ctrl-C and SIGTERM into a request to stop.

    Args:
        say: How progress is told on standard error.
        quiet: Print no text to standard output (it is kept for one JSON object).

    Attributes:
        reporter: For the work.
        code: The exit code that the command asks for.
        interrupted: Whether Ctrl-C was pressed, or SIGTERM came (a job's time is up).
    """

    def __init__(self, say: Say, *, quiet: bool = False):
        self._say, self._quiet = say, quiet
        self.reporter = Reporter(self._listen)
        self.code = ExitCode.OK
        self.interrupted = False
        self._rich = RichConsole(stderr=True, highlight=False)
        self._bar: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._seen: set[str] = set()

    def say(self, text: str) -> None:
        """Print a line of the result.

        Args:
            text: The text.
        """
        if not self._quiet:
            print(text)

    def result(self, stage: str, data: Mapping[str, Any]) -> None:
        """Tell the result to whoever reads the events.

        Args:
            stage: The command.
            data: The result.
        """
        if self._say is Say.JSONL:
            self._tell(Event("result", stage, data=data))

    def __enter__(self) -> Self:
        self._old_handlers = {
            number: signal.signal(number, self._interrupt)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        self._caught = warnings.catch_warnings()
        self._caught.__enter__()
        warnings.simplefilter("always", OsteonWarning)
        warnings.showwarning = self._warn  # type: ignore[assignment]
        # Its remarks on damaged files would come before our own message.
        logging.getLogger("tifffile").setLevel(logging.CRITICAL)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._caught.__exit__(kind, error, trace)
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)
        self._close_bar()

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.interrupted:
            if number == signal.SIGINT:  # pressed again: the user does not want to wait
                raise KeyboardInterrupt
            return  # clusters send SIGTERM to a job and to its parts, and SIGKILL in the end
        self.interrupted = True
        if number == signal.SIGTERM:
            self.reporter.stop.request("told to end by the system (SIGTERM)")
        else:
            self.reporter.stop.request("interrupted from the keyboard")
        if self._say is Say.NONE:
            return
        line = "stopping after this step; press Ctrl-C again to stop at once"
        if number == signal.SIGTERM:
            line = "stopping after this step, as SIGTERM asks"
        if self._say is Say.JSONL:
            line = json.dumps(Event("message", "osteon", message=line).as_dict())
        # Straight to the system: this may come in the middle of a print, which cannot be entered
        # twice.
        with contextlib.suppress(OSError, ValueError):
            os.write(sys.stderr.fileno(), f"{line}\n".encode())

    def _warn(self, message: Any, category: type[Warning], *rest: Any) -> None:
        if not isinstance(message, OsteonWarning) or str(message) in self._seen:
            return  # other libraries' warnings are for developers, not for users
        self._seen.add(str(message))
        self._tell(Event("warning", "osteon", message=str(message), data={"name": message.name}))

    def _listen(self, event: Event) -> None:
        self._tell(event)

    def _tell(self, event: Event) -> None:
        if self._say is Say.NONE:
            return
        if self._say is Say.JSONL:
            print(json.dumps(_plain(event.as_dict())), file=sys.stderr, flush=True)
        elif event.kind == "message":
            # Not wrapped where nobody's window asks for it: a log is searched by line.
            self._rich.print(event.message or "", markup=False, soft_wrap=True)
        elif event.kind == "warning":
            self._rich.print(f"warning: {event.message}", markup=False, soft_wrap=True)
        elif self._rich.is_terminal:
            self._draw(event)

    def _draw(self, event: Event) -> None:
        if event.kind == "start":
            bar = self._open_bar()
            self._tasks[event.stage] = bar.add_task(
                event.stage, total=event.total, completed=event.step or 0, note="", left=""
            )
        elif event.stage in self._tasks and self._bar is not None:
            task = self._tasks[event.stage]
            left = "" if event.seconds_left is None else f"{clock(event.seconds_left)} left"
            self._bar.update(
                task, completed=event.step, total=event.total, note=event.message or "", left=left
            )
            if event.kind == "end":
                self._bar.remove_task(self._tasks.pop(event.stage))
                if not self._tasks:
                    self._close_bar()

    def _open_bar(self) -> Progress:
        if self._bar is None:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[left]}"),
                TextColumn("{task.fields[note]}", markup=False),
                console=self._rich,
                transient=True,
            )
            self._bar.start()
        return self._bar

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
            self._tasks.clear()


def clock(seconds: float) -> str:
    """Write a time as ``m:ss`` or ``h:mm:ss``.

    Args:
        seconds: The time.

    Returns:
        The text.
    """
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def print_json(value: Mapping[str, Any]) -> None:
    """Print a result as one JSON object on standard output; NaN becomes null.

    Args:
        value: The result.
    """
    print(json.dumps(_plain(value), indent=1))


def report_error(error: BaseException, say: Say = Say.TEXT) -> ExitCode:
    """Tell the user of an error and say with which code to exit.

    Args:
        error: What was raised.
        say: How standard error is written.

    Returns:
        The exit code; a traceback is printed only for bugs of osteon.
    """
    error = out_of_memory(error) or error
    if isinstance(error, OsteonError):
        if say is Say.JSONL:
            told = {"what": error.what, "where": error.where, "mend": error.mend}
            line = {"kind": "error", "message": str(error), "data": told}
            print(json.dumps({**line, "exit_code": int(error.exit_code)}), file=sys.stderr)
        else:
            print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        if say is not Say.JSONL:
            print("interrupted; what was finished is kept", file=sys.stderr)
        return ExitCode.INTERRUPTED
    traceback.print_exception(error)
    print("error: this is a bug in osteon; please report it with the lines above", file=sys.stderr)
    return ExitCode.UNEXPECTED
