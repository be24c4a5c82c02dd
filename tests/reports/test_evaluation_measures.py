"""The table of measures in a report."""

from __future__ import annotations

import math

import pytest

from osteon.reports.blocks import Cell, Table
from osteon.reports.evaluation_measures import measure_sections


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1_876_432.0, "1,876,432"),
        (1234.6, "1,235"),
        (87.654, "87.65"),
        (0.00012346, "0.0001235"),
        (3.2e12, "3.2 × 10¹²"),
        (4.56e-7, "4.56 × 10⁻⁷"),
        (math.nan, "–"),
    ],
)
def test_figures_can_be_read(value: float, text: str) -> None:
    row = {"scan": "a", "measure": "TV", "name": "tv", "unit": "voxel3", "truth": value}
    row |= {"labels": value, "error": 0.051, "otsu": math.nan, "otsu_error": math.nan}
    (section,) = measure_sections([row])
    table = section.blocks[-1]
    assert isinstance(table, Table)
    (line,) = table.rows
    cells = [c.text if isinstance(c, Cell) else c for c in line]
    assert cells == ["TV", "voxel³", text, text, "+5.1%"]


@pytest.mark.parametrize(
    ("unit", "text"),
    [("1", ""), ("um", "µm"), ("mm4", "mm⁴"), ("1/mm3", "1/mm³"), ("1/mm", "1/mm")],
)
def test_units_are_written_as_people_do(unit: str, text: str) -> None:
    row = {"scan": "a", "measure": "X", "name": "x", "unit": unit, "truth": 1.0, "labels": 1.0}
    (section,) = measure_sections([row | {"error": 0.0, "otsu": 1.0, "otsu_error": 0.0}])
    table = section.blocks[-1]
    assert isinstance(table, Table)
    assert table.rows[0][1] == text
    assert len(table.rows[0]) == 7
