"""Parts of reports of evaluations: surface, topology, intervals, space, methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from osteon.labels import LabelScheme
from osteon.reports import pictures
from osteon.reports.blocks import (
    Block,
    Cell,
    Panel,
    Panels,
    Section,
    Table,
    Text,
    as_number,
    figure_text,
    number,
)
from osteon.reports.common import class_cell
from osteon.reports.pictures import Picture, SlicePicture
from osteon.reports.stacks import sheet, stack
from osteon.tables.metrics import METRICS

Rows = Sequence[Mapping[str, object]]

_UNITS = {"1": "", "um": " (µm)", "voxels": " (voxels)"}
_AXES = {"z": "Slices (seen along z)", "y": "Seen along y", "x": "Seen along x"}

#: Intervals that are shown; the rest is in intervals.csv.
_SURE = (
    ("iou", "bone"),
    ("iou", "mean"),
    ("fw_iou", "all"),
    ("dice", "bone"),
    ("assd", "bone"),
    ("hd95", "bone"),
    ("nsd", "bone"),
    ("cldice", "bone"),
)


#: White, where nothing of a surface is drawn, and pixels of it that stay around.
_PAPER, _RIM = 255, 8


@dataclass(frozen=True)
class ScanShape:
    """What is shown of a scan in space.

    Attributes:
        name: Name of the scan.
        planes: Axis (z, y or x) → planes in order; their ``z`` is the place along that axis.
        surfaces: Pictures of the truth's and the labels' surface; None: not drawn.
    """

    name: str
    planes: Mapping[str, Sequence[SlicePicture]]
    surfaces: tuple[Picture, Picture] | None = None


def metric_label(metric: str, unit: object) -> str:
    """Name a metric for people, with its unit.

    Args:
        metric: Name in the table, or any other.
        unit: Unit of its values.

    Returns:
        Such as ``surface distance (µm)``.
    """
    known = metric in METRICS.names()
    label = str(METRICS.row(metric).capabilities["label"]) if known else metric
    return label + _UNITS.get(str(unit), f" ({unit})")


def with_interval(value: object, low: object, high: object, form: str = ".3f") -> Cell:
    """Make a cell of a figure with its interval in small print.

    Args:
        value: The figure.
        low: Lower end; NaN for none.
        high: Upper end.
        form: How it is printed.

    Returns:
        The cell.
    """
    ends = [figure_text(v, form) for v in (low, high)]
    known = as_number(low) == as_number(low)
    return Cell(figure_text(value, form), True, f"[{ends[0]}, {ends[1]}]" if known else "")


def form_of(unit: object) -> str:
    """Return how a figure of a unit is printed."""
    return ".3f" if unit == "1" else ".3g"


def shape_tables(rows: Rows, scans: Sequence[str], scheme: LabelScheme) -> list[Section]:
    """Lay out surface and topology; nothing where they were not measured.

    Args:
        rows: The tidy table.
        scans: Names of the scans.
        scheme: The classes.

    Returns:
        At most two sections.
    """
    found = {(str(r["scan"]), str(r["class"]), str(r["metric"])): r for r in rows}
    sections = []
    for heading, groups, text in (
        ("Surface", (_DISTANCES,), _SURFACE),
        ("Topology", (_COUNTS, _LINES), _TOPOLOGY),
    ):
        tables = [_shape_table(found, metrics, scans, scheme) for metrics in groups]
        blocks: list[Block] = [table for table in tables if table is not None]
        if blocks:
            sections.append(Section(heading, [*blocks, Text(text)]))
    return sections


def _shape_table(
    found: Mapping[tuple[str, str, str], Mapping[str, object]],
    metrics: Sequence[str],
    scans: Sequence[str],
    scheme: LabelScheme,
) -> Table | None:
    used = [m for m in metrics if any(key[2] == m for key in found)]
    lines: list[list[Cell | str]] = []
    for scan in scans:
        for c in scheme.classes[1:]:
            values = [found.get((scan, c.name, m)) for m in used]
            if metrics is _DISTANCES:  # the tolerance is one for all classes
                values[-1:] = [found.get((scan, "all", used[-1]))] if used else []
            if used and any(r for r in values[: len(used) - (metrics is _DISTANCES)]):
                cells: list[Cell | str] = [scan, class_cell(scheme, c.value)]
                lines.append([*cells, *(_cell(m, r) for m, r in zip(used, values, strict=True))])
    return Table(["scan", "class", *(_short(m) for m in used)], lines) if lines else None


_DISTANCES = ("assd", "hd95", "nsd", "surface_tolerance")
_COUNTS = ("truth_objects", "predicted_objects", "truth_euler", "predicted_euler", "conn_d_error")
_LINES = ("centreline_found", "centreline_right", "cldice")

_SURFACE = [
    "Surface distance: mean distance of the surface voxels of truth and labels to the other "
    "surface. Hausdorff 95 %: 95 % of each surface are at most so far from the other. Surface "
    "Dice: part of both surfaces that lies within the tolerance of the other. Where a bone is cut "
    "by the edge of the scan there is no surface."
]
_TOPOLOGY = [
    "Objects: connected parts (neighbours by a corner count). Euler number: objects − tunnels + "
    "cavities. Conn.D, error: connections of the largest object with its cavities filled, labels "
    "against truth. Centre-line found: part of the truth's centre-lines that lies in labelled "
    "bone: the rest are trabeculae that were lost. Centre-line right: part of the labels' "
    "centre-lines that lies in true bone: the rest was invented, or joins what is apart. clDice "
    "is their harmonic mean."
]

_SHORT = {
    "truth_objects": "objects, true",
    "predicted_objects": "labelled",
    "truth_euler": "Euler number, true",
    "predicted_euler": "labelled",
    "surface_tolerance": "tolerance",
}


def _short(metric: str) -> str:
    return _SHORT.get(metric) or metric_label(metric, "1")


def _cell(metric: str, r: Mapping[str, object] | None) -> Cell:
    if r is None:
        return number(None)
    if metric == "conn_d_error":
        return number(r["value"], "+.1%")
    whole = metric.endswith(("_objects", "_euler"))
    unit = {"um": " µm", "voxels": " vx"}.get(str(r["unit"]), "")
    text = figure_text(r["value"], ",.0f" if whole else form_of(r["unit"]))
    known = as_number(r["value"]) == as_number(r["value"])
    return Cell(text + (unit if known else ""), True)


def sure_tables(intervals: Rows, specimens: Rows, caution: str) -> list[Section]:
    """Lay out how sure the means are; nothing with a single scan.

    Args:
        intervals: Means over scans with their intervals.
        specimens: Means of each specimen.
        caution: What the intervals are worth.

    Returns:
        At most one section.
    """
    by_key = {(str(r["metric"]), str(r["class"])): r for r in intervals}
    keys = [key for key in _SURE if key in by_key]
    if not keys or max(int(as_number(by_key[k]["scans"])) for k in keys) < 2:
        return []
    lines: list[list[Cell | str]] = []
    for key in keys:
        r = by_key[key]
        cell = with_interval(r["value"], r["low"], r["high"], form_of(r["unit"]))
        counts = [number(r[k], ".0f") for k in ("scans", "specimens")]
        lines.append([metric_label(key[0], r["unit"]), key[1], cell, *counts])
    head = ["metric", "class", "mean over scans", "scans", "specimens"]
    blocks: list[Block] = [Text([caution]), Table(head, lines)]
    names = list(dict.fromkeys(str(r["specimen"]) for r in specimens))
    if len(names) < max(int(as_number(by_key[k]["scans"])) for k in keys):
        found = {(r["specimen"], r["metric"], r["class"]): r for r in specimens}
        table: list[list[Cell | str]] = [
            [name, *(number(found[name, *key]["value"]) for key in keys[:4])] for name in names
        ]
        head = ["specimen", *(f"{metric_label(m, '1')}, {c}" for m, c in keys[:4])]
        blocks.append(Table(head, table, "Means over the scans of each specimen."))
    return [Section("How sure the means are", blocks)]


def trimmed(first: Picture, second: Picture) -> tuple[Picture, Picture]:
    """Cut the paper off around two pictures, both alike, so that a small bone is seen large.

    Args:
        first: uint8 (height, width, 3), white where there is nothing.
        second: The same shape.

    Returns:
        The parts that hold what is drawn in either, with a rim; all if there is nothing.
    """
    seen = ((first != _PAPER) | (second != _PAPER)).any(axis=2)
    if not seen.any():
        return first, second
    part = []
    for axis in range(2):
        at = np.flatnonzero(seen.any(axis=1 - axis))
        part.append(slice(max(0, int(at[0]) - _RIM), int(at[-1]) + 1 + _RIM))
    rows, columns = part
    return first[rows, columns], second[rows, columns]


def shape_sections(shapes: Sequence[ScanShape], scheme: LabelScheme) -> list[Section]:
    """Lay out planes to leaf through, and surfaces.

    Args:
        shapes: The scans.
        scheme: The classes.

    Returns:
        At most two sections.
    """
    blocks: list[Block] = []
    for shape in shapes:
        for axis, planes in shape.planes.items():
            found = stack(f"{shape.name} · {_AXES[axis]}", planes, scheme=scheme, axis=axis)
            if found is not None:
                blocks.append(found)
    several = any(len(shape.planes) > 1 for shape in shapes)
    heading = "Three planes" if several else "Slices to leaf through"
    sections = [Section(heading, blocks)] if blocks else []
    drawn: list[Block] = []
    for shape in shapes:
        if shape.surfaces is None:
            continue
        panels = []
        truth, labels = trimmed(*shape.surfaces)
        for label, picture, text, colour in (
            ("Truth", truth, "missed by the labels", pictures.MISSED),
            ("Labels", labels, "not in the truth", pictures.FALSE),
        ):
            uri = pictures.data_uri(picture)
            height, width = picture.shape[:2]
            panels.append(Panel(label, uri, width, height, None, [(text, colour)]))
        drawn.append(Panels(shape.name, panels))
    if drawn:
        text = "The surface of the bone, z upwards, at reduced resolution: finest parts may fade."
        sections.append(Section("Surface of the bone", [Text([text]), *drawn]))
    return sections


def sheet_section(items: Sequence[tuple[str, SlicePicture]], scheme: LabelScheme) -> Section:
    """Lay out the contact sheet.

    Args:
        items: Caption and slice of each scan, worst first.
        scheme: The classes.

    Returns:
        The section.
    """
    text = "The labels of every scan, lowest bone IoU first; the slice with the median bone IoU."
    return Section("Contact sheet", [Text([text]), sheet(items, scheme=scheme)])


def methods_section(paragraphs: Sequence[str]) -> Section:
    """Lay out the paragraph for the methods section.

    Args:
        paragraphs: The text.

    Returns:
        The section.
    """
    hint = "To be pasted into a paper; what osteon cannot know stands as [FILL IN]."
    return Section("Methods paragraph", [Text([hint]), Text(paragraphs)])
