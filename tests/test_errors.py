"""Messages, exit codes and named warnings."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from osteon import errors
from osteon.errors import ExitCode, OsteonError, OsteonWarning, OutputError, UsageError, warn


def _all_kinds(kind: type[OsteonError]) -> list[type[OsteonError]]:
    return [kind, *(k for child in kind.__subclasses__() for k in _all_kinds(child))]


KINDS = _all_kinds(OsteonError)


def test_exit_codes_are_those_that_scripts_rely_on() -> None:
    assert {code.name: int(code) for code in ExitCode.__members__.values()} == {
        "OK": 0,
        "UNEXPECTED": 1,
        "USAGE": 2,
        "INPUT": 3,
        "OUTPUT": 4,
        "MODEL": 5,
        "DEPENDENCY": 6,
        "PARTIAL": 7,
        "MEMORY": 8,
        "INTERRUPTED": 130,
    }


def test_exit_codes_are_unique() -> None:
    # An IntEnum takes a second name of a code as a silent alias.
    assert len(ExitCode.__members__) == len(set(ExitCode))


def test_each_direct_kind_of_error_has_a_code_of_its_own() -> None:
    direct = [k for k in OsteonError.__subclasses__() if k.__module__ == errors.__name__]
    codes = [k.exit_code for k in direct]
    assert len(set(codes)) == len(codes) >= 6
    assert ExitCode.UNEXPECTED not in codes
    assert ExitCode.OK not in codes


def test_a_message_says_what_where_and_how_to_mend_it() -> None:
    error = UsageError("the size is odd", where=Path("a") / "b", mend="give an even one")
    assert str(error).splitlines() == [
        "the size is odd",
        f"  where: {Path('a') / 'b'}",
        "  mend:  give an even one",
    ]
    assert str(UsageError("the size is odd")) == "the size is odd"


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
@pytest.mark.parametrize("rest", [{}, {"where": Path("x"), "mend": "y"}, {"mend": "y"}])
def test_an_error_survives_pickling_and_copying(
    kind: type[OsteonError], rest: dict[str, object]
) -> None:
    error = kind("what", **rest)  # type: ignore[arg-type]
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301
        assert type(other) is kind
        assert (other.what, other.where, other.mend) == (error.what, error.where, error.mend)
        assert str(other) == str(error)
        assert other.exit_code is error.exit_code


def _fail(path: str) -> None:
    raise OutputError("the disk is full", where=path, mend="free some space")


def test_an_error_comes_back_from_a_spawned_process() -> None:
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        pytest.raises(OutputError, match="disk is full") as caught,
    ):
        pool.submit(_fail, "here").result()
    assert (caught.value.where, caught.value.mend) == ("here", "free some space")


def test_a_warning_is_named_and_points_at_the_caller() -> None:
    def work() -> None:
        warn("gap-in-numbering", "slice 7 is missing", where=Path("scan"))

    with pytest.warns(OsteonWarning) as caught:
        work()
    (found,) = caught
    assert isinstance(found.message, OsteonWarning)
    assert found.message.name == "gap-in-numbering"
    assert str(found.message) == "slice 7 is missing (scan) [gap-in-numbering]"
    assert found.filename == __file__


def test_a_warning_survives_pickling() -> None:
    found = pickle.loads(pickle.dumps(OsteonWarning("name", "text", Path("place"))))  # noqa: S301
    assert (found.name, found.text, found.where) == ("name", "text", "place")


def test_a_warning_can_be_made_an_error() -> None:
    # pyproject.toml does so for the tests: an unexpected warning fails them.
    with pytest.raises(OsteonWarning, match=r"\[some-name\]"):
        warn("some-name", "text")
