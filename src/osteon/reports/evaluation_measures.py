"""The part of an evaluation's report on measures of bone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from osteon.reports.blocks import Block, Cell, Section, Table, Text, as_number, number
from osteon.tables.measures import RAISED, unit_text

Rows = Sequence[Mapping[str, object]]

#: Numbers from the first on are written in full up to the second: voxels are counted.
_FULL = (1e3, 1e9)
_TEXT = [
    "The same measures were taken of the truth and of the labels; the error is labels ÷ truth − 1. "
    "All bones of a scan are measured together, and compartments are found anew in each label "
    "volume, as they would be in a study. “Otsu” is a threshold whose smoothing, number of classes "
    "and closing were chosen by the truth of the scan itself: about the best that Otsu's method "
    "can reach. A dash: not measured or not resolved; the notes say why."
]


def measure_sections(table: Rows) -> list[Section]:
    """Lay out errors in measures; nothing where they were not compared.

    Args:
        table: Rows with ``scan``, ``measure``, ``unit``, ``truth``, ``labels``, ``error``, ``otsu``
            and ``otsu_error``.

    Returns:
        At most one section.
    """
    if not table:
        return []
    otsu = any(r["otsu"] == r["otsu"] for r in table)
    blocks: list[Block] = [Text(_TEXT)]
    for scan in dict.fromkeys(str(r["scan"]) for r in table):
        lines: list[list[Cell | str]] = []
        for r in (r for r in table if r["scan"] == scan):
            cells: list[Cell | str] = [str(r["measure"]), unit_text(str(r["unit"]))]
            cells += [_figure(r["truth"]), _figure(r["labels"])]
            cells.append(number(r["error"], "+.1%"))
            if otsu:
                cells += [_figure(r["otsu"]), number(r["otsu_error"], "+.1%")]
            lines.append(cells)
        head = ["measure", "unit", "truth", "labels", "error"]
        head += ["Otsu", "error"] if otsu else []
        blocks.append(Table(head, lines, scan))
    return [Section("Measures of bone", blocks)]


def _figure(value: object) -> Cell:
    """Write a measure with four digits, and without a power of ten where people can do without."""
    size = abs(as_number(value))
    if _FULL[0] <= size < _FULL[1]:
        return number(value, ",.0f")
    cell = number(value, ".4g")
    digits, power, exponent = cell.text.partition("e")
    if not power:
        return cell
    return replace(cell, text=f"{digits} × 10{str(int(exponent)).translate(RAISED)}")
