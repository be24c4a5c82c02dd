"""Label schemes: what is accepted, and that nothing is lost on the way through a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osteon.errors import UsageError
from osteon.labels import BONE_PORES, IGNORE, LabelClass, LabelScheme

LEVEL = st.integers(0, 255)
NAMES = st.lists(
    st.text(min_size=1, max_size=12).filter(lambda name: name != "ignore"),
    min_size=2,
    max_size=12,
    unique=True,
)


@st.composite
def schemes(draw: st.DrawFn) -> LabelScheme:
    classes = tuple(
        LabelClass(name, value, draw(st.tuples(LEVEL, LEVEL, LEVEL)))
        for value, name in enumerate(draw(NAMES))
    )
    return LabelScheme(classes, draw(st.text(max_size=12)))


@given(schemes())
def test_a_scheme_survives_json(scheme: LabelScheme) -> None:
    assert LabelScheme.from_dict(json.loads(json.dumps(scheme.as_dict()))) == scheme


@given(schemes())
def test_names_and_values_belong_together(scheme: LabelScheme) -> None:
    assert [scheme.value(name) for name in scheme.names] == list(range(len(scheme)))
    assert scheme.value("ignore") == IGNORE == 255


def test_the_default_classes() -> None:
    assert BONE_PORES.names == ("background", "bone", "pores")
    assert BONE_PORES.protocol == "bone-pores/1"
    assert len({c.colour for c in BONE_PORES.classes}) == 3


def test_an_unknown_class_is_told_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no class 'Bone'") as caught:
        BONE_PORES.value("Bone")
    assert caught.value.mend == "use one of: background, bone, pores, ignore"


def classes(*names: str, start: int = 0) -> tuple[LabelClass, ...]:
    return tuple(LabelClass(n, v, (0, 0, 0)) for v, n in enumerate(names, start=start))


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (classes("a"), "2 to 255 classes"),
        (classes("a", "a"), "different names"),
        (classes("a", "ignore"), "none called 'ignore'"),
        (classes("a", "b", start=1), "0, 1, 2"),
        (classes("a", "b")[::-1], "0, 1, 2"),
        (classes(*(f"c{i}" for i in range(256))), "2 to 255 classes"),
        ((LabelClass("a", 0, (0, 0, 0)), LabelClass("b", 1, (0, 256, 0))), "colour of class 'b'"),
        ((LabelClass("a", 0, (-1, 0, 0)), LabelClass("b", 1, (0, 0, 0))), "colour of class 'a'"),
    ],
)
def test_an_impossible_scheme_is_refused(made: tuple[LabelClass, ...], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        LabelScheme(made)


def test_255_classes_leave_255_to_the_unlabelled() -> None:
    scheme = LabelScheme(classes(*(f"c{i}" for i in range(255))))
    assert scheme.value("c254") == 254


def _set(key: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    def change(data: dict[str, Any]) -> None:
        data["classes"][1][key] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("classes"),
        lambda d: d.update(classes="bone"),
        lambda d: d.update(classes=["bone", "pores"]),
        lambda d: d["classes"][0].pop("name"),
        lambda d: d["classes"][0].pop("colour"),
        _set("value", "x"),
        _set("value", None),
        _set("value", float("inf")),
        _set("colour", 7),
        _set("colour", [1, 2]),
        _set("colour", [1, 2, 3, 4]),
        _set("colour", [float("inf"), 0, 0]),
        _set("colour", [300, 0, 0]),
    ],
)
def test_a_garbled_description_is_a_users_error(change: Callable[[dict[str, Any]], Any]) -> None:
    data: dict[str, Any] = json.loads(json.dumps(BONE_PORES.as_dict()))
    change(data)
    with pytest.raises(UsageError):
        LabelScheme.from_dict(data)
