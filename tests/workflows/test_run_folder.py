"""A fit that was killed as it began, or while it wrote a file, is in nobody's way."""

from __future__ import annotations

from pathlib import Path

import pytest

from osteon.errors import OutputError
from osteon.files import temporary
from osteon.settings import FitSettings
from osteon.training import FitFolder
from osteon.workflows.run_folder import open_run, sweep_run


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
