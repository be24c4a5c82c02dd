"""The sections of a study's report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from osteon.reports.blocks import NONE, Block, Cell, Figure, Folded, Notes, Table, Text, number
from osteon.reports.study_figures import iou_against_cost, iou_against_traits, learning_curves
from osteon.studies.collecting import Collected
from osteon.studies.hardness import FEWEST, LEVEL, relations, trait_names
from osteon.studies.variance import Component, VarianceSplit

_TINY = 1e-12
#: Groups that learning curves tell apart by colour and dash.
MOST_COLOURS = 10


def scores_section(found: Collected) -> list[Block]:
    """Rank the groups.

    Args:
        found: The tables.
    """
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
        "no folds). Groups whose intervals overlap are not told apart by this ranking."
        if any(_finite(row["low"]) for row in found.groups)
        else "A single run a group has no interval: small differences may be chance.",
        "The score of a run is that of its best epoch by the same validation scans: it is a "
        "little too good, for all groups alike.",
    ]
    runs: list[list[Cell | str]] = [
        [str(r["run"]), str(r["status"]), *(number(r.get(k)) for k in ("mean_iou", *classes))]
        for r in found.runs
    ]
    every = Table(["run", "status", "mean IoU", *names], runs, narrow=True)
    if _empty(rows, head.index("SD of runs")):
        head, rows = _without(head, rows, head.index("SD of runs"))
    return [Table(head, rows), *_by_setting(found), Notes(notes), Folded("Every run", [every])]


def spread_section(found: Collected) -> list[Block]:
    """Tell how much of the spread comes from folds and how much from seeds.

    Args:
        found: The tables.
    """
    if not found.splits:
        return [Text(["Needs two folds and two seeds at least of a group, all finished."])]
    rows: list[list[Cell | str]] = []
    for name, split in found.splits.items():
        for word, part in parts(split):
            rows.append([name, word, _sd(part), number(share(split, part), ".0%")])
    text = (
        "Standard deviations of the mean IoU, by a two-way random-effects model without "
        "replication (Searle, Casella & McCulloch 1992); in brackets 95 % parametric bootstrap "
        "intervals. With few folds and seeds they are wide."
    )
    return [Table(["group", "from", "SD", "share of the variance"], rows), Text([text])]


def scans_section(hard: Sequence[Mapping[str, Any]], missing: str) -> list[Block]:
    """Tell which scans are hard, and what goes with it.

    Args:
        hard: From :func:`osteon.studies.hardness.hard_scans`.
        missing: Why something is not known of them.
    """
    if not hard:
        return [Text(["No run has recorded its validation scans one by one."])]
    traits = {name: trait_label(name) for name in trait_names(hard)}
    known = {n: t for n, t in traits.items() if any(_finite(row.get(n)) for row in hard)}
    classes = [k for k in hard[0] if k.startswith("iou_")]
    # Shares are in the drawing and in the CSV: the table would not fit the page.
    shown = [name for name in known if not name.startswith("share_")]
    keys = [*classes, *shown]
    rows: list[list[Cell | str]] = [
        [
            str(r["scan"]),
            str(r["specimen"]),
            number(r["mean_iou"], ".3f"),
            number(r["sd"], ".3f"),
            *(number(r.get(k), ".3f" if k.startswith("iou_") else ".3g") for k in keys),
        ]
        for r in hard
    ]
    names = [f"IoU {k.removeprefix('iou_')}" for k in classes]
    head = ["scan", "specimen", "mean IoU", "SD of runs", *names, *map(_short, shown)]
    if all(r["specimen"] for r in hard) and len({r["specimen"] for r in hard}) == len(hard):
        head, rows = _without(head, rows, 1)  # a specimen each: the scan's name is enough
    caption = "Validation scans, means over the runs that measured them, the hardest first."
    blocks: list[Block] = [Table(head, rows, caption, narrow=True)]
    if known and len({r["specimen"] or r["scan"] for r in hard}) >= FEWEST:
        blocks.append(Figure(iou_against_traits(hard, known, ylabel="mean IoU"), "A point a scan."))
    related = relations(hard)
    if related:
        blocks.append(_related(related))
    return [*blocks, Notes([text for text in (*_told(hard, related), missing) if text])]


_Rows = list[list[Cell | str]]


def _without(head: list[str], rows: _Rows, at: int) -> tuple[list[str], _Rows]:
    """A table without one of its columns."""
    return head[:at] + head[at + 1 :], [row[:at] + row[at + 1 :] for row in rows]


def _empty(rows: _Rows, at: int) -> bool:
    """Whether a column holds no figure at all."""
    cells = [row[at] for row in rows]
    return all(isinstance(cell, Cell) and cell.text == NONE for cell in cells)


def _related(related: Sequence[Mapping[str, Any]]) -> Table:
    rows: list[list[Cell | str]] = [
        [
            trait_label(str(r["property"])),
            Cell(f"{r['rho']:+.2f} [{r['low']:+.2f}, {r['high']:+.2f}]", number=True),
            number(r["p"], ".2g"),
            number(r["specimens"], ".0f"),
        ]
        for r in related
    ]
    return Table(
        ["the mean IoU and", "Spearman's ρ", "p, corrected", "specimens"],
        rows,
        "In brackets 95 % intervals (Bonett & Wright 2000); p corrected by Holm's method for the "
        "number of rows. A specimen counts once.",
    )


def _told(hard: Sequence[Mapping[str, Any]], related: Sequence[Mapping[str, Any]]) -> list[str]:
    if not related:
        return ["Too few specimens, or all alike, to say what sets the hard scans apart."]
    sure = [row for row in related if row["p"] < 1 - LEVEL]
    if not sure:
        return ["None of these can be told from chance with so few specimens."]
    told = [
        f"Scans with a higher {trait_label(str(row['property']))} score "
        f"{'higher' if row['rho'] > 0 else 'lower'} (ρ = {row['rho']:+.2f})."
        for row in sure
    ]
    return [*told, "What goes with a score need not be its cause: these traits go together, too."]


def trait_label(name: str) -> str:
    """Return a trait of scans in words.

    Args:
        name: Its column.
    """
    if name == "voxel_um":
        return "voxel size (µm)"
    if name.startswith("contrast_"):
        return f"contrast bone–{name.removeprefix('contrast_')} (CNR)"
    return f"share of {name.removeprefix('share_')}"


def _short(name: str) -> str:
    """The heading of a trait's column."""
    if name == "voxel_um":
        return "voxel (µm)"
    return name.replace("contrast_", "CNR ")


def _finite(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def costs_section(found: Collected) -> list[Block]:
    """Set the scores against what the runs cost.

    Args:
        found: The tables.
    """
    rows: list[list[Cell | str]] = [
        [
            str(r["group"]).replace("_", " "),  # where a narrow column may break it
            "yes" if r["pareto"] else "",
            number(r["mean_iou"]),
            number(r["gflops_per_patch"], ".1f"),
            number(r["parameters"] / 1e6, ".1f"),
            number(r["seconds_per_epoch"], ".1f"),
            number(r["seconds"] / 60, ".1f"),
            number(r["peak_memory_bytes"] / 2**30, ".2f"),
            number(r["gpu_memory_bytes"] / 2**30, ".2f"),
            number(r["prediction_mvoxel_per_second"], ".2f"),
        ]
        for r in found.groups
    ]
    head = ["group", "front", "mean IoU", "GFLOPs", "params (M)", "s/epoch", "min/fit"]
    head += ["GiB", "GPU GiB", "Mvoxel/s"]
    for name in ("GPU GiB", "Mvoxel/s"):
        if _empty(rows, head.index(name)):
            head, rows = _without(head, rows, head.index(name))
    text = (
        "Means of the finished runs. front: no other group scores higher with no more operations. "
        "GFLOPs: of a patch, forward. GiB: memory at its peak. Mvoxel/s: speed of prediction, as "
        "voxels through the network in the fastest validation of a run, with reading and the loss. "
        "Times are those of the machine at that moment: other runs beside them make them longer."
    )
    blocks: list[Block] = [Table(head, rows, narrow=True), Text([text])]
    if len(found.groups) > 1:
        blocks.insert(0, Figure(iou_against_cost(found.groups)))
    return blocks


def curves_section(found: Collected) -> list[Block]:
    """Draw the learning curves.

    Args:
        found: The tables.
    """
    text = "Validation mean IoU after each epoch, a line a run."
    return [Figure(learning_curves(_curves(found)), text)]


def _curves(found: Collected) -> dict[str, list[tuple[float, float]]]:
    # Of a large grid the first setting alone: thirty colours cannot be told apart.
    first = next(iter(_settings(found)), None) if len(found.groups) > MOST_COLOURS else None
    colour = {str(row["run"]): str(row[first] if first else row["group"]) for row in found.runs}
    out: dict[str, list[tuple[float, float]]] = {}
    for row in found.epochs:
        point = (float(row["epoch"]), float(row["val_mean_iou"]))
        out.setdefault(f"{colour[str(row['run'])]}/{row['run']}", []).append(point)
    return out


def _settings(found: Collected) -> list[str]:
    """Settings that set the groups of a grid apart, by their dotted names."""
    names = [key for key in found.runs[0] if "." in key]
    return [n for n in names if len({str(row.get(n)) for row in found.runs}) > 1]


def _by_setting(found: Collected) -> list[Block]:
    """The mean over all groups with a value of one setting: a grid read along its edges."""
    names = _settings(found)
    rows: list[list[Cell | str]] = []
    for name in names:
        for value in dict.fromkeys(str(row[name]) for row in found.runs):
            own = [r["mean_iou"] for r in found.finished if str(r[name]) == value]
            scores = [float(v) for v in own if _finite(v)]
            if scores:
                figures = _mean(scores), min(scores), max(scores)
                rows.append(
                    [name, value, *(number(v) for v in figures), number(len(scores), ".0f")]
                )
    if len(names) < 2 or not rows:
        return []
    caption = "Means over all finished runs with a value of one setting, whatever the others are."
    head = ["setting", "value", "mean IoU", "lowest", "highest", "runs"]
    return [Table(head, rows, caption)]


def methods(found: Collected) -> str:
    """Return a paragraph for a methods section.

    Args:
        found: The tables.
    """
    groups = list(dict.fromkeys(str(row["group"]) for row in found.runs))
    folds = {row["fold"] for row in found.runs if row["fold"] is not None}
    seeds = {row["seed"] for row in found.runs}
    divided = (
        f"{len(folds)}-fold cross-validation by specimen"
        if folds
        else "one division into training and validation by specimen, the same for all fits"
    )
    version = found.record.get("versions", {}).get("osteon", "")
    said = [
        f"Networks were fitted with osteon {version}: {len(groups)} group(s) of settings, "
        f"{divided}, {len(seeds)} seed(s), {len(found.runs)} fits in all, of which "
        f"{len(found.finished)} were finished.",
        "Scores are IoU, mean over classes and then over validation scans, of the epoch with the "
        "best validation IoU.",
    ]
    if len(found.runs) > len(groups):
        said.append(
            "Intervals of means are 95 % percentile bootstrap intervals over folds or seeds."
        )
    if found.splits:
        said.append(
            "Variance components of folds and seeds were estimated by a two-way random-effects "
            "analysis of variance without replication."
        )
    return " ".join(said)


def parts(split: VarianceSplit) -> list[tuple[str, Component]]:
    """Name the components of a spread.

    Args:
        split: The spread.
    """
    return [("fold", split.fold), ("seed", split.seed), ("residual", split.residual)]


def share(split: VarianceSplit, part: Component) -> float:
    """Return the share of a component in the whole variance; NaN without any variance.

    Args:
        split: The spread.
        part: The component.
    """
    total = sum(one.variance for _, one in parts(split))
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
