"""Progress with a clock that the test moves, and requests to stop."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from osteon import events
from osteon.events import Event, Reporter, StopToken


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(events, "time", SimpleNamespace(monotonic=made.monotonic))
    return made


def recorder() -> tuple[Reporter, list[Event]]:
    heard: list[Event] = []
    return Reporter(heard.append), heard


def test_time_left_is_the_mean_pace_times_what_is_left(clock: Clock) -> None:
    reporter, heard = recorder()
    with reporter.stage("predict", total=10, unit="slice") as progress:
        assert progress.seconds_left() is None  # nothing done: no pace
        clock.now += 6
        progress.advance(2)  # 3 s a slice, 8 left
        clock.now += 2
        progress.advance(2)  # 8 s for 4, 6 left
    steps = [e for e in heard if e.kind == "progress"]
    assert [(e.step, e.seconds_left) for e in steps] == [(2, 24.0), (4, 12.0)]


def test_steps_of_an_earlier_run_do_not_count_for_the_pace(clock: Clock) -> None:
    reporter, heard = recorder()
    with reporter.stage("fit", total=100, done=90) as progress:
        clock.now += 10
        progress.advance(5)  # 2 s a step, 5 left
    assert heard[0].step == 90
    assert (heard[1].step, heard[1].seconds_left) == (95, 10.0)


def test_time_left_is_never_negative_and_unknown_without_a_total(clock: Clock) -> None:
    reporter, heard = recorder()
    with reporter.stage("a", total=2) as progress:
        clock.now += 4
        progress.advance(4)
    with reporter.stage("b") as progress:
        clock.now += 4
        progress.advance()
    told = [e.seconds_left for e in heard if e.kind == "progress"]
    assert told == [0.0, None]


def test_events_are_thinned_out_but_the_last_is_always_told(clock: Clock) -> None:
    reporter, heard = recorder()
    with reporter.stage("read", total=1000) as progress:
        for _ in range(1000):
            clock.now += 0.001
            progress.advance()
    told = [e.step for e in heard if e.kind == "progress"]
    assert told[0] == 1
    assert told[-1] == 1000
    assert 9 <= len(told) <= 12  # one second, ten a second


def test_an_event_can_be_forced(clock: Clock) -> None:
    reporter, heard = recorder()
    with reporter.stage("fit", total=10) as progress:
        progress.advance()
        progress.advance(message="epoch 1", data={"loss": 0.5}, always=True)
        progress.advance()
    told = [(e.step, e.message, dict(e.data)) for e in heard if e.kind == "progress"]
    assert told == [(1, None, {}), (2, "epoch 1", {"loss": 0.5})]


def test_a_stage_ends_even_when_the_work_fails(clock: Clock) -> None:
    reporter, heard = recorder()

    def work() -> None:
        with reporter.stage("predict", total=3, unit="slice") as progress:
            progress.advance()
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        work()
    assert [(e.kind, e.step, e.total, e.unit) for e in heard] == [
        ("start", 0, 3, "slice"),
        ("progress", 1, 3, "slice"),
        ("end", 1, 3, "slice"),
    ]


def test_an_event_as_json_keeps_zero_and_leaves_out_what_is_empty() -> None:
    event = Event("start", "fit", 0, None, "step", seconds_left=0.0)
    assert json.loads(json.dumps(event.as_dict())) == {
        "kind": "start",
        "stage": "fit",
        "step": 0,
        "unit": "step",
        "seconds_left": 0.0,
    }


def test_a_message_carries_its_figures() -> None:
    reporter, heard = recorder()
    reporter.message("fit", "plan", steps=7)
    assert heard == [Event("message", "fit", message="plan", data={"steps": 7})]


def test_a_stop_is_asked_for_by_a_call() -> None:
    reporter = Reporter()
    assert not reporter.stopping
    assert reporter.stop.reason is None
    reporter.stop.request("Ctrl-C")
    assert reporter.stopping
    assert reporter.stop.reason == "Ctrl-C"


@pytest.mark.parametrize("later", [False, True], ids=["from the start", "watched later"])
def test_a_stop_is_asked_for_by_a_file(tmp_path: Path, *, later: bool) -> None:
    file = tmp_path / "STOP"
    token = StopToken(None if later else file)
    if later:
        token.watch(file)
    reporter = Reporter(stop=token)
    assert not reporter.stopping
    file.touch()
    assert reporter.stopping
    assert token.reason == "stop file STOP found"
    file.unlink()
    assert reporter.stopping  # asked is asked


def test_a_call_is_not_overruled_by_the_file(tmp_path: Path) -> None:
    token = StopToken(tmp_path / "STOP")
    token.request("Ctrl-C")
    (tmp_path / "STOP").touch()
    assert token.requested
    assert token.reason == "Ctrl-C"


def test_two_reporters_do_not_share_a_stop() -> None:
    one, two = Reporter(), Reporter()
    one.stop.request()
    assert not two.stopping
