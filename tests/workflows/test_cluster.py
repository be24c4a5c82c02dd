"""A job of SLURM whose time is up goes back into the queue, and on from there by itself."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from osteon import workflows
from osteon.errors import ExitCode, OsteonWarning
from osteon.events import Reporter
from osteon.settings import FitSettings, load_settings
from osteon.workflows import cluster

from .processes import (
    PATIENCE,
    QUICK,
    Ended,
    begin,
    digest,
    end,
    osteon,
    record,
    steps,
    wait_for_step,
    words,
    write_dataset,
)

pytestmark = [
    pytest.mark.timeout(4 * PATIENCE),
    pytest.mark.skipif(sys.platform == "win32", reason="SLURM does not run on Windows"),
]
JOB = "4711"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("cluster") / "data")


@pytest.fixture(autouse=True)
def _no_weights_are_kept(tmp_path: Path) -> Iterator[None]:
    yield
    for pattern in ("*.ckpt", "*.safetensors"):
        for path in tmp_path.rglob(pattern):
            path.unlink()


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """What a made-up ``scontrol`` was called with."""
    return tmp_path / "calls.txt"


@pytest.fixture
def scontrol(tmp_path: Path, calls: Path) -> Path:
    """The folder of a made-up ``scontrol`` that notes its arguments; it obeys."""
    return made_scontrol(tmp_path, f'echo "$@" >> {calls}\nexit 0')


def made_scontrol(tmp_path: Path, script: str) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    (folder / "scontrol").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "scontrol").chmod(0o755)
    return folder


def path_with(folder: Path) -> str:
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


# --- what needs no fit -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "run", "expected"),
    [
        (None, {"job": JOB}, False),
        ("0", {"job": JOB}, False),
        ("", {"job": JOB}, False),
        ("1", {"job": JOB}, True),
        ("12", {"job": JOB}, True),
        ("1", None, False),
        # Somebody else's run, that --overwrite was to replace, is not gone on with.
        ("1", {"job": "4710"}, False),
        ("1", {"job": None}, False),
        ("1", {}, False),
    ],
)
def test_only_a_requeued_job_goes_on_by_itself(
    count: str | None,
    run: dict[str, str | None] | None,
    expected: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", JOB)
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    if count is not None:
        monkeypatch.setenv("SLURM_RESTART_COUNT", count)
    if run is not None:
        (tmp_path / "run.json").write_text(json.dumps(run))
    assert cluster.continues(tmp_path) is expected


def test_the_signal_asks_for_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", JOB)
    reporter, before = Reporter(), signal.getsignal(signal.SIGUSR1)
    with cluster.time_limit(reporter):
        assert not reporter.stopping
        os.kill(os.getpid(), signal.SIGUSR1)
        assert reporter.stopping
        assert reporter.stop.reason == cluster.TIME_LIMIT
    assert signal.getsignal(signal.SIGUSR1) == before


def test_outside_of_a_job_signals_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    before = signal.getsignal(signal.SIGUSR1)
    with cluster.time_limit(Reporter()):
        assert signal.getsignal(signal.SIGUSR1) == before


def test_requeue_calls_scontrol(
    scontrol: Path, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", JOB)
    monkeypatch.setenv("PATH", path_with(scontrol))
    assert cluster.requeue() == f"job {JOB} was put back into the queue; it goes on from here"
    assert calls.read_text().split() == ["requeue", JOB]


@pytest.mark.parametrize("way", ["refuses", "missing"])
def test_a_job_that_cannot_be_requeued_is_told(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", JOB)
    folder = tmp_path
    if way == "refuses":
        folder = made_scontrol(tmp_path, "echo 'Requeue is disabled' >&2\nexit 1")
    monkeypatch.setenv("PATH", str(folder))
    with pytest.warns(OsteonWarning) as caught:
        said = cluster.requeue()
    (warning,) = caught
    assert isinstance(warning.message, OsteonWarning)
    assert warning.message.name == "not-requeued"
    assert JOB in warning.message.text
    assert "--resume" in warning.message.text
    assert ("Requeue is disabled" if way == "refuses" else "scontrol") in warning.message.text
    assert said == f"stopped: {cluster.TIME_LIMIT}"


# --- whole fits ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unbroken(dataset: Path) -> Iterator[Path]:
    out = dataset.parent / "run"
    workflows.fit(dataset, out=out, settings=load_settings(FitSettings, overrides=QUICK))
    yield out
    (out / "model.safetensors").unlink()


def until_the_time_is_up(dataset: Path, out: Path, scontrol: Path) -> Ended:
    """Fit in a job until SLURM sends its signal in the second epoch."""
    process = begin(
        [*words(dataset, out), "--events", "jsonl"], SLURM_JOB_ID=JOB, PATH=path_with(scontrol)
    )
    wait_for_step(process, 3)
    process.send_signal(signal.SIGUSR1)
    return end(process)


@pytest.mark.slow
def test_the_job_goes_back_into_the_queue_and_on(
    dataset: Path, unbroken: Path, scontrol: Path, calls: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    ended = until_the_time_is_up(dataset, out, scontrol)
    assert ended.code == 0, ended.err
    assert f"job {JOB} was put back into the queue" in ended.out
    assert calls.read_text().split() == ["requeue", JOB]
    kept = record(out)
    assert kept["status"] == "stopped"
    assert kept["result"]["stopped"] == cluster.TIME_LIMIT
    assert (out / "checkpoints" / "last.ckpt").exists()
    assert len(steps(out)) < 4
    # SLURM runs the same command line again, which would refuse to replace the run.
    again = osteon(
        words(dataset, out),
        SLURM_JOB_ID=JOB,
        SLURM_RESTART_COUNT="1",
        PATH=path_with(scontrol),
    )
    assert again.code == 0, again.err
    assert record(out)["status"] == "finished"
    assert steps(out) == steps(unbroken)
    assert digest(out) == digest(unbroken)
    assert calls.read_text().split() == ["requeue", JOB]  # not a second time
    refused = osteon(words(dataset, out), SLURM_JOB_ID=JOB, PATH=path_with(scontrol))
    assert refused.code == ExitCode.OUTPUT


@pytest.mark.slow
def test_a_failing_scontrol_loses_nothing(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    scontrol = made_scontrol(tmp_path, "echo 'Requeue is disabled' >&2\nexit 1")
    ended = until_the_time_is_up(dataset, out, scontrol)
    assert ended.code == 0, ended.err
    assert '"not-requeued"' in ended.err
    assert "Requeue is disabled" in ended.err
    assert f"stopped: {cluster.TIME_LIMIT}" in ended.out
    assert record(out)["status"] == "stopped"
    assert (out / "checkpoints" / "last.ckpt").exists()


def test_a_job_whose_time_is_up_before_the_fit_begins_goes_back_too(
    dataset: Path, tmp_path: Path, scontrol: Path, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from osteon.cli.app import app
    from osteon.workflows import fitting

    def reading(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)  # while large scans are examined
        return examine(*_)  # type: ignore[arg-type, return-value]

    examine = fitting.examine
    monkeypatch.setattr(fitting, "examine", reading)
    monkeypatch.setenv("SLURM_JOB_ID", JOB)
    monkeypatch.setenv("PATH", path_with(scontrol))
    ran = CliRunner().invoke(app, words(dataset, tmp_path / "run"))
    assert ran.exit_code == 0, ran.output
    assert calls.read_text().split() == ["requeue", JOB]
    assert f"job {JOB} was put back into the queue" in ran.stdout
    assert not (tmp_path / "run").exists()  # it begins anew
