"""The report of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from osteon.labels import BONE_PORES, LabelScheme
from osteon.metrics import MEAN_CLASS, MEAN_SCANS, POOLED_SCANS
from osteon.reports.blocks import (
    Block,
    Cell,
    Figure,
    Notes,
    Section,
    Table,
    Text,
    Tiles,
    as_number,
    figure_text,
    number,
)
from osteon.reports.common import class_cell, picture_panels, record_section
from osteon.reports.evaluation_measures import measure_sections
from osteon.reports.evaluation_parts import (
    Rows,
    ScanShape,
    methods_section,
    shape_sections,
    shape_tables,
    sheet_section,
    sure_tables,
)
from osteon.reports.figures import MAX_SCANS, slice_curves
from osteon.reports.page import write_simple_report
from osteon.reports.pictures import SlicePicture
from osteon.tables.metrics import METRICS

_MEANS = (
    "A score is made from the voxels of a whole scan: true positives, false positives and false "
    "negatives of a class are summed over all its slices before anything is divided. A mean IoU is "
    "the mean over the classes that occur in the scan, then the mean over scans, each scan "
    "counting the same. “Pooled” counts the voxels of all scans together, so that large scans "
    "weigh more. Nothing is averaged over slices. A class that is in neither truth nor labels has "
    "no score (–) and is left out; one that is in only one of them scores 0."
)


@dataclass(frozen=True)
class EvaluationReport:
    """What the report of an evaluation shows.

    Attributes:
        title: The heading of the page.
        rows: The tidy table: ``scan``, ``class``, ``metric``, ``value``, ``unit``, ``n``, with
            the rows for the mean over scans and the pooled voxels.
        confusion: int64 (K, K), voxels of all scans, rows true classes; None: not shown.
        scheme: The classes.
        summary: Sentences below the title.
        warnings: What the reader must know before the rest.
        notes: What the reader of the scores should know (absent classes, unlabelled voxels).
        slices: Name of the scan → float64 (z, K): IoU of each slice, NaN where a class is absent.
        pictures: Slices to show.
        measures: Measures of truth and labels with their errors, one row a scan and measure.
        intervals: Means over scans with bootstrap intervals over specimens.
        caution: What those intervals are worth.
        specimens: Means of each specimen; shown where a specimen has several scans.
        shapes: What to leaf through and the surfaces, by scan.
        sheet: Caption and slice of each scan, worst first; shown for two scans or more.
        methods: Paragraphs for the methods section of a paper.
        settings: Every setting, nested.
        versions: Versions of the software, and the machine.
        files: What was read and written, with hashes.
    """

    title: str
    rows: Rows
    confusion: npt.NDArray[np.int64] | None = None
    scheme: LabelScheme = BONE_PORES
    summary: Sequence[str] = ()
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()
    slices: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    pictures: Sequence[SlicePicture] = ()
    measures: Rows = ()
    intervals: Rows = ()
    caution: str = ""
    specimens: Rows = ()
    shapes: Sequence[ScanShape] = ()
    sheet: Sequence[tuple[str, SlicePicture]] = ()
    methods: Sequence[str] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    versions: Mapping[str, object] = field(default_factory=dict)
    files: Mapping[str, object] = field(default_factory=dict)


class _Lookup:
    """Finds figures in the tidy table."""

    def __init__(self, rows: Rows):
        self._rows = {(str(r["scan"]), str(r["class"]), str(r["metric"])): r for r in rows}
        names = list(dict.fromkeys(str(row["scan"]) for row in rows))
        self.scans = [name for name in names if name not in (MEAN_SCANS, POOLED_SCANS)]

    def value(self, scan: str, name: str, metric: str) -> object:
        return self._rows.get((scan, name, metric), {}).get("value")

    def n(self, scan: str, name: str, metric: str) -> object:
        return self._rows.get((scan, name, metric), {}).get("n")

    def has(self, metric: str) -> bool:
        return any(key[2] == metric for key in self._rows)


def write_evaluation_report(
    path: str | Path, data: EvaluationReport, *, overwrite: bool = False
) -> None:
    """Write the report of an evaluation as one HTML file.

    Args:
        path: The target, ``.html``; written beside it and renamed.
        data: What it shows.
        overwrite: Replace an existing file.

    Raises:
        OutputError: If the file exists or cannot be written.
    """
    find = _Lookup(data.rows)
    result: list[Block] = [_tiles(data, find), Text([_MEANS])]
    if data.notes:
        result.append(Notes(data.notes))
    sections = [Section("Result", result), Section("Scores by scan", _score_tables(data, find))]
    sections += measure_sections(data.measures)
    sections += shape_tables(data.rows, find.scans, data.scheme)
    sections += sure_tables(data.intervals, data.specimens, data.caution)
    if data.pictures:
        text = Text(["In the map of disagreement the scan is dimmed and only errors are coloured."])
        panels = [picture_panels(p, scheme=data.scheme) for p in data.pictures]
        sections.append(Section("Slices", [text, *panels]))
    sections += shape_sections(data.shapes, data.scheme)
    if len(data.sheet) > 1:
        sections.append(sheet_section(data.sheet, data.scheme))
    if data.slices:
        sections.append(_by_slice(data))
    if data.confusion is not None:
        sections.append(Section("Confusion matrix", [_confusion(data.confusion, data.scheme)]))
    sections.append(Section("Voxels and volumes", [_sizes(data, find)]))
    if data.methods:
        sections.append(methods_section(data.methods))
    sections.append(
        record_section(settings=data.settings, versions=data.versions, files=data.files)
    )
    write_simple_report(
        path,
        title=data.title,
        sections=sections,
        summary=data.summary,
        warnings=data.warnings,
        overwrite=overwrite,
    )


def _tiles(data: EvaluationReport, find: _Lookup) -> Tiles:
    scans = "scan" if len(find.scans) == 1 else "scans"

    def tile(label: str, name: str, metric: str, note: str) -> tuple[str, str, str]:
        text = figure_text(find.value(MEAN_SCANS, name, metric), ".3f")
        n = find.n(MEAN_SCANS, name, metric)
        return label, text, note.format(n=n) if n else "in no scan"

    tiles = [tile("Mean IoU", MEAN_CLASS, "iou", f"over classes, then over {{n}} {scans}")]
    if "bone" in data.scheme.names:
        tiles.append(tile("Bone IoU", "bone", "iou", f"over {{n}} {scans}"))
        tiles.append(tile("Bone Dice", "bone", "dice", f"over {{n}} {scans}"))
    if len(find.scans) > 1:
        pooled = figure_text(find.value(POOLED_SCANS, MEAN_CLASS, "iou"), ".3f")
        tiles.append(("Pooled mean IoU", pooled, "voxels of all scans together"))
    return Tiles(tiles)


def _score_tables(data: EvaluationReport, find: _Lookup) -> list[Block]:
    labels = {row.name: str(row.capabilities.get("label", row.name)) for row in METRICS}
    labels = {
        name: label
        for name, label in labels.items()
        if METRICS.row(name).capabilities["source"] == "confusion"
        and METRICS.row(name).capabilities["per"] == "class"
    }
    metrics = [name for name in labels if find.has(name)]
    names = [MEAN_CLASS, *sorted(data.scheme.names, key=lambda name: name != "bone")]
    lines = list(find.scans)
    if len(lines) > 1:
        lines += [MEAN_SCANS, POOLED_SCANS]
    strong = range(len(find.scans), len(lines))
    tables: list[Block] = []
    # Two metrics a table: with three classes that still fits the width of a printed page.
    for pair in (metrics[i : i + 2] for i in range(0, len(metrics), 2)):
        rows: list[list[Cell | str]] = [
            [line, *(number(find.value(line, c, m)) for m in pair for c in names)] for line in lines
        ]
        groups = [("", 1), *((labels[m], len(names)) for m in pair)]
        head = ["scan", *(c for _ in pair for c in names)]
        tables.append(Table(head, rows, groups=groups, strong=list(strong)))
    meaning = [f"{labels[m]}: {METRICS.row(m).help}." for m in metrics]
    return [*tables, Text([*meaning, "tp, fp, fn: voxels of the class found, false and missed."])]


def _by_slice(data: EvaluationReport) -> Section:
    caption = (
        "IoU of each slice by itself, to show where the errors are. In slices with little of a "
        "class a few voxels move it far; a gap: the class is in neither truth nor labels there."
    )
    if len(data.slices) > MAX_SCANS:
        caption += f" The first {MAX_SCANS} of {len(data.slices)} scans are drawn."
    return Section("IoU by slice", [Figure(slice_curves(data.slices, scheme=data.scheme), caption)])


def _confusion(counts: npt.NDArray[np.int64], scheme: LabelScheme) -> Table:
    rows: list[list[Cell | str]] = []
    for c in scheme.classes:
        total = int(counts[c.value].sum())
        cells: list[Cell | str] = [class_cell(scheme, c.value)]
        for count in counts[c.value]:
            share = int(count) / total if total else None
            note = "" if share is None else f"{share:.2%}"
            cells.append(number(int(count), ",", note=note, shade=0.35 * (share or 0.0)))
        rows.append([*cells, number(total, ",")])
    head = ["true class", *scheme.names, "all"]
    groups = [("", 1), ("labelled as", len(scheme)), ("", 1)]
    caption = (
        "Voxels of all scans; in small print the share of the true class (rows add up to 100 %)."
    )
    return Table(head, rows, caption, groups=groups)


def _sizes(data: EvaluationReport, find: _Lookup) -> Table:
    volumes = find.has("truth_mm3")
    parts = ("truth", "predicted", "missed", "false")
    rows: list[list[Cell | str]] = []
    for scan in find.scans:
        for c in data.scheme.classes:
            cells: list[Cell | str] = [
                scan if c.value == 0 else "",
                class_cell(data.scheme, c.value),
            ]
            cells += [number(find.value(scan, c.name, f"{p}_voxels"), ",.0f") for p in parts]
            true, found = (
                as_number(find.value(scan, c.name, f"{p}_voxels")) for p in ("truth", "predicted")
            )
            cells.append(number(found / true - 1 if true else None, "+.1%"))
            if volumes:
                cells += [number(find.value(scan, c.name, f"{p}_mm3"), ".4g") for p in parts]
            rows.append(cells)
    names = ["true", "labelled", "missed", "false"]
    head = ["scan", "class", *names, "difference"]
    groups = [("", 2), ("voxels", 5)]
    if volumes:
        head += names
        groups.append(("mm³", 4))
    caption = "Difference: labelled against true volume. Volumes where the voxel size is known."
    return Table(head, rows, caption, groups=groups, narrow=volumes)
