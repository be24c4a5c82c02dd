"""Files are replaced whole or not at all, and failures say what, where and how to mend it."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import osteon.files
from osteon.errors import OutputError, UsageError
from osteon.files import (
    parse_memory,
    refuse_existing,
    replacing,
    temporaries,
    temporary,
    write_bytes,
    write_json,
    write_text,
)


def test_the_target_changes_only_when_the_new_content_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.bin"
    with replacing(path) as partial:
        assert partial.parent == path.parent
        partial.write_bytes(b"one")
        assert not path.exists()
    write_bytes(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["a.bin"]


@pytest.mark.parametrize("kind", [ZeroDivisionError, KeyboardInterrupt])
def test_what_fails_in_the_middle_leaves_the_old(tmp_path: Path, kind: type[Exception]) -> None:
    path = tmp_path / "a"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as partial:
            partial.write_text("ne")
            raise kind

    with pytest.raises(kind):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("stage", ["write", "flush"])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    if stage == "write":
        monkeypatch.setattr(Path, "write_bytes", full)
    else:
        monkeypatch.setattr(osteon.files.os, "fsync", full)
    with pytest.raises(OutputError, match="disk is full") as caught:
        write_text(tmp_path / "a", "text", mend="buy a disk")
    assert (caught.value.where, caught.value.mend) == (str(tmp_path / "a"), "buy a disk")
    assert os.listdir(tmp_path) == []


def test_a_file_system_that_cannot_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unable(handle: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(osteon.files.os, "fsync", unable)
    write_bytes(tmp_path / "a", b"1")
    assert (tmp_path / "a").read_bytes() == b"1"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("x" * 300, "name is too long"),
        ("folder", "a folder of this name"),
        ("file/a", "a file is where a folder is needed"),
    ],
)
def test_reasons(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("kept")
    with pytest.raises(OutputError, match=reason) as caught:
        write_bytes(tmp_path / name, b"1")
    assert caught.value.where == str(tmp_path / name)
    assert caught.value.mend
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_a_name_as_long_as_the_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    write_bytes(path, b"1")
    assert path.read_bytes() == b"1"


@pytest.mark.parametrize("length", [3, 40, 41, 200])
def test_what_was_begun_is_found_by_its_target_alone(tmp_path: Path, length: int) -> None:
    targets = [tmp_path / ("n" * (length - 1) + end) for end in "ab"]
    begun = [[temporary(target), temporary(target)] for target in targets]
    for path in (one for pair in begun for one in pair):
        path.touch()
    for target, pair in zip(targets, begun, strict=True):
        assert sorted(temporaries(target)) == sorted(pair)
    assert temporaries(tmp_path / "nowhere" / "labels.tif") == []


def test_a_write_that_is_killed_leaves_the_old(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    code = (
        "import sys, time, pathlib; from osteon.files import replacing\n"
        "with replacing(pathlib.Path(sys.argv[1])) as partial:\n"
        "    partial.write_text('half'); print('now', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"now\n"
        process.send_signal(signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
        process.wait()
    assert path.read_text() == "old"


def test_json_holds_what_json_can(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9")  # a file name in Latin-1
    path = tmp_path / "a.json"
    write_json(path, {"a": math.nan, "b": (1, math.inf), "c": {"d": Path("x")}, "µm": "8 µm"})
    assert json.loads(path.read_text("utf-8")) == {
        "a": None,
        "b": [1, None],
        "c": {"d": "x"},
        "µm": "8 µm",
    }
    assert "8 µm" in path.read_text("utf-8")
    write_json(path, {"name": odd})
    assert json.loads(path.read_text("utf-8"))["name"] == odd


def test_text_is_written_as_it_is(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "µ\nb\r\n\udce9")
    assert (tmp_path / "a").read_bytes() == "µ\nb\r\n?".encode()


def test_existing_files_are_replaced_on_request_only(tmp_path: Path) -> None:
    path = tmp_path / "a"
    refuse_existing(path, overwrite=False)
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="exists already") as caught:
        refuse_existing(path, overwrite=False)
    assert "--overwrite" in str(caught.value.mend)
    refuse_existing(path, overwrite=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("50GB", 50 * 10**9), ("1.5 TiB", 3 * 2**39), ("2tb", 2 * 10**12), ("7", 7), ("1K", 1000)],
)
def test_amounts(text: str, expected: int) -> None:
    assert parse_memory(text) == expected


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "0", "1 PB", "1,5GB"])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(UsageError, match="not an amount") as caught:
        parse_memory(text, where="OSTEON_CACHE_SIZE")
    assert caught.value.where == "OSTEON_CACHE_SIZE"
