from __future__ import annotations

import json
from pathlib import Path

import pytest

from osteon.errors import InputError
from osteon.workflows.ensembles import model_files


def write_study(folder: Path, *runs: tuple[str, str, str]) -> None:
    """Runs as (name, group, status)."""
    for name, _, status in runs:
        (folder / "runs" / name).mkdir(parents=True)
        (folder / "runs" / name / "run.json").write_text(json.dumps({"status": status}))
    rows = [{"name": name, "group": group} for name, group, _ in runs]
    (folder / "study.json").write_text(json.dumps({"schema": 1, "runs": rows}))


def test_a_study_stands_for_the_models_of_its_runs(tmp_path: Path) -> None:
    write_study(tmp_path, ("fold1", "b", "finished"), ("fold2", "b", "finished"))
    names = [path.relative_to(tmp_path).as_posix() for path in model_files(str(tmp_path))]
    assert names == ["runs/fold1/model.safetensors", "runs/fold2/model.safetensors"]


def test_a_file_stands_for_itself(tmp_path: Path) -> None:
    assert model_files(tmp_path / "m.safetensors") == [tmp_path / "m.safetensors"]


def test_the_folder_of_a_fit_stands_for_its_model(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    assert model_files(tmp_path) == [tmp_path / "model.safetensors"]


def test_an_unfinished_study_is_no_ensemble(tmp_path: Path) -> None:
    write_study(tmp_path, ("fold1", "b", "finished"), ("fold2", "b", "running"))
    with pytest.raises(InputError, match="not finished: fold2"):
        model_files(tmp_path)


def test_a_comparison_is_no_ensemble(tmp_path: Path) -> None:
    write_study(tmp_path, ("one", "a", "finished"), ("two", "b", "finished"))
    with pytest.raises(InputError, match="2 groups"):
        model_files(tmp_path)
