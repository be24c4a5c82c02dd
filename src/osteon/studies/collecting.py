"""The folder of a study → tables: runs, scans, epochs, groups."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from osteon.datasets import Manifest
from osteon.errors import InputError
from osteon.studies.folder import StudyFolder
from osteon.studies.planning import Run
from osteon.studies.variance import VarianceSplit, variance_split
from osteon.workflows.record import read_json

Row = dict[str, Any]
#: Costs of a run that are shown, by their name in ``run.json``.
COSTS = (
    "parameters",
    "gflops_per_patch",
    "seconds",
    "prediction_mvoxel_per_second",
    "peak_memory_bytes",
    "gpu_memory_bytes",
)


@dataclass(frozen=True)
class Collected:
    """What a study has found so far.

    Attributes:
        record: The study's own record.
        runs: A row a planned run: group, fold, seed, status, scores, costs.
        scans: A row a finished run and validation scan.
        epochs: A row an epoch of each run.
        groups: A row a group of settings, the best first.
        splits: Group → its variance split, where it has folds × seeds in full.
    """

    record: Mapping[str, Any]
    runs: Sequence[Row]
    scans: Sequence[Row]
    epochs: Sequence[Row]
    groups: Sequence[Row]
    splits: Mapping[str, VarianceSplit]

    @property
    def finished(self) -> list[Row]:
        """The rows of the finished runs."""
        return [row for row in self.runs if row["status"] == "finished"]


def collect(path: Path) -> Collected:
    """Read what the runs of a study have recorded.

    Args:
        path: The study's folder.

    Returns:
        The tables; runs that are not finished have no scores.

    Raises:
        InputError: If there is no study, or a record is damaged.
    """
    folder = StudyFolder(path)
    record, planned = folder.load()
    rows = [_run_row(folder, run) for run in planned]
    specimens = _specimens(record)
    scans: list[Row] = []
    epochs: list[Row] = []
    for run, row in zip(planned, rows, strict=True):
        place = folder.run(run.name)
        about = {"run": run.name, "group": run.group, "fold": run.fold, "seed": run.seed}
        epochs += [{**about, **line} for line in _table(place / "log.csv")]
        if row["status"] == "finished":
            for line in _table(place / "validation.csv"):
                scans.append({**about, "specimen": specimens.get(str(line["scan"]), ""), **line})
    finished = [row for row in rows if row["status"] == "finished"]
    return Collected(record, rows, scans, epochs, _groups(rows), _splits(finished))


def _run_row(folder: StudyFolder, run: Run) -> Row:
    row: Row = {"run": run.name, "group": run.group, "fold": run.fold, "seed": run.seed}
    row |= dict(run.choices)
    row["status"] = folder.status(run.name)
    if row["status"] != "finished":
        return row
    record = read_json(folder.run(run.name) / "run.json")
    result, costs = record.get("result", {}), record.get("costs", {})
    best = result.get("best_epoch")
    history = _table(folder.run(run.name) / "log.csv")
    chosen = next((line for line in history if line.get("epoch") == best), {})
    row |= {"epochs": result.get("epochs"), "best_epoch": best}
    row |= {key.removeprefix("val_"): v for key, v in chosen.items() if "iou" in key}
    row |= {name: costs.get(name) for name in COSTS}
    times = costs.get("seconds_per_epoch") or []
    row["seconds_per_epoch"] = float(np.mean(times)) if times else None
    return row


def _groups(rows: Sequence[Row]) -> list[Row]:
    out = []
    for name in dict.fromkeys(str(row["group"]) for row in rows):
        own = [row for row in rows if row["group"] == name]
        done = [row for row in own if row["status"] == "finished"]
        scores = np.array([float(row.get("mean_iou", math.nan)) for row in done])
        scores = scores[np.isfinite(scores)]
        row: Row = {"group": name, "runs": len(own), "finished": len(done)}
        row["mean_iou"] = float(scores.mean()) if scores.size else math.nan
        row["sd"] = float(scores.std(ddof=1)) if scores.size > 1 else math.nan
        row["low"], row["high"] = _interval(done)
        for cost in (*COSTS, "seconds_per_epoch"):
            values = [float(r[cost]) for r in done if r.get(cost) is not None]
            row[cost] = float(np.mean(values)) if values else math.nan
        out.append(row)
    out.sort(key=lambda row: -row["mean_iou"] if math.isfinite(row["mean_iou"]) else math.inf)
    for row in out:
        row["pareto"] = _on_front(row, out)
    return out


def _interval(done: Sequence[Row]) -> tuple[float, float]:
    """Bootstrap interval of the mean over folds (over seeds, where there are no folds)."""
    from osteon.evaluation.intervals import bootstrap

    scores = [float(row.get("mean_iou", math.nan)) for row in done]
    by = [str(row["fold"] if row["fold"] is not None else f"seed {row['seed']}") for row in done]
    found = bootstrap(scores, by)
    return found.low, found.high


def _on_front(row: Row, rows: Sequence[Row]) -> bool:
    """Whether no other group is better at no more operations and no worse at fewer."""
    cost, score = row["gflops_per_patch"], row["mean_iou"]
    if not (math.isfinite(cost) and math.isfinite(score)):
        return False
    return not any(
        other["mean_iou"] >= score
        and other["gflops_per_patch"] <= cost
        and (other["mean_iou"] > score or other["gflops_per_patch"] < cost)
        for other in rows
        if other is not row
    )


def _splits(finished: Sequence[Row]) -> dict[str, VarianceSplit]:
    out = {}
    for name in dict.fromkeys(str(row["group"]) for row in finished):
        own = {(r["fold"], r["seed"]): r.get("mean_iou") for r in finished if r["group"] == name}
        folds = sorted({fold for fold, _ in own if fold is not None})
        seeds = sorted({seed for _, seed in own})
        cells = [[own.get((fold, seed)) for seed in seeds] for fold in folds]
        table = np.array(cells, np.float64)
        if table.ndim == 2 and min(table.shape) > 1 and np.isfinite(table).all():
            out[name] = variance_split(table)
    return out


def _specimens(record: Mapping[str, Any]) -> dict[str, str]:
    try:
        manifest = Manifest.load(Path(str(record.get("dataset"))))
    except InputError:  # a study can be read where its scans are not
        return {}
    return {row.name: row.specimen for row in manifest.scans}


def _table(path: Path) -> list[Row]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise InputError(f"the table cannot be read: {error}", where=path) from None
    return [{k: _value(v) for k, v in line.items()} for line in csv.DictReader(text.splitlines())]


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except (TypeError, ValueError):
            continue
    return text
