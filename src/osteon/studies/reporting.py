"""``osteon study report``: tables as CSV and one HTML page."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from osteon.errors import InputError
from osteon.files import finite, write_json, write_text
from osteon.reports.blocks import Block, Cell, Figure, Folded, Notes, Section, Table, Text, number
from osteon.reports.common import record_section
from osteon.reports.page import write_simple_report
from osteon.reports.study_figures import iou_against_cost, learning_curves
from osteon.studies.collecting import Collected, collect
from osteon.studies.hardness import hard_scans, relations
from osteon.studies.variance import Component, VarianceSplit

#: Below this validation IoU of the best epoch the first group has not learned its task.
CONVERGED = 0.9
_TINY = 1e-12


def report_study(path: Path) -> Path:
    """Write the tables and the report of a study, as far as it is; an earlier one is replaced.

    Args:
        path: The study's folder. ``tables/`` gets ``runs.csv``, ``scans.csv``, ``epochs.csv``,
            ``groups.csv``, ``hard_scans.csv``, ``variance.csv``; ``summary.json`` and
            ``report.html`` stand beside it.

    Returns:
        The report.

    Raises:
        InputError: If there is no study, or none of its runs is finished.
        OutputError: If something cannot be written.
    """
    found = collect(path)
    if not found.finished:
        raise InputError(
            "no run of this study is finished yet",
            where=path,
            mend="go on by: osteon study run STUDY.yaml --out " + str(path),
        )
    hard = hard_scans(found.scans)
    related = relations(hard)
    tables = path / "tables"
    tables.mkdir(exist_ok=True)
    for name, rows in (
        ("runs", found.runs),
        ("scans", found.scans),
        ("epochs", found.epochs),
        ("groups", found.groups),
        ("hard_scans", hard),
        ("variance", _variance_rows(found.splits)),
    ):
        write_text(tables / f"{name}.csv", _csv(rows))
    caution = conclusion(found)
    methods = _methods(found)
    write_json(
        path / "summary.json",
        finite(
            {
                "schema": 1,
                "kind": "study-summary",
                "groups": list(found.groups),
                "variance": _variance_rows(found.splits),
                "caution": caution,
                "methods": methods,
            }
        ),
    )
    sections = [
        Section("Scores", _scores(found)),
        Section("Folds and seeds", _spread(found)),
        Section("Scans", _scans(hard, related)),
        Section("IoU against cost", _costs(found)),
        Section("Learning curves", [Figure(learning_curves(_curves(found)))]),
        Section("Methods", [Text([methods])]),
        record_section(
            settings={},
            versions={**found.record.get("versions", {}), **found.record.get("machine", {})},
            files={"dataset": found.record.get("dataset"), "tables": "tables/*.csv"},
        ),
    ]
    write_simple_report(
        path / "report.html",
        title=f"Study {found.record.get('name')}",
        sections=sections,
        summary=[f"{len(found.finished)} of {len(found.runs)} runs are finished."],
        warnings=[text for text in (caution, *found.record.get("notes", [])) if text],
        overwrite=True,
    )
    return path / "report.html"


def conclusion(found: Collected) -> str | None:
    """Say that no conclusion can be drawn, where the first group has not converged.

    Args:
        found: The tables.

    Returns:
        A sentence; None if the first group's mean IoU reaches CONVERGED.
    """
    first = str(found.runs[0]["group"])
    score = next(row["mean_iou"] for row in found.groups if row["group"] == first)
    if score >= CONVERGED:
        return None
    reached = f"reaches a mean IoU of {score:.3f}" if math.isfinite(score) else "has no score"
    return (
        f"No conclusion is drawn from this study: its first group, {first}, {reached}, and below "
        f"{CONVERGED} it has not converged."
    )


def _scores(found: Collected) -> list[Block]:
    classes = [k for k in found.finished[0] if k.startswith("iou_")]
    rows: list[list[Cell | str]] = []
    for at, row in enumerate(found.groups, start=1):
        own = [r for r in found.finished if r["group"] == row["group"]]
        means = [_mean([r.get(key) for r in own]) for key in classes]
        rows.append(
            [
                number(at, ".0f"),
                str(row["group"]),
                Cell(_bracketed(row["mean_iou"], row["low"], row["high"]), number=True),
                number(row["sd"]),
                *(number(mean) for mean in means),
                number(row["finished"], ".0f"),
            ]
        )
    names = [key.removeprefix("iou_") for key in classes]
    head = ["rank", "group", "mean IoU", "SD of runs", *names, "runs"]
    notes = [
        "In brackets: 95 % bootstrap interval of the mean over folds (over seeds, where there are "
        "no folds). Groups whose intervals overlap are not told apart by this ranking.",
        "The score of a run is that of its best epoch by the same validation scans: it is a "
        "little too good, for all groups alike.",
    ]
    runs: list[list[Cell | str]] = [
        [str(r["run"]), str(r["status"]), *(number(r.get(k)) for k in ("mean_iou", *classes))]
        for r in found.runs
    ]
    every = Table(["run", "status", "mean IoU", *names], runs, narrow=True)
    return [Table(head, rows), Notes(notes), Folded("Every run", [every])]


def _spread(found: Collected) -> list[Block]:
    if not found.splits:
        return [Text(["Needs two folds and two seeds at least of a group, all finished."])]
    rows: list[list[Cell | str]] = []
    for name, split in found.splits.items():
        for word, part in _parts(split):
            rows.append([name, word, _sd(part), number(_share(split, part), ".0%")])
    text = (
        "Standard deviations of the mean IoU, by a two-way random-effects model without "
        "replication (Searle, Casella & McCulloch 1992); in brackets 95 % parametric bootstrap "
        "intervals. With few folds and seeds they are wide."
    )
    return [Table(["group", "from", "SD", "share of the variance"], rows), Text([text])]


def _scans(hard: Sequence[Mapping[str, Any]], related: Sequence[Mapping[str, Any]]) -> list[Block]:
    if not hard:
        return [Text(["No run has recorded its validation scans one by one."])]
    keys = [k for k in hard[0] if k.startswith(("iou_", "share_"))]
    rows: list[list[Cell | str]] = [
        [
            str(r["scan"]),
            str(r["specimen"]),
            number(r["mean_iou"]),
            number(r["sd"]),
            *(number(r.get(k), ".3f") for k in keys),
        ]
        for r in hard
    ]
    names = [k.replace("iou_", "IoU ").replace("share_", "share of ") for k in keys]
    head = ["scan", "specimen", "mean IoU", "SD of runs", *names]
    told = [
        f"{r['property'].replace('share_', 'share of ')}: Spearman's ρ with the mean IoU "
        f"{r['rho']:+.2f} (p = {r['p']:.2g}, {r['scans']} scans, not corrected for several tests)"
        for r in related
    ]
    return [
        Table(head, rows, "The hardest first.", narrow=True),
        Notes(told or ["Too few scans to say what sets the hard ones apart."]),
    ]


def _costs(found: Collected) -> list[Block]:
    rows: list[list[Cell | str]] = [
        [
            str(r["group"]),
            "yes" if r["pareto"] else "",
            number(r["mean_iou"]),
            number(r["gflops_per_patch"], ".1f"),
            number(r["parameters"] / 1e6, ".1f"),
            number(r["seconds_per_epoch"], ".1f"),
            number(r["seconds"] / 60, ".1f"),
            number(r["peak_memory_bytes"] / 2**30, ".2f"),
            number(r["gpu_memory_bytes"] / 2**30, ".2f"),
        ]
        for r in found.groups
    ]
    head = ["group", "front", "mean IoU", "GFLOPs a patch", "parameters (M)", "s an epoch"]
    head += ["min a fit", "memory (GiB)", "GPU (GiB)"]
    text = (
        "Means of the finished runs. front: no other group scores higher with no more operations. "
        "Times are those of the machine at that moment: other runs beside them make them longer."
    )
    return [Figure(iou_against_cost(found.groups)), Table(head, rows, narrow=True), Text([text])]


def _curves(found: Collected) -> dict[str, list[tuple[float, float]]]:
    out: dict[str, list[tuple[float, float]]] = {}
    for row in found.epochs:
        point = (float(row["epoch"]), float(row["val_mean_iou"]))
        out.setdefault(f"{row['group']}/{row['run']}", []).append(point)
    return out


def _methods(found: Collected) -> str:
    groups = list(dict.fromkeys(str(row["group"]) for row in found.runs))
    folds = {row["fold"] for row in found.runs if row["fold"] is not None}
    seeds = {row["seed"] for row in found.runs}
    divided = (
        f"{len(folds)}-fold cross-validation by specimen"
        if folds
        else "one division into training and validation by specimen, the same for all fits"
    )
    version = found.record.get("versions", {}).get("osteon", "")
    return (
        f"Networks were fitted with osteon {version}: {len(groups)} group(s) of settings, "
        f"{divided}, {len(seeds)} seed(s), {len(found.runs)} fits in all, of which "
        f"{len(found.finished)} were finished. Scores are IoU, mean over classes and then over "
        "validation scans, of the epoch with the best validation IoU. Intervals of means are 95 % "
        "percentile bootstrap intervals over folds or seeds. Variance components of folds and "
        "seeds were estimated by a two-way random-effects analysis of variance without replication."
    )


def _variance_rows(splits: Mapping[str, VarianceSplit]) -> list[dict[str, Any]]:
    return [
        {
            "group": name,
            "component": word,
            "variance": part.variance,
            "low": part.low,
            "high": part.high,
            "share": _share(split, part),
            "folds": split.folds,
            "seeds": split.seeds,
        }
        for name, split in splits.items()
        for word, part in _parts(split)
    ]


def _parts(split: VarianceSplit) -> list[tuple[str, Component]]:
    return [("fold", split.fold), ("seed", split.seed), ("residual", split.residual)]


def _share(split: VarianceSplit, part: Component) -> float:
    total = sum(one.variance for _, one in _parts(split))
    return part.variance / total if total > _TINY else math.nan


def _sd(part: Component) -> Cell:
    low, value, high = (math.sqrt(max(0.0, v)) for v in (part.low, part.variance, part.high))
    return Cell(_bracketed(value, low, high), number=True)


def _bracketed(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return "–"
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"{value:.4f}"
    return f"{value:.4f} [{low:.4f}, {high:.4f}]"


def _mean(values: Sequence[Any]) -> float:
    numbers = [float(v) for v in values if v is not None and math.isfinite(float(v))]
    return sum(numbers) / len(numbers) if numbers else math.nan


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
