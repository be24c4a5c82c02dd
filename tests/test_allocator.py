"""Freed memory is kept: the operating system clears no page twice."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

ROUNDS, MIB = 10, 48
#: Minor page faults of filling and freeing 48 MiB, twice at once, in a thread as in the main one.
COUNT = f"""
import resource, sys, threading
from osteon.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory() and keep_freed_memory()
def work():
    for _ in range({ROUNDS}):
        held = [b'1' * ({MIB} * 2**20) for _ in range(2)]
        del held
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
work()
between = faults()
thread = threading.Thread(target=work)
thread.start()
thread.join()
print(between - before, faults() - between)
"""


def _faults(how: str) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", COUNT, how], check=True, capture_output=True, text=True
    )
    return [int(n) for n in done.stdout.split()]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back")
def test_freed_memory_is_taken_again() -> None:
    plain, kept = _faults("plain"), _faults("kept")
    pages = 2 * MIB * 256  # of 4 KiB, that are held at once
    # Huge pages, where a system uses them for all, leave no faults to be saved.
    if min(plain) < pages * ROUNDS / 4:
        pytest.skip("this system has few page faults to begin with")
    assert kept[0] <= 2 * pages
    assert kept[1] <= pages


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from osteon import allocator

    monkeypatch.setattr(sys, "platform", "darwin")
    assert not allocator.keep_freed_memory()
