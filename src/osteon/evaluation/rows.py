"""Rows of the tidy table, and its plain-text form."""

from __future__ import annotations

import math

from osteon.evaluation.files import Row
from osteon.labels import LabelScheme
from osteon.metrics import MEAN_CLASS, Counts, Scores, mean_defined


def row(
    scan: str, name: str, metric: str, value: float, *, unit: str = "1", n: int | None = None
) -> Row:
    """Make a row of the tidy table; ``n`` is 0 or 1 where the value is no mean."""
    if n is None:
        n = 0 if math.isnan(value) else 1
    return {"scan": scan, "class": name, "metric": metric, "value": value, "unit": unit, "n": n}


def score_rows(scan: str, values: dict[str, Scores], scheme: LabelScheme) -> list[Row]:
    """Make the rows of one scan's scores: each class, then their mean."""
    rows = []
    for metric, per_class in values.items():
        rows += [row(scan, c.name, metric, float(per_class[c.value])) for c in scheme.classes]
        mean, n = mean_defined(per_class)
        rows.append(row(scan, MEAN_CLASS, metric, mean, n=n))
    return rows


def size_rows(
    scan: str, confusion: Counts, voxel_mm3: float | None, scheme: LabelScheme
) -> list[Row]:
    """Make the rows of true, predicted, missed and false voxels, and mm³ where known."""
    rows = []
    for c in scheme.classes:
        true, predicted = int(confusion[c.value].sum()), int(confusion[:, c.value].sum())
        hits = int(confusion[c.value, c.value])
        sizes = {
            "truth": true,
            "predicted": predicted,
            "missed": true - hits,
            "false": predicted - hits,
        }
        rows += [row(scan, c.name, f"{k}_voxels", n, unit="voxels") for k, n in sizes.items()]
        if voxel_mm3 is not None:
            rows += [
                row(scan, c.name, f"{k}_mm3", n * voxel_mm3, unit="mm3") for k, n in sizes.items()
            ]
    return rows


def aligned(cells: list[list[str]]) -> list[str]:
    """Align cells for printing: the first column to the left, the others to the right."""
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]
