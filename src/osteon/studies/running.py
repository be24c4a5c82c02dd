"""``osteon study run``: starts what has not been finished, waits, tells of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from osteon.errors import ExitCode
from osteon.events import Progress, Reporter
from osteon.files import write_text
from osteon.settings.base import SCHEMA as SETTINGS_SCHEMA
from osteon.studies.executor import PYTHON, Executor, Job, LocalExecutor
from osteon.studies.folder import StudyFolder
from osteon.studies.planning import Plan, Run

#: Seconds between two looks at the runs.
POLL_SECONDS = 0.5
#: How often a run whose process was killed from outside is gone on with by the same driver.
MOST_RESTARTS = 3


@dataclass(frozen=True)
class StudyRun:
    """How a study stands.

    Attributes:
        folder: Its folder.
        status: Name of a run → waiting, stopped, failed or finished.
        failures: Name of a run → why it failed.
        stopped: Whether the driver was asked to stop.
    """

    folder: Path
    status: dict[str, str]
    failures: dict[str, str]
    stopped: bool

    @property
    def exit_code(self) -> ExitCode:
        """OK if all runs are finished."""
        if self.stopped:
            return ExitCode.INTERRUPTED
        done = all(status == "finished" for status in self.status.values())
        return ExitCode.OK if done else ExitCode.PARTIAL

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-compatible summary."""
        return {
            "folder": str(self.folder),
            "runs": self.status,
            "failures": self.failures,
            "stopped": self.stopped,
        }


#: Makes the commands that start a run and that go on with it, from the dataset, the run's
#: settings file and its folder.
Command = Callable[[Path, Path, Path], tuple[Sequence[str], Sequence[str]]]


def fit_command(dataset: Path, settings: Path, folder: Path) -> tuple[Sequence[str], Sequence[str]]:
    """Return the commands of a fit; see :data:`Command`."""
    words = [PYTHON, "-m", "osteon", "fit", str(dataset), "--out", str(folder)]
    words += ["--events", "jsonl"]
    return [*words, "--settings", str(settings)], [*words, "--resume"]


def run_study(
    plan: Plan,
    *,
    out: Path,
    executor: Executor | None = None,
    retry: bool = False,
    command: Command = fit_command,
    reporter: Reporter | None = None,
) -> StudyRun:
    """Run the fits of a study that are not finished, each as a process with its own folder.

    Whatever is killed, at most the epoch in progress is lost: the same call goes on, and finds
    processes that outlived an earlier driver on this machine.

    Args:
        plan: The runs.
        out: Folder of the study.
        executor: Where they run; None: one at a time on this machine.
        retry: Try runs again that failed.
        command: Makes the command of a run.
        reporter: Told of the progress; a stop request ends the runs cleanly.

    Returns:
        How the study stands.

    Raises:
        OutputError: If another driver runs it, or the folder cannot be written.
        UsageError: If a run was begun with other settings.
    """
    folder = StudyFolder(out.absolute())
    with folder.locked():
        folder.begin(plan)
        driver = _Driver(
            folder, plan, executor or LocalExecutor(1), command, reporter or Reporter()
        )
        return driver.run(retry=retry)


class _Driver:
    def __init__(
        self,
        folder: StudyFolder,
        plan: Plan,
        executor: Executor,
        command: Command,
        reporter: Reporter,
    ):
        self._folder, self._plan, self._executor = folder, plan, executor
        self._command, self._reporter = command, reporter
        self._going: dict[str, Run] = {}
        self._restarts: dict[str, int] = {}

    def run(self, *, retry: bool) -> StudyRun:
        waiting = self._waiting(retry=retry)
        total = sum(run.settings.training.epochs for run in self._plan.runs)
        finished = [r for r in self._plan.runs if self._folder.status(r.name) == "finished"]
        done = self._epochs()
        self._reporter.message(
            "study", f"{len(waiting)} runs to do, {len(finished)} of {len(self._plan.runs)} done"
        )
        with self._reporter.stage("study", total=total, unit="epoch", done=done) as bar:
            while self._going or (waiting and not self._reporter.stopping):
                while waiting and self._executor.room > 0 and not self._reporter.stopping:
                    self._start(waiting.pop(0))
                if self._reporter.stopping:
                    self._ask_to_stop()
                time.sleep(POLL_SECONDS)
                for name, code in self._executor.ended().items():
                    waiting += self._end(self._going.pop(name), code)
                self._advance(bar)
        self._executor.close()
        return self._outcome()

    def _waiting(self, *, retry: bool) -> list[Run]:
        out = []
        for run in self._plan.runs:
            status = self._folder.status(run.name)
            if status == "failed" and retry:
                self._folder.fail(run.name, None)
            elif status == "failed":
                self._reporter.message("study", f"{run.name} failed before (try again by --retry)")
                continue
            if status != "finished":
                out.append(run)
        return out

    def _start(self, run: Run) -> None:
        settings = self._folder.settings(run.name)
        dump = {"schema": SETTINGS_SCHEMA, **run.settings.model_dump(mode="json")}
        write_text(settings, yaml.safe_dump(dump, sort_keys=False))
        place = self._folder.run(run.name)
        fresh, resume = self._command(self._plan.dataset, settings, place)
        log, record = self._folder.log(run.name), self._folder.record(run.name)
        self._executor.start(Job(run.name, place, fresh, resume, log, record))
        self._going[run.name] = run
        self._tell("start", run)

    def _end(self, run: Run, code: int) -> list[Run]:
        """Judge a run whose process ended; returns it if it is to be gone on with."""
        status = self._folder.status(run.name)
        if status in ("finished", "stopped"):
            self._tell(status, run)
            return []
        if self._reporter.stopping:
            self._tell("stopped", run)
            return []
        killed = code < 0 or (code == 0 and status == "running")
        tries = self._restarts.get(run.name, 0)
        if killed and tries < MOST_RESTARTS:
            self._restarts[run.name] = tries + 1
            self._tell("killed", run, code=code)
            return [run]
        error = self._folder.last_words(run.name) or f"its process ended with code {code}"
        self._folder.fail(run.name, error)
        self._tell("failed", run, code=code, error=error)
        return []

    def _ask_to_stop(self) -> None:
        # Again and again: a fit that only begins removes the file of an earlier stop.
        for name in self._going:
            if (self._folder.run(name) / "run.json").exists():
                (self._folder.run(name) / "STOP").touch()

    def _epochs(self) -> int:
        return sum(
            run.settings.training.epochs
            if self._folder.status(run.name) == "finished"
            else self._folder.epochs(run.name)
            for run in self._plan.runs
        )

    def _advance(self, bar: Progress) -> None:
        names = ", ".join(self._going)
        more = self._epochs() - bar.step
        if more > 0:
            bar.advance(more, message=names, data={"running": list(self._going)}, always=True)

    def _tell(self, kind: str, run: Run, **data: object) -> None:
        self._folder.tell(kind, run=run.name, **data)
        text = f"{run.name}: {kind}"
        if "error" in data:
            text += f"\n{data['error']}"
        self._reporter.message("study", text, run=run.name)

    def _outcome(self) -> StudyRun:
        status = {run.name: self._folder.status(run.name) for run in self._plan.runs}
        failures = {
            name: self._folder.failure(name) or "its record says so"
            for name, state in status.items()
            if state == "failed"
        }
        return StudyRun(self._folder.path, status, failures, self._reporter.stop.requested)
