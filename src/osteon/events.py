"""What long work tells whoever started it, and how it is told to stop.

Work takes a :class:`Reporter`. It is given a listener (a progress bar, JSON
lines, a window) and a :class:`StopToken`; work asks ``reporter.stopping``
between steps and ends cleanly when that is true.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

EventKind = Literal["start", "progress", "end", "message", "warning", "result"]

#: Seconds between two progress events of a stage: more would only slow the work down.
MIN_INTERVAL_S = 0.1


@dataclass(frozen=True)
class Event:
    """One thing that long work says.

    Attributes:
        kind: ``start``, ``progress`` and ``end`` belong to a stage; ``message``
            and ``warning`` are text; ``result`` carries the outcome in ``data``.
        stage: The name of the stage, such as ``fit`` or ``predict``.
        step: Steps done so far.
        total: Steps in all, or None where that is unknown.
        unit: What a step is, such as ``slice`` or ``step``.
        seconds_left: Estimated time to the end of the stage, in seconds.
        message: A text for a person.
        data: Figures that belong to it, JSON-compatible.
    """

    kind: EventKind
    stage: str
    step: int | None = None
    total: int | None = None
    unit: str = ""
    seconds_left: float | None = None
    message: str | None = None
    data: Mapping[str, object] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """Return the event as a JSON-compatible dictionary without empty fields."""
        return {k: v for k, v in asdict(self).items() if v not in (None, "", {})}


Listener = Callable[[Event], None]


def silent(event: Event) -> None:
    """Listen to nothing: the default of the Python API."""


class StopToken:
    """A request to stop, made by a call (Ctrl-C, a Stop button) or by a file.

    Args:
        stop_file: The stop is also requested once this file exists.
    """

    def __init__(self, stop_file: Path | None = None):
        self._requested = False
        self._stop_file = stop_file
        self.reason: str | None = None

    def request(self, reason: str = "asked to stop") -> None:
        """Ask the work to stop at the next step.

        Args:
            reason: Said to the user and kept in the run's record.
        """
        self._requested = True
        self.reason = reason

    def watch(self, stop_file: Path) -> None:
        """Also stop once ``stop_file`` exists.

        Args:
            stop_file: A file whose appearance asks for the stop.
        """
        self._stop_file = stop_file

    @property
    def requested(self) -> bool:
        """Whether a stop has been asked for."""
        if not self._requested and self._stop_file is not None and self._stop_file.exists():
            self.request(f"stop file {self._stop_file.name} found")
        return self._requested


class Progress:
    """Counts the steps of one stage and estimates the time left."""

    def __init__(self, reporter: Reporter, stage: str, total: int | None, unit: str, done: int):
        self._reporter = reporter
        self._stage, self._total, self._unit = stage, total, unit
        self._first = self.step = done
        self._start = time.monotonic()
        self._last_sent = -1.0

    def advance(
        self,
        n: int = 1,
        *,
        message: str | None = None,
        data: Mapping[str, object] | None = None,
        always: bool = False,
    ) -> None:
        """Count ``n`` steps as done and tell the listener, at most ten times a second.

        Args:
            n: Steps finished since the last call.
            message: A short text beside the bar.
            data: Figures that belong to the step.
            always: Send the event even if the last was just now.
        """
        self.step += n
        now = time.monotonic()
        last = self._total is not None and self.step >= self._total
        if not (always or last) and now - self._last_sent < MIN_INTERVAL_S:
            return
        self._last_sent = now
        self._reporter.send(
            Event(
                "progress",
                self._stage,
                self.step,
                self._total,
                self._unit,
                self.seconds_left(now),
                message,
                data or {},
            )
        )

    def seconds_left(self, now: float | None = None) -> float | None:
        """Estimate the seconds to the end of the stage from the mean pace so far."""
        done = self.step - self._first
        if self._total is None or done <= 0:
            return None
        elapsed = (time.monotonic() if now is None else now) - self._start
        return max(0.0, elapsed / done * (self._total - self.step))


class Reporter:
    """The one object through which work talks to whoever started it.

    Args:
        listener: Called with every :class:`Event`, in the thread of the work.
        stop: The request to stop, shared with whoever started the work.
    """

    def __init__(self, listener: Listener = silent, stop: StopToken | None = None):
        self._listener = listener
        self.stop = stop if stop is not None else StopToken()

    @property
    def stopping(self) -> bool:
        """Whether the work has been asked to stop."""
        return self.stop.requested

    def send(self, event: Event) -> None:
        """Hand an event to the listener.

        Args:
            event: The event.
        """
        self._listener(event)

    def message(self, stage: str, text: str, **data: object) -> None:
        """Say something to the user.

        Args:
            stage: The stage it belongs to.
            text: The text.
            **data: Figures that belong to it.
        """
        self.send(Event("message", stage, message=text, data=data))

    @contextmanager
    def stage(
        self, name: str, *, total: int | None = None, unit: str = "step", done: int = 0
    ) -> Iterator[Progress]:
        """Open a stage of counted steps.

        Args:
            name: The name of the stage.
            total: Steps in all, None where unknown.
            unit: What a step is.
            done: Steps that were done in an earlier, interrupted run.

        Yields:
            The :class:`Progress` to advance.
        """
        self.send(Event("start", name, done, total, unit))
        progress = Progress(self, name, total, unit, done)
        try:
            yield progress
        finally:
            self.send(Event("end", name, progress.step, total, unit))
