"""Every row of every table: it can be loaded, chosen in the settings, and explains itself."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from osteon import tables
from osteon.errors import UsageError
from osteon.registry import Row, Table
from osteon.settings import (
    FitSettings,
    LossSettings,
    OptimiserSettings,
    PredictSettings,
    ScheduleSettings,
    load_settings,
)
from osteon.tables.losses import LOSSES


def _tables() -> list[Table]:
    modules = [
        importlib.import_module(f"{tables.__name__}.{m.name}")
        for m in pkgutil.iter_modules(tables.__path__)
    ]
    found = [value for module in modules for value in vars(module).values() if type(value) is Table]
    return list(dict.fromkeys(found))  # one table may use another


TABLES = _tables()
ROWS = [
    pytest.param(table, row, id=f"{table.name}-{row.name}") for table in TABLES for row in table
]

#: The setting through which the rows of a table are chosen; other tables are not settings.
CHOSEN_BY: dict[str, tuple[type[Any], str]] = {
    "networks": (FitSettings, "network.architecture"),
    "encoders": (FitSettings, "network.encoder"),
    "losses": (FitSettings, "loss"),
    "recipes": (FitSettings, "normalisation.recipe"),
    "augmentations": (FitSettings, "augmentation.preset"),
    "backends": (PredictSettings, "backend"),
}
NOT_SETTINGS = {"formats", "measures", "metrics"}
CHOICES = [p for p in ROWS if p.values[0].name in CHOSEN_BY]  # type: ignore[union-attr]


#: What else must be chosen for a row.
WITH = {"dpt": ["network.encoder=tu-vit_tiny_patch16_224"]}


def also(row: Row) -> list[str]:
    if 2 not in row.capabilities.get("dimensions", (2,)):  # type: ignore[operator]
        return ["mode=3D"]
    return WITH.get(row.name, [])


def chosen(settings: BaseModel, place: str) -> str:
    value: Any = settings
    for part in place.split("."):
        value = getattr(value, part)
    return str(getattr(value, "name", value))


def test_every_table_is_known_here() -> None:
    names = [table.name for table in TABLES]
    assert sorted(names) == sorted({*CHOSEN_BY, *NOT_SETTINGS})


@pytest.mark.parametrize(("table", "row"), ROWS)
def test_a_row_loads_and_explains_itself(table: Table, row: Row) -> None:
    assert table.load(row.name) is not None
    assert len(row.help) >= 4
    assert "\n" not in row.help
    assert row.name == row.name.lower().strip()
    for alias in row.aliases:
        assert table.row(alias.upper()) is row


@pytest.mark.parametrize(("table", "row"), CHOICES)
def test_a_row_can_be_chosen_in_the_settings(table: Table, row: Row) -> None:
    kind, place = CHOSEN_BY[table.name]
    for spelling in (row.name, *row.aliases):
        made = load_settings(kind, overrides=[f"{place}={spelling}", *also(row)])
        assert chosen(made, place) == row.name


@pytest.mark.parametrize("table", TABLES, ids=lambda t: t.name)
def test_a_slip_of_the_pen_is_helped(table: Table) -> None:
    for row in table:
        slip = row.name + "z"
        with pytest.raises(UsageError, match=f"there is no '{slip}'") as caught:
            table.row(slip)
        assert row.name in str(caught.value.mend)
        if table.name in CHOSEN_BY:
            kind, place = CHOSEN_BY[table.name]
            with pytest.raises(UsageError, match=row.name):
                load_settings(kind, overrides=[f"{place}={slip}"])


def test_losses_have_settings_and_settings_have_losses() -> None:
    names = [kind.model_fields["name"].default for kind in get_args(LossSettings)]
    assert sorted(names) == sorted(LOSSES.names())


@pytest.mark.parametrize("union", [LossSettings, OptimiserSettings, ScheduleSettings])
def test_a_choice_with_parameters_is_complete(union: Any) -> None:
    for kind in get_args(union):
        assert kind().model_dump()["name"] == kind.model_fields["name"].default
        assert (kind.__doc__ or "").strip()
        for name, field in kind.model_fields.items():
            assert name == "name" or field.description
