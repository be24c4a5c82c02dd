"""A fit in a process of its own: the command ``osteon fit``, started, followed and stopped.

What it tells goes into a file, not a pipe: the fit outlives the window, and another window can
follow it.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal

from osteon.errors import OsteonError
from osteon.events import Event
from osteon.files import writing

#: How often the file is looked at, in milliseconds.
_EVERY_MS = 250
_POLL_SECONDS = 0.1
#: Lines of standard error that are shown when a fit ends without saying why.
_LINES = 8


class FitProcess(QObject):
    """One fit at a time.

    Signals: ``began``, ``told`` (an :class:`~osteon.events.Event`), ``failed`` (an
    ``OsteonError``), and at last ``ended`` (whether there is a model).

    Args:
        parent: The widget it belongs to.
    """

    began = Signal()
    told = Signal(object)
    failed = Signal(object)
    ended = Signal(bool)

    def __init__(self, parent: QObject | None = None):
        super().__init__(parent)
        self.run: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._read, self._rest = 0, b""
        self._last: list[str] = []
        self._error: OsteonError | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(_EVERY_MS)
        self._timer.timeout.connect(self.look)

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> Path:
        """The file of what the fit tells, beside the run folder."""
        run = self.run or Path()
        return run.with_name(f"{run.name}.log.jsonl")

    def start(
        self,
        run: Path,
        *,
        dataset: Path | None = None,
        settings: Path | None = None,
        more: Sequence[str] = (),
    ) -> None:
        """Start a fit, or go on with one.

        Args:
            run: The run folder.
            dataset: The manifest.
            settings: The YAML file of settings; None where it goes on.
            more: Further arguments, such as ``--resume``.

        Raises:
            OutputError: If its log cannot be written.
        """
        words = [sys.executable, "-m", "osteon", "fit"]
        words += [str(dataset)] if dataset is not None else []
        words += ["--out", str(run), "--events", "jsonl", *more]
        words += ["--settings", str(settings)] if settings is not None else []
        self.run, self._read, self._rest, self._error, self._last = run, 0, b"", None, []
        with writing(self.log):
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("wb") as log:
                # A session of its own: what ends the window does not end the fit.
                self._process = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                    start_new_session=True,
                )
        self._timer.start()
        self.began.emit()

    def stop(self) -> None:
        """Ask the fit to end after its present step; the best model is kept."""
        if self.run is None:
            return
        # The fit makes the folder; before that nothing is to be kept.
        if self.run.is_dir() and (self.run / "run.json").exists():
            (self.run / "STOP").touch()
        elif self._process is not None:
            self._process.terminate()

    def wait(self, seconds: float = 60.0) -> bool:
        """Wait for its end.

        Args:
            seconds: How long at most.

        Returns:
            Whether it has ended.
        """
        end = time.monotonic() + seconds
        while self.running and time.monotonic() < end:
            time.sleep(_POLL_SECONDS)
        return not self.running

    def look(self) -> None:
        """Tell what the fit has said since the last look, and whether it has ended."""
        over = self._process is not None and self._process.poll() is not None
        with contextlib.suppress(OSError), self.log.open("rb") as log:
            log.seek(self._read)
            data = log.read()
            self._read += len(data)
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._take(line.decode(errors="replace"))
        if over:
            self._timer.stop()
            self._end()

    def _end(self) -> None:
        code = 0 if self._process is None else self._process.returncode
        model = self.run is not None and (self.run / "model.safetensors").is_file()
        if self._error is None and code not in (0, None):
            said = "\n".join(self._last) or f"exit code {code}"
            self._error = OsteonError(f"the fit ended unexpectedly: {said}", where=self.log)
        if self._error is not None:
            self.failed.emit(self._error)
        self.ended.emit(model)

    def _take(self, line: str) -> None:
        try:
            data: dict[str, Any] = json.loads(line)
        except ValueError:
            if line.strip():
                self._last = [*self._last, line][-_LINES:]
            return
        if data.get("kind") == "error":
            told = data.get("data", {})
            self._error = OsteonError(
                str(told.get("what", data.get("message", ""))),
                where=told.get("where"),
                mend=told.get("mend"),
            )
            return
        names = set(Event.__dataclass_fields__)
        with contextlib.suppress(TypeError):
            self.told.emit(Event(**{k: v for k, v in data.items() if k in names}))
