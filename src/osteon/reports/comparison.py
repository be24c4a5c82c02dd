"""The report of a comparison of several evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from osteon.reports.blocks import (
    Block,
    Cell,
    Figure,
    Folded,
    Notes,
    Section,
    Table,
    Text,
    as_number,
    figure_text,
    number,
)
from osteon.reports.common import record_section
from osteon.reports.evaluation_parts import Rows, form_of, metric_label, with_interval
from osteon.reports.figures import paired_values
from osteon.reports.page import write_simple_report

#: Metrics and classes that are shown first; the rest is folded away.
_HEAD = (
    ("iou", "bone"),
    ("iou", "mean"),
    ("dice", "bone"),
    ("assd", "bone"),
    ("hd95", "bone"),
    ("nsd", "bone"),
    ("cldice", "bone"),
    ("conn_d_error", "bone"),
)


@dataclass(frozen=True)
class ComparisonReport:
    """What the report of a comparison shows.

    Attributes:
        models: Names, in their order.
        scores: Mean of each model, metric and class with its interval.
        differences: Paired differences of every two models.
        by_scan: Every figure of every model and scan.
        summary: Sentences below the title.
        notes: What the reader must know of the statistics.
        versions: Versions of the software, and the machine.
        files: What was read.
    """

    models: Sequence[str]
    scores: Rows
    differences: Rows
    by_scan: Rows
    summary: Sequence[str] = ()
    notes: Sequence[str] = ()
    versions: Mapping[str, object] = field(default_factory=dict)
    files: Mapping[str, object] = field(default_factory=dict)


def write_comparison_report(
    path: str | Path, data: ComparisonReport, *, overwrite: bool = False
) -> None:
    """Write the report of a comparison as one HTML file.

    Args:
        path: The target, ``.html``; written beside it and renamed.
        data: What it shows.
        overwrite: Replace an existing file.

    Raises:
        OutputError: If the file exists or cannot be written.
    """
    keys = list(dict.fromkeys((str(r["metric"]), str(r["class"])) for r in data.scores))
    head = [key for key in _HEAD if key in keys] or keys[:4]
    rest = [key for key in keys if key not in head]
    brackets = Text(
        [
            "In brackets: 95 % bootstrap interval over specimens (percentile method). – : no "
            "value. Differences are the first-named model minus the other, scan by scan."
        ]
    )
    scores: list[Block] = [brackets, _scores(data, head)]
    differences: list[Block] = [_differences(data, head), Notes(data.notes)]
    if rest:
        scores.append(Folded("All other metrics and classes", [_scores(data, rest)]))
        differences.append(Folded("All other metrics and classes", [_differences(data, rest)]))
    sections = [
        Section("Scores", scores),
        Section("Paired differences", differences),
        Section("Scan by scan", _by_scan(data, head)),
        record_section(settings={}, versions=data.versions, files=data.files),
    ]
    write_simple_report(
        path,
        title="Comparison of " + ", ".join(data.models),
        sections=sections,
        summary=data.summary,
        overwrite=overwrite,
    )


def _scores(data: ComparisonReport, keys: Sequence[tuple[str, str]]) -> Table:
    found = {(r["metric"], r["class"], r["model"]): r for r in data.scores}
    rows: list[list[Cell | str]] = []
    for metric, name in keys:
        first = found[metric, name, data.models[0]]
        cells: list[Cell | str] = [metric_label(metric, first["unit"]), name]
        for model in data.models:
            r = found[metric, name, model]
            cells.append(with_interval(r["value"], r["low"], r["high"], form_of(r["unit"])))
        cells += [number(first["scans"], ".0f"), number(first["specimens"], ".0f")]
        rows.append(cells)
    return Table(["metric", "class", *data.models, "scans", "specimens"], rows)


def _differences(data: ComparisonReport, keys: Sequence[tuple[str, str]]) -> Table:
    rows: list[list[Cell | str]] = []
    for key in keys:
        for r in data.differences:
            if (r["metric"], r["class"]) != key:
                continue
            sign = "+" + form_of(r["unit"])
            better = r["better"] if r["better"] is not None else float("nan")
            worse = r["worse"] if r["worse"] is not None else float("nan")
            rows.append(
                [
                    metric_label(key[0], r["unit"]),
                    key[1],
                    f"{r['model']} − {r['against']}",
                    with_interval(r["difference"], r["low"], r["high"], sign),
                    number(better, ".0f"),
                    number(worse, ".0f"),
                    Cell(figure_text(r["p"], ".3g"), True, str(r["test"])),
                    *([number(r["p_holm"], ".3g")] if len(data.models) > 2 else []),
                ]
            )
    head = ["metric", "class", "models", "difference", "better in", "worse in", "p"]
    if len(data.models) > 2:
        head.append("p (Holm)")
    return Table(head, rows, narrow=True)


def _by_scan(data: ComparisonReport, head: Sequence[tuple[str, str]]) -> list[Block]:
    blocks: list[Block] = []
    scans = list(dict.fromkeys(str(r["scan"]) for r in data.by_scan))
    for metric, name in head[:2]:
        values = {
            (str(r["model"]), str(r["scan"])): as_number(r["value"])
            for r in data.by_scan
            if (r["metric"], r["class"]) == (metric, name)
        }
        unit = next(r["unit"] for r in data.by_scan if r["metric"] == metric)
        label = f"{metric_label(metric, unit)}, {name}"
        lines = {scan: [values[m, scan] for m in data.models] for scan in scans}
        caption = f"{label}: a line a scan, from model to model."
        blocks.append(Figure(paired_values(lines, models=data.models, label=label), caption))
        rows: list[list[Cell | str]] = [
            [scan, *(number(v, form_of(unit)) for v in line)] for scan, line in lines.items()
        ]
        blocks.append(Folded(f"{label}, as a table", [Table(["scan", *data.models], rows)]))
    return blocks
