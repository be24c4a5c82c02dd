"""Where runs go on: processes of this machine, or of a Dask cluster, behind one small interface."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil

from osteon.files import write_json
from osteon.workflows.dask_cluster import connect

#: First word of a command that stands for the Python of whoever runs it.
PYTHON = "python"
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Job:
    """A process to be run.

    Attributes:
        name: Name of the run.
        folder: Its run folder.
        fresh: The command that starts it.
        resume: The command that goes on with it.
        log: File that its output is appended to.
        record: File that says which process it is.
    """

    name: str
    folder: Path
    fresh: Sequence[str]
    resume: Sequence[str]
    log: Path
    record: Path


Process = subprocess.Popen[bytes] | psutil.Process


def begin(job: Job) -> Process:
    """Start the process of a run, or find the one that an earlier driver left running.

    Args:
        job: The run.

    Returns:
        The process.
    """
    left = _recorded(job) or _unrecorded(job)
    if left is not None:
        write_json(job.record, {"host": platform.node(), "pid": left.pid})
        return left
    # The settings are the first thing that a fit writes; from then on it can be gone on with.
    words = list(job.resume if (job.folder / "settings.yaml").exists() else job.fresh)
    if words[0] == PYTHON:
        words[0] = sys.executable
    with job.log.open("ab") as log:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches the driver alone, which ends runs cleanly
        )
    write_json(job.record, {"host": platform.node(), "pid": process.pid})
    return process


def exit_code(process: Process) -> int | None:
    """Return the exit code of a process; None while it runs, 0 where nobody can know.

    Args:
        process: The process.
    """
    if isinstance(process, subprocess.Popen):
        return process.poll()
    with suppress(psutil.NoSuchProcess):
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            return None
    return 0


def _recorded(job: Job) -> psutil.Process | None:
    try:
        kept = json.loads(job.record.read_text(encoding="utf-8"))
        if kept["host"] != platform.node():
            return None
        process = psutil.Process(kept["pid"])
        # Numbers of processes are used again; what they were called with tells them apart. Not the
        # time of their start: it is counted from the boot, and moves when the clock is set.
        same = str(job.folder) in process.cmdline()
        return process if same and exit_code(process) is None else None
    except (OSError, ValueError, KeyError, psutil.Error):
        return None


def _unrecorded(job: Job) -> psutil.Process | None:
    """Find a process whose driver was killed before it could write down which it is."""
    known = (list(job.fresh[1:]), list(job.resume[1:]))
    for process in psutil.process_iter():
        try:
            if process.cmdline()[1:] in known and exit_code(process) is None:
                return process
        except psutil.Error:  # it has ended meanwhile, or belongs to somebody else
            continue
    return None


class Executor(Protocol):
    """Runs processes and says which have ended."""

    @property
    def room(self) -> int:
        """How many more processes may be started now."""

    def start(self, job: Job) -> None:
        """Start a process."""

    def ended(self) -> Mapping[str, int]:
        """Exit codes of the processes that have ended since the last call, by name."""

    def close(self) -> None:
        """Let go of what it holds; does not end processes."""


class LocalExecutor:
    """Processes of this machine; they outlive the driver and are found again by the next one.

    Args:
        workers: Processes at a time.
    """

    def __init__(self, workers: int):
        self._workers = workers
        self._running: dict[str, Process] = {}

    @property
    def room(self) -> int:
        """How many more processes may be started now."""
        return self._workers - len(self._running)

    def start(self, job: Job) -> None:
        """Start a process, or find the one that an earlier driver left running.

        Args:
            job: The process.
        """
        self._running[job.name] = begin(job)

    def ended(self) -> Mapping[str, int]:
        """Exit codes of the processes that have ended since the last call, by name."""
        codes = {name: exit_code(process) for name, process in self._running.items()}
        over = {name: code for name, code in codes.items() if code is not None}
        for name in over:
            del self._running[name]
        return over

    def close(self) -> None:
        """Let go of nothing: processes go on."""


class DaskExecutor:
    """Processes on the workers of a Dask cluster, which must see the same files.

    Args:
        address: Address of the scheduler, such as ``tcp://host:8786``.
        workers: Processes at a time over the whole cluster.

    Raises:
        DependencyError: If Dask is not installed.
        UsageError: If the scheduler does not answer.
    """

    def __init__(self, address: str, workers: int):
        self._client = connect(address)
        self._workers = workers
        self._running: dict[str, Any] = {}

    @property
    def room(self) -> int:
        """How many more processes may be started now."""
        return self._workers - len(self._running)

    def start(self, job: Job) -> None:
        """Hand a process to the cluster.

        Args:
            job: The process.
        """
        # Not pure: a run that is tried again is not the same.
        self._running[job.name] = self._client.submit(run_job, job, pure=False)

    def ended(self) -> Mapping[str, int]:
        """Exit codes of the processes that have ended; -1 where the worker was lost."""
        over = {}
        for name, future in list(self._running.items()):
            if future.done():
                over[name] = future.result() if future.status == "finished" else -1
                del self._running[name]
        return over

    def close(self) -> None:
        """Leave the cluster."""
        self._client.close()


def run_job(job: Job) -> int:
    """Run a process on a worker and wait for it.

    Dask gives a run whose worker was lost to another one: that finds the process that was left,
    or goes on with the run.

    Args:
        job: The run.

    Returns:
        The exit code.
    """
    process = begin(job)
    while (code := exit_code(process)) is None:
        time.sleep(_POLL_SECONDS)
    return code
