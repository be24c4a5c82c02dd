"""Runs on the workers of a Dask cluster of this machine."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from osteon.errors import ExitCode, UsageError
from osteon.settings import FitSettings
from osteon.studies.executor import DaskExecutor
from osteon.studies.planning import Plan, Run
from osteon.studies.running import run_study

from .fakes import calls, command

distributed = pytest.importorskip("distributed")


def test_a_scheduler_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*words: object, **more: object) -> None:
        raise OSError("timed out")

    monkeypatch.setattr(distributed, "Client", refuse)
    with pytest.raises(UsageError, match="cannot be reached: timed out"):
        DaskExecutor("tcp://127.0.0.1:1", 1)


@pytest.mark.slow
def test_45_runs_end_on_two_workers_one_of_which_is_killed(tmp_path: Path) -> None:
    settings = FitSettings()
    runs = tuple(Run(f"b-seed{s}", "b", None, s, {}, settings) for s in range(45))
    plan = Plan("study", tmp_path / "dataset.toml", runs, 0.0, 0.0)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        pid = next(iter(cluster.workers.values())).pid

        def kill() -> None:
            while len(calls(tmp_path)) < 5:
                time.sleep(0.02)
            os.kill(pid, signal.SIGKILL)

        thread = threading.Thread(target=kill)
        thread.start()
        executor = DaskExecutor(cluster.scheduler_address, 2)
        done = run_study(plan, out=tmp_path / "out", executor=executor, command=command)
        thread.join()
    assert done.exit_code is ExitCode.OK
    started = [call.split()[0] for call in calls(tmp_path) if call.endswith("go")]
    assert sorted(started) == sorted(run.name for run in runs)
