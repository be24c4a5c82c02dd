from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from osteon.errors import ExitCode, InputError, OutputError, UsageError
from osteon.events import Event, Reporter
from osteon.files import temporaries, temporary
from osteon.settings import FitSettings, load_settings
from osteon.studies import running
from osteon.studies.executor import Job, LocalExecutor, begin
from osteon.studies.folder import StudyFolder
from osteon.studies.planning import Plan, Run
from osteon.studies.running import StudyRun, run_study

from .fakes import calls, command


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "POLL_SECONDS", 0.05)


def planned(top: Path, *seeds: int, epochs: int = 1) -> Plan:
    """A plan made by hand: what it will take is left open."""
    settings = load_settings(FitSettings, overrides=[f"training.epochs={epochs}"])
    runs = tuple(
        Run(f"baseline-seed{seed}", "baseline", None, seed, {}, settings) for seed in seeds
    )
    return Plan("study", top / "dataset.toml", runs, 0.0, 0.0)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return planned(tmp_path, 1, 2, 3)


def go(plan: Plan, top: Path, *, workers: int = 2, **more: object) -> StudyRun:
    return run_study(
        plan,
        out=top / "out",
        executor=LocalExecutor(workers),
        command=command,
        **more,  # type: ignore[arg-type]
    )


def wait_for(condition: object) -> None:
    for _ in range(400):
        if condition():  # type: ignore[operator]
            return
        time.sleep(0.05)
    raise TimeoutError


def test_finished_runs_are_never_repeated(plan: Plan, tmp_path: Path) -> None:
    told: list[Event] = []
    first = go(plan, tmp_path, reporter=Reporter(told.append))
    assert set(first.status.values()) == {"finished"}
    assert first.exit_code is ExitCode.OK
    assert len(calls(tmp_path)) == 3
    assert [e.step for e in told if e.kind == "end"] == [3]
    kinds = [
        json.loads(line)["kind"]
        for line in (tmp_path / "out/events.jsonl").read_text().split("\n")[:-1]
    ]
    assert sorted(kinds) == ["finished"] * 3 + ["start"] * 3
    go(plan, tmp_path)
    assert len(calls(tmp_path)) == 3


def test_a_failed_run_is_told_and_tried_again_only_when_asked(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "FAIL-baseline-seed2").touch()
    first = go(plan, tmp_path)
    assert first.exit_code is ExitCode.PARTIAL
    assert first.failures == {"baseline-seed2": "no bone"}
    (tmp_path / "FAIL-baseline-seed2").unlink()
    assert go(plan, tmp_path).failures
    assert len(calls(tmp_path)) == 3
    assert go(plan, tmp_path, retry=True).exit_code is ExitCode.OK
    assert calls(tmp_path)[3:] == ["baseline-seed2 on"]


def test_a_killed_run_goes_on(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "KILL-baseline-seed1").touch()
    assert go(plan, tmp_path, workers=1).exit_code is ExitCode.OK
    assert [c for c in calls(tmp_path) if "seed1" in c] == [
        "baseline-seed1 go",
        "baseline-seed1 on",
    ]


def test_a_stop_ends_the_runs_and_the_next_call_goes_on(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "SLOW").touch()
    reporter = Reporter()
    threading.Timer(1.0, reporter.stop.request).start()
    stopped = go(plan, tmp_path, reporter=reporter)
    assert stopped.exit_code is ExitCode.INTERRUPTED
    assert sorted(stopped.status.values()) == ["stopped", "stopped", "waiting"]
    (tmp_path / "SLOW").unlink()
    for name in stopped.status:
        (tmp_path / "out/runs" / name / "STOP").unlink(missing_ok=True)
    assert go(plan, tmp_path).exit_code is ExitCode.OK


def test_a_process_that_outlived_its_driver_is_waited_for(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "SLOW").touch()
    lost = LocalExecutor(1)  # of a driver that starts a run and is no more
    folder = StudyFolder((tmp_path / "out").absolute())
    with folder.locked():
        folder.begin(plan)
        driver = running._Driver(folder, plan, lost, command, Reporter())
        driver._start(plan.runs[0])
    wait_for(lambda: (folder.run(plan.runs[0].name) / "run.json").exists())
    threading.Timer(1.0, (tmp_path / "SLOW").unlink).start()
    assert go(plan, tmp_path).exit_code is ExitCode.OK
    assert [c for c in calls(tmp_path) if "seed1" in c] == ["baseline-seed1 go"]


def test_a_process_whose_driver_had_no_time_to_write_it_down_is_found(
    plan: Plan, tmp_path: Path
) -> None:
    (tmp_path / "SLOW").touch()
    folder = StudyFolder((tmp_path / "out").absolute())
    fresh, resume = command(plan.dataset, tmp_path, folder.run("baseline-seed1"))
    process = subprocess.Popen([sys.executable, *fresh[1:]])
    wait_for(lambda: (folder.run("baseline-seed1") / "run.json").exists())
    log, record = tmp_path / "log", tmp_path / "record.json"
    job = Job("baseline-seed1", folder.run("baseline-seed1"), fresh, resume, log, record)
    assert begin(job).pid == process.pid
    assert json.loads(record.read_text())["pid"] == process.pid
    (tmp_path / "SLOW").unlink()
    assert process.wait() == 0
    other = begin(replace(job, record=tmp_path / "none.json"))  # nothing runs any more
    assert other.pid != process.pid
    assert other.wait() == 0


def test_a_driver_killed_as_it_began_leaves_a_folder_to_begin_in(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """The process ends here."""

    def dies(path: Path, *words: object, **named: object) -> None:
        temporary(path).write_text("{")  # half of it
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("osteon.studies.folder.write_json", dies)
        with pytest.raises(Killed):
            go(plan, tmp_path)
    assert len(temporaries(tmp_path / "out/study.json")) == 1
    assert go(plan, tmp_path).exit_code is ExitCode.OK


def test_two_drivers_do_not_run_the_same_study(plan: Plan, tmp_path: Path) -> None:
    folder = StudyFolder((tmp_path / "out").absolute())
    with folder.locked(), pytest.raises(OutputError, match="another process"):
        go(plan, tmp_path)


def test_a_begun_run_keeps_its_settings(plan: Plan, tmp_path: Path) -> None:
    go(plan, tmp_path)
    with pytest.raises(UsageError, match="other settings"):
        go(planned(tmp_path, 1, 2, 3, epochs=2), tmp_path)
    assert go(planned(tmp_path, 1, 2, 3, 4), tmp_path).exit_code is ExitCode.OK
    assert len(calls(tmp_path)) == 4


def test_a_run_that_was_killed_before_it_wrote_anything_takes_new_settings(
    plan: Plan, tmp_path: Path
) -> None:
    folder = StudyFolder((tmp_path / "out").absolute())
    folder.path.mkdir()
    folder.begin(plan)
    for run in plan.runs:  # as a fit leaves it that is killed while it looks at the scans
        folder.run(run.name).mkdir()
        (folder.run(run.name) / ".lock").touch()
    changed = planned(tmp_path, 1, 2, 3, epochs=2)
    assert go(changed, tmp_path).exit_code is ExitCode.OK


def test_a_folder_of_something_else_is_left_alone(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.docx").touch()
    with pytest.raises(OutputError, match="no study"):
        go(plan, tmp_path)
    with pytest.raises(InputError, match="no study"):
        StudyFolder(tmp_path).load()
