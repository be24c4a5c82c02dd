"""What the command line says while it works."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from contextlib import redirect_stderr

import pytest

from osteon.cli.console import Console, Say, clock, report_error
from osteon.errors import InputError, warn
from osteon.events import Event

#: Signals are raised in a process of its own: one that is not caught ends it, and its code says so,
#: where it would take all tests of this process with it.
BEGIN = """
import io, signal
from contextlib import redirect_stderr
from osteon.cli.console import Console, Say


class InterruptedWhileWriting(io.StringIO):
    pressed = False

    def write(self, text):
        if text.strip() and not self.pressed:
            self.pressed = True
            signal.raise_signal(signal.SIGINT)
        return super().write(text)


def check(condition):
    if not condition:
        raise SystemExit("not so")


def interrupts(number):
    try:
        signal.raise_signal(number)
    except KeyboardInterrupt:
        return True
    return False
"""


def in_own_process(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + code], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("say", [Say.TEXT, Say.JSONL])
def test_ctrl_c_in_the_middle_of_a_print_repeats_nothing(say: Say) -> None:
    in_own_process(f"""
with redirect_stderr(InterruptedWhileWriting()) as err, Console(Say({say.value!r})) as console:
    console.reporter.message("fit", "epoch 1")
    check(console.reporter.stopping)
    check(console.interrupted)
check(err.getvalue().count("epoch 1") == 1)
""")


def test_the_second_ctrl_c_stops_at_once() -> None:
    in_own_process("""
handler = signal.getsignal(signal.SIGINT)
with redirect_stderr(io.StringIO()), Console(Say.TEXT):
    check(not interrupts(signal.SIGINT))
    check(interrupts(signal.SIGINT))
check(signal.getsignal(signal.SIGINT) is handler)
""")


def test_long_lines_stay_whole_and_warnings_come_once() -> None:
    path = "/a/long/path/" + "x" * 200
    with redirect_stderr(io.StringIO()) as err, Console(Say.TEXT) as console:
        console.reporter.message("fit", f"[not markup] {path}")
        for _ in range(2):
            warn("gap-in-numbering", "slice 7 is missing", where="scan")
    assert err.getvalue().splitlines() == [
        f"[not markup] {path}",
        "warning: slice 7 is missing (scan) [gap-in-numbering]",
    ]


def test_events_hold_json_only() -> None:
    data = {"iou": float("nan"), "each": (1.0, float("inf")), "n": 3, "ok": True}
    with redirect_stderr(io.StringIO()) as err, Console(Say.JSONL) as console:
        console.reporter.send(Event("progress", "fit", 1, 2, data=data))
    assert json.loads(err.getvalue())["data"] == {
        "iou": None,
        "each": [1.0, None],
        "n": 3,
        "ok": True,
    }


def test_errors_are_told_without_a_traceback_and_bugs_with_one() -> None:
    with redirect_stderr(io.StringIO()) as err:
        assert report_error(InputError("no", where="here", mend="so")) == 3
    assert err.getvalue() == "error: no\n  where: here\n  mend:  so\n"
    for refused in (
        MemoryError("Unable to allocate 64.0 MiB for an array"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory"
        ),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    ):
        with redirect_stderr(io.StringIO()) as err:
            assert report_error(refused) == 8
        assert err.getvalue().startswith(f"error: there is not enough memory: {refused}")
        assert "mend:" in err.getvalue()
        assert "Traceback" not in err.getvalue()
    with redirect_stderr(io.StringIO()) as err:
        assert report_error(RuntimeError("memory of an elephant")) == 1
    with redirect_stderr(io.StringIO()) as err:
        assert report_error(ZeroDivisionError("oh")) == 1
    assert "ZeroDivisionError: oh" in err.getvalue()
    assert "this is a bug in osteon" in err.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3600, "1:00:00")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_sigterm_asks_to_stop_and_coming_again_changes_nothing() -> None:
    in_own_process("""
handler = signal.getsignal(signal.SIGTERM)
with redirect_stderr(io.StringIO()), Console(Say.TEXT) as console:
    for _ in range(3):
        check(not interrupts(signal.SIGTERM))
    check(console.reporter.stopping)
    check(console.interrupted)
    check(console.reporter.stop.reason == "told to end by the system (SIGTERM)")
    check(interrupts(signal.SIGINT))
check(signal.getsignal(signal.SIGTERM) is handler)
""")
