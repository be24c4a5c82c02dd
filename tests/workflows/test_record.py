"""Records are written whole or not; folders are refused before long work."""

from __future__ import annotations

import json
import math
from importlib.metadata import version
from pathlib import Path

import pytest

import osteon.workflows
from osteon.errors import InputError, OutputError
from osteon.workflows.record import check_folder, count, read_json, versions, write_json


def test_nan_becomes_null(tmp_path: Path) -> None:
    path = tmp_path / "new" / "record.json"
    write_json(path, {"a": math.nan, "b": [1.5, math.inf], "c": {"d": tmp_path}})
    assert json.loads(path.read_text()) == {"a": None, "b": [1.5, None], "c": {"d": str(tmp_path)}}
    assert read_json(path)["b"] == [1.5, None]
    assert [p.name for p in path.parent.iterdir()] == ["record.json"]


@pytest.mark.parametrize("content", ["", "[1]", "{", "\xff"])
def test_what_is_no_json_object(content: str, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=r"record\.json"):
        read_json(path)


def test_folders_are_refused_early(tmp_path: Path) -> None:
    check_folder(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a file, not a folder"):
        check_folder(tmp_path / "file")
    with pytest.raises(OutputError, match="'file' on the way"):
        check_folder(tmp_path / "file" / "a" / "b")
    with pytest.raises(OutputError, match=r"record\.json"):
        write_json(tmp_path / "file" / "record.json", {})


def test_versions_are_those_installed() -> None:
    assert versions()["torch"] == version("torch")
    assert versions()["numpy"] == version("numpy")


def test_count() -> None:
    assert [count(n, "scan") for n in (0, 1, 2)] == ["0 scans", "1 scan", "2 scans"]


def test_every_public_name_is_there() -> None:
    for name in osteon.workflows.__all__:
        assert getattr(osteon.workflows, name).__module__.startswith("osteon.workflows.")
    with pytest.raises(AttributeError, match="nothing_such"):
        _ = osteon.workflows.nothing_such
