"""Fits on a cluster that runs SLURM: put back into the queue before the time is up."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from osteon.errors import warn
from osteon.events import Reporter
from osteon.workflows.record import read_json

#: Reason of a stop that SLURM asked for.
TIME_LIMIT = "the job's time is nearly up (SIGUSR1)"
_SECONDS = 60


def continues(folder: Path) -> bool:
    """Whether this is a job that SLURM has put back into the queue, with a run to go on with.

    Args:
        folder: The run folder.

    Raises:
        InputError: If the record of the run cannot be read.
    """
    record = folder / "run.json"
    if os.environ.get("SLURM_RESTART_COUNT", "0") in ("", "0") or not record.exists():
        return False
    # Another run, which is to be replaced or was never to be touched, is not gone on with.
    return job() is not None and read_json(record).get("job") == job()


def job() -> str | None:
    """Return the number of the job of SLURM that this process belongs to; None outside of one."""
    return os.environ.get("SLURM_JOB_ID")


@contextmanager
def time_limit(reporter: Reporter) -> Iterator[None]:
    """Stop cleanly when SLURM sends SIGUSR1, as ``sbatch --signal=USR1@300`` asks it to.

    Args:
        reporter: Through which the work is asked to stop.
    """
    if job() is None or not hasattr(signal, "SIGUSR1"):
        yield
        return
    before = signal.signal(signal.SIGUSR1, lambda *_: reporter.stop.request(TIME_LIMIT))
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def requeue() -> str:
    """Put this job back into the queue; in its next turn the fit goes on.

    Returns:
        What to tell the user.
    """
    number = os.environ["SLURM_JOB_ID"]
    try:
        subprocess.run(
            ["scontrol", "requeue", number], check=True, capture_output=True, timeout=_SECONDS
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or b""
        warn(
            "not-requeued",
            f"job {number} could not be put back into the queue "
            f"({said.decode(errors='replace').strip() or error}); go on by --resume",
        )
        return f"stopped: {TIME_LIMIT}"
    return f"job {number} was put back into the queue; it goes on from here"
