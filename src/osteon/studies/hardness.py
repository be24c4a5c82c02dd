"""Which scans are hard, and what sets them apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, spearmanr

Row = dict[str, Any]
#: Fewer specimens than this show no relation that could be told from chance.
FEWEST = 6
#: Level of the intervals, and of what is called a relation.
LEVEL = 0.95
#: Columns of :func:`hard_scans` that may set scans apart begin so.
TRAITS = ("voxel_um", "contrast_", "share_")

_Floats = npt.NDArray[np.float64]


def hard_scans(
    scans: Sequence[Mapping[str, Any]], traits: Mapping[str, Mapping[str, float]] | None = None
) -> list[Row]:
    """Average each validation scan over the runs that measured it, the hardest first.

    Args:
        scans: A row a run and scan: ``scan``, ``specimen``, ``mean_iou``, ``iou_<class>``,
            ``voxels_<class>``.
        traits: Name of a scan → more that is known of it.

    Returns:
        A row a scan: mean and spread of its IoU over the runs, IoU of each class, its traits, and
        the share of its labelled voxels that each class has.
    """
    out = []
    for name in dict.fromkeys(str(row["scan"]) for row in scans):
        own = [row for row in scans if str(row["scan"]) == name]
        row: Row = {"scan": name, "specimen": own[0].get("specimen", ""), "runs": len(own)}
        for key in own[0]:
            if key == "mean_iou" or key.startswith("iou_"):
                row[key] = _mean([float(r[key]) for r in own])
        scores = [float(r["mean_iou"]) for r in own]
        row["sd"] = float(np.std(scores, ddof=1)) if len(scores) > 1 else math.nan
        row |= (traits or {}).get(name, {})
        voxels = {k: float(v) for k, v in own[0].items() if k.startswith("voxels_")}
        total = sum(voxels.values())
        for key, value in voxels.items():
            share = value / total if total else math.nan
            row[f"share_{key.removeprefix('voxels_')}"] = share
        out.append(row)
    return sorted(out, key=lambda row: row["mean_iou"])


def trait_names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of what may set scans apart.

    Args:
        rows: From :func:`hard_scans`.
    """
    return list(dict.fromkeys(key for row in rows for key in row if key.startswith(TRAITS)))


def relations(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Relate the IoU of scans to what they are like, by Spearman's rank correlation.

    Scans of one specimen are no independent cases: a specimen counts once, with the means of its
    scans. The intervals are those of Bonett & Wright (2000, Psychometrika 65:23–28): Fisher's
    z with the variance (1 + ρ²/2) / (n − 3). p is corrected for the number of properties by Holm's
    method (1979, Scand J Stat 6:65–70).

    Args:
        rows: From :func:`hard_scans`.

    Returns:
        A row a property: ``rho``, ``low``, ``high``, ``p`` (two-sided, corrected), ``specimens``;
        none of those with fewer than FEWEST specimens or without any spread.
    """
    out: list[Row] = []
    for name in trait_names(rows):
        used = _by_specimen(rows, name)
        if len(used) < FEWEST or np.ptp(used[:, 0]) == 0 or np.ptp(used[:, 1]) == 0:
            continue
        found = spearmanr(used[:, 0], used[:, 1])
        rho = float(found.statistic)
        low, high = interval(rho, len(used))
        out.append(
            {"property": name, "rho": rho, "low": low, "high": high, "p": float(found.pvalue)}
            | {"specimens": len(used)}
        )
    for row, p in zip(out, holm([row["p"] for row in out]), strict=True):
        row["p"] = p
    return out


def interval(rho: float, n: int) -> tuple[float, float]:
    """Return the interval of a rank correlation; see :func:`relations`.

    Args:
        rho: Spearman's ρ.
        n: Cases, 4 at least.
    """
    if abs(rho) >= 1:
        return rho, rho
    half = float(norm.ppf((1 + LEVEL) / 2)) * math.sqrt((1 + rho**2 / 2) / (n - 3))
    return math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)


def holm(values: Sequence[float]) -> list[float]:
    """Correct p values for their number by Holm's step-down method.

    Args:
        values: The p values.

    Returns:
        The corrected ones, in the same order.
    """
    order = sorted(range(len(values)), key=values.__getitem__)
    out, highest = [0.0] * len(values), 0.0
    for rank, at in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[at]))
        out[at] = highest
    return out


def _by_specimen(rows: Sequence[Mapping[str, Any]], name: str) -> _Floats:
    """(specimen, 2): means of a property and of the IoU over the scans of each specimen."""
    together: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        pair = float(row.get(name, math.nan)), float(row["mean_iou"])
        if all(map(math.isfinite, pair)):
            together.setdefault(str(row["specimen"] or row["scan"]), []).append(pair)
    return np.array([np.mean(pairs, axis=0) for pairs in together.values()], np.float64)


def _mean(values: Sequence[float]) -> float:
    finite = [v for v in values if math.isfinite(v)]
    return float(np.mean(finite)) if finite else math.nan
