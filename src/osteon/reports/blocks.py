"""What a report is made of: paragraphs, tables, curves, pictures. The template draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import PurePath

NONE = "–"  # what is printed where there is no figure

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: The figure or text; shown right-aligned if ``number``.
        number: Whether it is a figure.
        note: Small print below the figure.
        shade: 0..1: how strongly the cell is tinted; None for not at all.
        colour: A swatch before the text.
    """

    text: str
    number: bool = False
    note: str = ""
    shade: float | None = None
    colour: Colour | None = None


@dataclass(frozen=True)
class Tiles:
    """The headline: a few large figures.

    Attributes:
        items: Label, figure and small print of each.
    """

    items: Sequence[tuple[str, str, str]]
    kind: str = "tiles"


@dataclass(frozen=True)
class Text:
    """Paragraphs.

    Attributes:
        paragraphs: One text each.
    """

    paragraphs: Sequence[str]
    kind: str = "text"


@dataclass(frozen=True)
class Notes:
    """A list of notes or warnings.

    Attributes:
        items: One text each.
        warning: Whether they are warnings.
    """

    items: Sequence[str]
    warning: bool = False
    kind: str = "notes"


@dataclass(frozen=True)
class Table:
    """A table; figures are right-aligned.

    Attributes:
        head: Headings of the columns.
        rows: Cells of each row; a plain text stands for a left-aligned cell.
        caption: What the table shows.
        groups: Headings above the headings: text and how many columns each spans.
        strong: Indices of rows that sum up the others.
        narrow: Set in small type, for wide tables.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    caption: str = ""
    groups: Sequence[tuple[str, int]] = ()
    strong: Sequence[int] = ()
    narrow: bool = False
    kind: str = "table"

    @property
    def numeric(self) -> list[bool]:
        """For each column whether it holds figures, so that its heading stands above them."""
        return [
            any(isinstance(row[i], Cell) and row[i].number for row in self.rows)  # type: ignore[union-attr]
            for i in range(len(self.head))
        ]


@dataclass(frozen=True)
class Figure:
    """A drawing.

    Attributes:
        svg: The drawing, made by ``osteon.reports.figures``: it is put into the page as it is.
        caption: What it shows.
    """

    svg: str
    caption: str = ""
    kind: str = "figure"


@dataclass(frozen=True)
class Panel:
    """One picture of a group.

    Attributes:
        label: What it shows.
        uri: The picture as a ``data:`` URI.
        width: Width in pixels.
        height: Height in pixels.
        bar: Part of the width that the scale bar takes, and its length as text.
        legend: Texts and colours.
    """

    label: str
    uri: str
    width: int
    height: int
    bar: tuple[float, str] | None = None
    legend: Sequence[tuple[str, Colour]] = ()


@dataclass(frozen=True)
class Panels:
    """Pictures that belong together.

    Attributes:
        title: What they are of.
        panels: The pictures, two a row.
        note: A sentence below.
        table: Figures that belong to them.
        small: Four a row instead of two.
    """

    title: str
    panels: Sequence[Panel]
    note: str = ""
    table: Table | None = None
    small: bool = False
    kind: str = "panels"


@dataclass(frozen=True)
class Stack:
    """Pictures of the same size to leaf through; without JavaScript the middle one is shown.

    Attributes:
        title: What they are of.
        frames: The picture as a ``data:`` URI and its caption, in order.
        width: Width of each in pixels.
        height: Height of each in pixels.
        labels: What stands side by side in a picture, from left to right.
        legend: Texts and colours.
    """

    title: str
    frames: Sequence[tuple[str, str]]
    width: int
    height: int
    labels: Sequence[str] = ()
    legend: Sequence[tuple[str, Colour]] = ()
    kind: str = "stack"


@dataclass(frozen=True)
class Folded:
    """Blocks that are folded away on the screen and unfolded in print.

    Attributes:
        summary: What is inside.
        blocks: The blocks.
    """

    summary: str
    blocks: Sequence[Block]
    kind: str = "folded"


Block = Tiles | Text | Notes | Table | Figure | Panels | Stack | Folded


@dataclass(frozen=True)
class Section:
    """A part of a report with a heading.

    Attributes:
        heading: The heading.
        blocks: What it holds.
    """

    heading: str
    blocks: Sequence[Block] = field(default_factory=tuple)


def number(value: object, spec: str = ".4f", *, note: str = "", shade: float | None = None) -> Cell:
    """Make a cell from a figure.

    Args:
        value: A number; None and NaN print as a dash.
        spec: Python's format specification.
        note: Small print below the figure.
        shade: 0..1: how strongly the cell is tinted.

    Returns:
        The cell.
    """
    return Cell(figure_text(value, spec), number=True, note=note, shade=shade)


def figure_text(value: object, spec: str = ".4f") -> str:
    """Format a figure; None, NaN and what is no number print as a dash.

    Args:
        value: A number, or None.
        spec: Python's format specification.

    Returns:
        The text.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        item = getattr(value, "item", None)  # NumPy's scalars
        if item is None:
            return NONE
        value = item()
        if not isinstance(value, int | float):
            return NONE
    return format(value, spec) if math.isfinite(value) else NONE


def as_number(value: object) -> float:
    """Return a figure as float; None and what is no number become NaN.

    Args:
        value: A number, or None.

    Returns:
        The number.
    """
    return float(value) if isinstance(value, int | float) else math.nan


def key_table(data: Mapping[str, object], caption: str = "", head: str = "what") -> Table:
    """Lay out nested settings, versions or files as a table of dotted names and values.

    Args:
        data: Names and values; mappings inside are flattened to ``outer.inner``.
        caption: What the table shows.
        head: Heading of the first column.

    Returns:
        The table.
    """
    rows = [[Cell(name), Cell(_plain(value))] for name, value in _flat(data)]
    return Table([head, "value"], rows, caption)


def _flat(data: Mapping[str, object], prefix: str = "") -> list[tuple[str, object]]:
    out: list[tuple[str, object]] = []
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            out += _flat(value, f"{prefix}{key}.")
        else:
            out.append((f"{prefix}{key}", value))
    return out


def _plain(value: object) -> str:
    if value is None or value == {}:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}" if math.isfinite(value) else NONE
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, list | tuple):
        return ", ".join(_plain(v) for v in value) or NONE
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {_plain(v)}" for k, v in value.items())
    return str(value) if isinstance(value, str | int | PurePath) else repr(value)
