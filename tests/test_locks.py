"""A lock keeps other processes out as long as its process lives, and no longer."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from osteon.errors import OutputError
from osteon.locks import lock

_HOLDER = """
import pathlib, sys, time
from osteon.locks import lock
held = lock(pathlib.Path(sys.argv[1]), taken="taken", mend="wait")
print("held", flush=True)
time.sleep(600)
"""


def holder(path: Path) -> subprocess.Popen[str]:
    """A process that holds a lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_another_process_is_told_who_has_it_until_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path) as process:
        try:
            with pytest.raises(OutputError, match="somebody is at it") as caught:
                lock(path, taken="somebody is at it", mend="wait for them")
            assert (caught.value.where, caught.value.mend) == (str(tmp_path), "wait for them")
        finally:
            process.kill()
            process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert path.exists()  # left by the dead, and in nobody's way
    lock(path, taken="somebody is at it", mend="wait for them").release()


def test_whoever_waits_gets_it_when_another_thread_releases_it(tmp_path: Path) -> None:
    held = lock(tmp_path / "lock", taken="taken", mend="wait")
    threading.Timer(0.3, held.release).start()
    lock(tmp_path / "lock", taken="taken", mend="wait", patience_s=60).release()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        lock(tmp_path / "lock", taken="taken", mend="wait")
