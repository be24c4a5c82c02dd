"""Named tables: names, aliases, suggestions, missing libraries, rows of third parties."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from osteon import registry
from osteon.errors import DependencyError, OsteonWarning, UsageError
from osteon.registry import Row, Table


def table(*more: Row, name: str = "tools") -> Table:
    rows = (
        Row("root", "square root", "math:sqrt", aliases=("sqrt", "Square-Root")),
        Row("floor", "round down", "math:floor"),
    )
    return Table(name, rows + more)


def test_rows_keep_their_order() -> None:
    assert table().names() == ["root", "floor"]
    assert [row.name for row in table()] == ["root", "floor"]
    assert len(table()) == 2


@pytest.mark.parametrize("name", ["root", "ROOT", "sqrt", "square-root"])
def test_a_row_is_found_by_name_or_alias_in_any_case(name: str) -> None:
    assert table().row(name).name == "root"
    assert table().load(name) is math.sqrt
    assert name in table()


@pytest.mark.parametrize("name", ["roof", "", None, 3])
def test_what_is_not_there_is_not_in(name: object) -> None:
    assert name not in table()


def by_rule(name: str) -> Row | None:
    if not name.startswith("x-"):
        return None
    if name == "x-":
        raise UsageError("tools: 'x-' needs a name behind it")
    return Row(name, "by rule", "math:exp")


def test_a_rule_makes_rows_that_are_not_listed() -> None:
    rows = Table("tools", tuple(table()), rule=by_rule)
    assert rows.row("X-Ray").name == "x-ray"
    assert rows.load("x-ray") is math.exp
    assert "x-ray" in rows
    assert rows.row("sqrt").name == "root"
    assert rows.names() == ["root", "floor"]


def test_a_rule_may_refuse_and_leaves_other_names_alone() -> None:
    rows = Table("tools", tuple(table()), rule=by_rule)
    assert "x-" not in rows
    with pytest.raises(UsageError, match="needs a name behind it"):
        rows.row("x-")
    with pytest.raises(UsageError, match="there is no 'flor'"):
        rows.row("flor")


def test_a_long_list_of_names_is_left_to_the_listing() -> None:
    rows = Table("tools", tuple(Row(f"tool{i}", "", "math:exp") for i in range(50)))
    with pytest.raises(UsageError) as caught:
        rows.row("tool4z")
    assert caught.value.mend == (
        "did you mean tool4 or tool49 or tool48? `osteon model list` prints them all"
    )


def test_the_nearest_names_are_suggested() -> None:
    with pytest.raises(UsageError) as caught:
        table().row("flor")
    assert caught.value.what == "tools: there is no 'flor'"
    assert caught.value.mend == "did you mean floor? choose one of: root, floor"


def test_far_off_names_are_not_guessed_at() -> None:
    with pytest.raises(UsageError) as caught:
        table().load("xyz")
    assert caught.value.mend == "choose one of: root, floor"


@pytest.mark.parametrize(
    "row",
    [
        Row("root", "", "math:exp"),
        Row("Floor", "", "math:exp"),
        Row("sqrt", "", "math:exp"),
        Row("new", "", "math:exp", aliases=("ROOT",)),
        Row("new", "", "math:exp", aliases=("square-root",)),
    ],
    ids=["name", "case", "alias as name", "name as alias", "alias as alias"],
)
def test_a_name_is_taken_once(row: Row) -> None:
    with pytest.raises(UsageError, match="is taken"):
        table(row)


def test_a_missing_optional_library_says_what_to_install() -> None:
    rows = table(Row("x", "", "osteon_no_such_library.part:f", extra="gpu"))
    with pytest.raises(DependencyError, match="osteon_no_such_library") as caught:
        rows.load("x")
    assert caught.value.mend == "pip install 'osteon[gpu]'"


def test_a_missing_required_library_is_a_bug_and_shows() -> None:
    with pytest.raises(ModuleNotFoundError):
        table(Row("x", "", "osteon_no_such_library:f")).load("x")


def test_nothing_is_imported_before_it_is_used() -> None:
    rows = table(Row("x", "never loaded", "osteon_no_such_library:f"))
    assert rows.names()[-1] == "x"
    assert rows.row("x").help == "never loaded"


class Point(SimpleNamespace):
    """An entry point of an installed extension."""

    def load(self) -> Any:
        return self.row


@pytest.fixture
def extensions(monkeypatch: pytest.MonkeyPatch) -> list[Point]:
    found: list[Point] = []

    def entry_points(*, group: str) -> list[Point]:
        return [p for p in found if p.group == group]

    monkeypatch.setattr(registry, "entry_points", entry_points)
    return found


def test_a_third_party_adds_a_row(extensions: list[Point]) -> None:
    row = Row("power", "x to the y", "math:pow")
    extensions.append(Point(group="osteon.tools", row=row, value="theirs:ROW"))
    extensions.append(Point(group="osteon.others", row=Row("no", "", "math:exp"), value="theirs"))
    assert table().names() == ["root", "floor", "power"]
    assert table().load("power") is math.pow


@pytest.mark.parametrize(
    ("row", "why"),
    [(Row("sqrt", "", "math:exp"), "the name 'sqrt' is taken"), ("root", r"not an osteon\.reg")],
)
def test_an_unfit_row_of_a_third_party_is_left_out_and_said_so(
    row: object, why: str, extensions: list[Point]
) -> None:
    extensions.append(Point(group="osteon.tools", row=row, value="theirs:ROW"))
    rows = table()
    with pytest.warns(OsteonWarning, match=why) as caught:
        assert rows.names() == ["root", "floor"]
    assert rows.names() == ["root", "floor"]  # said once
    assert [w.message.name for w in caught] == ["plugin-ignored"]  # type: ignore[union-attr]
    assert rows.load("sqrt") is math.sqrt
