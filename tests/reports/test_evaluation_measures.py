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
        (3.2e12, "3.2e+12"),
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
    assert cells == ["TV", "voxel3", text, text, "+5.1%"]
