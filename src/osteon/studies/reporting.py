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
from osteon.reports.blocks import Section, Text
from osteon.reports.common import record_section
from osteon.reports.page import write_simple_report
from osteon.studies.collecting import Collected, collect
from osteon.studies.hardness import hard_scans, relations
from osteon.studies.sections import (
    costs_section,
    curves_section,
    methods,
    parts,
    scans_section,
    scores_section,
    share,
    spread_section,
)
from osteon.studies.traits import scan_traits
from osteon.studies.variance import VarianceSplit

#: Below this validation IoU of the best epoch the first group has not learned its task.
CONVERGED = 0.9


def report_study(path: Path) -> Path:
    """Write the tables and the report of a study, as far as it is; an earlier one is replaced.

    Args:
        path: The study's folder. ``tables/`` gets ``runs.csv``, ``scans.csv``, ``epochs.csv``,
            ``groups.csv``, ``hard_scans.csv``, ``relations.csv``, ``variance.csv``;
            ``summary.json`` and ``report.html`` stand beside it.

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
    traits, missing = scan_traits(
        Path(str(found.record.get("dataset"))), sorted({str(r["scan"]) for r in found.scans})
    )
    hard = hard_scans(found.scans, traits)
    _write_tables(path / "tables", found, hard)
    _write_summary(path / "summary.json", found, hard)
    warnings = [text for text in (conclusion(found), *found.record.get("notes", [])) if text]
    write_simple_report(
        path / "report.html",
        title=f"Study {found.record.get('name')}",
        sections=_sections(found, hard, missing),
        summary=summary(found),
        warnings=warnings,
        overwrite=True,
    )
    return path / "report.html"


def _write_tables(folder: Path, found: Collected, hard: Sequence[Mapping[str, Any]]) -> None:
    folder.mkdir(exist_ok=True)
    for name, rows in (
        ("runs", found.runs),
        ("scans", found.scans),
        ("epochs", found.epochs),
        ("groups", found.groups),
        ("hard_scans", hard),
        ("relations", relations(hard)),
        ("variance", _variance_rows(found.splits)),
    ):
        write_text(folder / f"{name}.csv", _csv(rows))


def _write_summary(path: Path, found: Collected, hard: Sequence[Mapping[str, Any]]) -> None:
    data = {
        "schema": 1,
        "kind": "study-summary",
        "groups": list(found.groups),
        "variance": _variance_rows(found.splits),
        "relations": relations(hard),
        "caution": conclusion(found),
        "methods": methods(found),
    }
    write_json(path, finite(data))


def _sections(found: Collected, hard: Sequence[Mapping[str, Any]], missing: str) -> list[Section]:
    return [
        Section("Scores", scores_section(found)),
        Section("Folds and seeds", spread_section(found)),
        Section("Scans", scans_section(hard, missing)),
        Section("IoU against cost", costs_section(found)),
        Section("Learning curves", curves_section(found)),
        Section("Methods", [Text([methods(found)])]),
        record_section(
            settings={},
            versions={**found.record.get("versions", {}), **found.record.get("machine", {})},
            files={"dataset": found.record.get("dataset"), "tables": "tables/*.csv"},
        ),
    ]


def summary(found: Collected) -> list[str]:
    """Say what the study shows in a few sentences; what it cannot show is left out.

    Args:
        found: The tables.
    """
    said = [f"{len(found.finished)} of {len(found.runs)} runs are finished."]
    if conclusion(found) is not None:
        return said
    return [*said, *_ranking(found.groups), *_spread_in_words(found.splits)]


def _ranking(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    first = groups[0]
    said = f"mean IoU {first['mean_iou']:.3f}"
    if math.isfinite(first["low"]):
        said += f" [{first['low']:.3f}, {first['high']:.3f}]"
    if len(groups) == 1:
        return [f"{first['group']}: {said}."]
    rivals = [row for row in groups[1:] if not row["high"] < first["low"]]
    if any(not math.isfinite(row["low"]) for row in groups):
        rest = "Some groups have a single run: how much of the order is chance cannot be said."
    elif rivals:
        rest = f"{len(rivals)} of the {len(groups) - 1} others cannot be told from it."
    else:
        rest = "Its interval lies above all others."
    return [f"Highest: {first['group']}, {said}. {rest}"]


def _spread_in_words(splits: Mapping[str, VarianceSplit]) -> list[str]:
    return [
        f"{name}: standard deviation between folds {math.sqrt(split.fold.variance):.3f}, between "
        f"seeds {math.sqrt(split.seed.variance):.3f}, of the rest "
        f"{math.sqrt(split.residual.variance):.3f}."
        for name, split in splits.items()
    ]


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


def _variance_rows(splits: Mapping[str, VarianceSplit]) -> list[dict[str, Any]]:
    return [
        {
            "group": name,
            "component": word,
            "variance": part.variance,
            "low": part.low,
            "high": part.high,
            "share": share(split, part),
            "folds": split.folds,
            "seeds": split.seeds,
        }
        for name, split in splits.items()
        for word, part in parts(split)
    ]


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
