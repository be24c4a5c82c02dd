"""Which scans are hard, and what sets them apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr

Row = dict[str, Any]
#: Fewer scans than this show no relation that could be told from chance.
FEWEST = 5


def hard_scans(scans: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Average each validation scan over the runs that measured it, the hardest first.

    Args:
        scans: A row a run and scan: ``scan``, ``specimen``, ``mean_iou``, ``iou_<class>``,
            ``voxels_<class>``.

    Returns:
        A row a scan: mean and spread of its IoU over the runs, IoU of each class, and the share
        of its labelled voxels that each class has.
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
        voxels = {k: float(v) for k, v in own[0].items() if k.startswith("voxels_")}
        total = sum(voxels.values())
        for key, value in voxels.items():
            share = value / total if total else math.nan
            row[f"share_{key.removeprefix('voxels_')}"] = share
        out.append(row)
    return sorted(out, key=lambda row: row["mean_iou"])


def relations(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Relate the IoU of scans to what they are made of, by Spearman's rank correlation.

    Args:
        rows: From :func:`hard_scans`.

    Returns:
        A row a property: correlation with the mean IoU, p (two-sided, not corrected for the
        number of properties), number of scans; empty with fewer than FEWEST scans.
    """
    out: list[Row] = []
    names = [key for key in (rows[0] if rows else {}) if key.startswith("share_")]
    for name in names:
        pairs = [(float(r[name]), float(r["mean_iou"])) for r in rows]
        used = np.array([p for p in pairs if all(map(math.isfinite, p))])
        if len(used) < FEWEST or np.ptp(used[:, 0]) == 0 or np.ptp(used[:, 1]) == 0:
            continue
        found = spearmanr(used[:, 0], used[:, 1])
        row = {"property": name, "rho": float(found.statistic), "p": float(found.pvalue)}
        out.append({**row, "scans": len(used)})
    return out


def _mean(values: Sequence[float]) -> float:
    finite = [v for v in values if math.isfinite(v)]
    return float(np.mean(finite)) if finite else math.nan
