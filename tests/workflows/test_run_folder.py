"""A fit that was killed as it began, or while it wrote a file, is in nobody's way."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from osteon import workflows
from osteon.errors import ExitCode, OutputError
from osteon.files import temporary
from osteon.settings import FitSettings
from osteon.training import FitFolder
from osteon.training.parallel import ALONE
from osteon.workflows.run_folder import alone, open_run, sweep_run

from .processes import (
    PATIENCE,
    begin,
    osteon,
    record,
    wait_for_step,
    words,
    write_dataset,
)


def test_half_a_settings_file_is_no_run(tmp_path: Path) -> None:
    temporary(tmp_path / "settings.yaml").write_text("see")
    settings = FitSettings(seed=7)
    assert open_run(FitFolder(tmp_path), settings, resume=False, overwrite=False) == settings
    (tmp_path / "thesis.docx").touch()
    with pytest.raises(OutputError, match="holds no run"):
        open_run(FitFolder(tmp_path), settings, resume=False, overwrite=False)


def test_files_that_were_being_written_are_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    kept = [tmp_path / "checkpoints/last.ckpt", tmp_path / ".mine.1-2.part", tmp_path / "log.csv"]
    halves = [temporary(tmp_path / "checkpoints/last.ckpt"), temporary(tmp_path / "run.json")]
    for path in (*kept, *halves):
        path.touch()
    sweep_run(tmp_path)
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in halves)


def test_a_fit_is_alone_in_its_folder_and_leaves_no_trace_where_none_began(tmp_path: Path) -> None:
    folder = FitFolder(tmp_path / "runs" / "one")
    with alone(folder, ALONE):
        with (
            pytest.raises(OutputError, match="another fit is running") as caught,
            alone(folder, ALONE),
        ):
            pass
        assert caught.value.where == str(folder.path)
        assert "STOP" in str(caught.value.mend)
    assert os.listdir(tmp_path) == []
    with alone(folder, ALONE):
        (folder.path / "settings.yaml").touch()
    with alone(folder, ALONE):
        pass
    assert os.listdir(folder.path) == ["settings.yaml"]


def test_a_folder_of_something_else_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").touch()
    with alone(FitFolder(tmp_path), ALONE):
        pass
    assert os.listdir(tmp_path) == ["thesis.docx"]


def test_what_a_start_that_was_killed_left_is_no_run(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    settings = FitSettings(seed=7)
    assert open_run(FitFolder(tmp_path), settings, resume=False, overwrite=False) == settings


@pytest.mark.timeout(2 * PATIENCE)
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_two_fits_in_one_folder(tmp_path: Path) -> None:
    dataset, out = write_dataset(tmp_path / "data"), tmp_path / "run"
    # Far more steps than it can take before it is killed.
    first = begin([*words(dataset, out, "training.epochs=5000"), "--events", "jsonl"])
    try:
        wait_for_step(first, 1)
        before = (out / "settings.yaml").read_bytes()
        second = osteon(["fit", str(dataset), "--out", str(out), "--overwrite"])
        assert second.code == ExitCode.OUTPUT
        assert "another fit is running in this folder" in second.err
        assert f"where: {out}" in second.err
        with pytest.raises(OutputError, match="another fit is running"):
            workflows.fit(out=out, resume=True)
        assert first.poll() is None
        assert (out / "settings.yaml").read_bytes() == before
        assert record(out)["status"] == "running"
    finally:
        first.kill()
        first.communicate()
    # The lock of the killed one is in nobody's way.
    with alone(FitFolder(out), ALONE):
        assert open_run(FitFolder(out), None, resume=True, overwrite=False).training.epochs == 5000
