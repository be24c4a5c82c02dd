"""A fit on several devices: real processes, which end together whatever happens to one of them."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from osteon.errors import ExitCode
from osteon.workflows.launching import follows, together

from .processes import (
    PATIENCE,
    Ended,
    begin,
    digest,
    end,
    left_over,
    osteon,
    record,
    steps,
    wait_for,
    wait_for_step,
    words,
    write_dataset,
)

TWO = "training.devices=2"
pytestmark = [
    pytest.mark.timeout(4 * PATIENCE),
    pytest.mark.skipif(sys.platform == "win32", reason="signals and process groups"),
]

#: Put before all other modules of a process: spoils the second process of a fit once a file is
#: there.
SABOTAGE = """
import os, sys, threading, time

def kill():
    os.kill(os.getpid(), 9)

def damage():
    from osteon.datasets.slices import SlicePatches
    from osteon.errors import InputError
    def item(self, epoch, index):
        raise InputError("the scan is damaged", where="page 7")
    SlicePatches.item = item

def sabotage():
    while not os.path.exists(os.environ["SABOTAGE_AFTER"]):
        time.sleep(0.01)
    {"kill": kill, "damage": damage}[os.environ["SABOTAGE"]]()

if os.environ.get("RANK") == "1" and "SABOTAGE" in os.environ:
    threading.Thread(target=sabotage, daemon=True).start()
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("launching") / "data")


@pytest.fixture(autouse=True)
def _no_weights_are_kept(tmp_path: Path) -> Iterator[None]:
    yield
    for pattern in ("*.ckpt", "*.safetensors"):
        for path in tmp_path.rglob(pattern):
            path.unlink()


@pytest.fixture(scope="module")
def whole(dataset: Path) -> tuple[Path, Ended]:
    """An unbroken fit of two processes."""
    out = dataset.parent / "run"
    return out, osteon(words(dataset, out, TWO))


def said_once(ended: Ended, *parts: str) -> None:
    """Check that there is one error message, and no traceback."""
    assert ended.err.count("error: ") == 1, ended.err
    assert "Traceback" not in ended.err
    for part in parts:
        assert part in ended.err[ended.err.index("error: ") :]


# --- what needs no fit -----------------------------------------------------------------------


def test_no_process_is_started_for_one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with together(1, ["nothing", "such"]):
        assert "RANK" not in os.environ
        assert not follows()


def test_what_torchrun_started_starts_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with together(2, ["nothing", "such"]):  # would fail at once
        assert follows()


def test_the_environment_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    before = dict(os.environ)
    with together(2, ["--version"]):
        assert (os.environ["RANK"], os.environ["WORLD_SIZE"]) == ("0", "2")
        assert not follows()
    assert dict(os.environ) == before


@pytest.mark.parametrize("devices", ["0", "-1", "some"])
def test_no_devices_are_refused(devices: str, dataset: Path, tmp_path: Path) -> None:
    ended = osteon(words(dataset, tmp_path / "run", f"training.devices={devices}"))
    assert ended.code == ExitCode.USAGE
    said_once(ended, "training.devices")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("choice", "code", "parts"),
    [
        ("validation.specimens=[nobody]", ExitCode.USAGE, ("nobody",)),
        ("network.weights=nowhere.safetensors", ExitCode.INPUT, ("nowhere.safetensors",)),
        ("patches.must_hold=enamel", ExitCode.USAGE, ("enamel",)),
    ],
    ids=["split", "weights", "class"],
)
def test_bad_settings_are_told_once(
    choice: str, code: int, parts: tuple[str, ...], dataset: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    ended = osteon(words(dataset, out, TWO, choice))
    assert ended.code == code, ended.err
    said_once(ended, *parts)
    assert not out.exists()
    assert left_over(out) == []


# --- whole fits ------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_make_one_run(whole: tuple[Path, Ended]) -> None:
    out, ended = whole
    assert ended.code == 0, ended.err
    assert ended.out.splitlines() == [
        f"model:  {out / 'model.safetensors'}",
        f"report: {out / 'report.html'}",
    ]
    assert "shared by 2 processes" in ended.err
    assert ended.err.count("epoch 4/4") == 1  # the second says nothing
    assert steps(out) == [2, 4, 6, 8]  # 4 slices, 2 patches of each, 4 in a batch of both
    kept = record(out)
    assert kept["status"] == "finished"
    assert kept["costs"]["plan"]["processes"] == 2
    assert [path.name for path in out.rglob("*.safetensors") if path.parent == out] == [
        "model.safetensors"
    ]
    assert len(list(out.glob("*.html"))) == 1
    assert left_over(out) == []


@pytest.mark.slow
def test_processes_started_by_hand_do_the_same(
    whole: tuple[Path, Ended], dataset: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    started = [
        begin(
            words(dataset, out),  # torchrun counts, not training.devices
            RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE="2",
            MASTER_ADDR="127.0.0.1", MASTER_PORT=port,
        )
        for rank in (0, 1)
    ]  # fmt: skip
    first, second = [end(process) for process in started]
    assert first.code == 0, first.err
    assert second.code == 0, second.err
    assert (second.out, second.err) == ("", "")
    assert first.out.startswith("model: ")
    assert steps(out) == steps(whole[0])
    assert digest(out) == digest(whole[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "told", "code"),
    [
        ("kill", "signal 9", ExitCode.UNEXPECTED),
        ("damage", "the scan is damaged", ExitCode.INPUT),
    ],
)
def test_a_process_that_fails_ends_the_fit(
    way: str, told: str, code: int, whole: tuple[Path, Ended], dataset: Path, tmp_path: Path
) -> None:
    out, modules = tmp_path / "run", tmp_path / "modules"
    modules.mkdir()
    (modules / "sitecustomize.py").write_text(SABOTAGE)
    ended = osteon(
        words(dataset, out, TWO),
        PYTHONPATH=str(modules),
        SABOTAGE=way,
        SABOTAGE_AFTER=str(out / "checkpoints" / "last.ckpt"),
    )
    assert ended.code == code, ended.err
    said_once(ended, "process 1 of the fit failed", told, "--resume")
    assert left_over(out) == []
    kept = record(out)
    assert kept["status"] == "failed"
    assert (out / "checkpoints" / "last.ckpt").exists()
    again = osteon(["fit", str(dataset), "--out", str(out), "--resume"])
    assert again.code == 0, again.err
    assert "shared by 2 processes" in again.err
    assert record(out)["status"] == "finished"
    assert steps(out) == steps(whole[0])
    assert digest(out) == digest(whole[0])


@pytest.mark.slow
def test_ctrl_c_ends_all_and_resume_goes_on(
    whole: tuple[Path, Ended], dataset: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = begin([*words(dataset, out, TWO), "--events", "jsonl"])
    wait_for_step(process, 3)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    ended = end(process)
    assert ended.code == ExitCode.INTERRUPTED, ended.err
    assert "Traceback" not in ended.err
    assert '"error"' not in ended.err
    assert "stopped early (interrupted from the keyboard)" in ended.out
    assert left_over(out) == []
    assert record(out)["status"] == "stopped"
    assert len(steps(out)) < 4
    again = osteon(["fit", str(dataset), "--out", str(out), "--resume"])
    assert again.code == 0, again.err
    assert digest(out) == digest(whole[0])


@pytest.mark.slow
def test_ctrl_c_at_the_start_leaves_nothing(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = begin(words(dataset, out, TWO, "training.epochs=1000"))
    wait_for(out / "run.json", process)
    os.killpg(process.pid, signal.SIGINT)
    ended = end(process)
    assert ended.code == ExitCode.INTERRUPTED, ended.err
    assert "Traceback" not in ended.err
    assert left_over(out) == []
    assert record(out)["status"] == "stopped"
