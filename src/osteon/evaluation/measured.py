"""Errors in measures of bone: rows of the tidy table, and what they say in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from osteon.evaluation.files import Row
from osteon.evaluation.rows import row
from osteon.tables.measures import MEASURES, term_of

if TYPE_CHECKING:
    from osteon.evaluation.result import Evaluation

#: Whose measures they are → beginning of the metric's name.
TRUTH, LABELS, OTSU = "truth", "predicted", "otsu"
#: Measures that the summary names, as far as they were measured.
HEADLINE = (
    "bv-tv",
    "tb-th",
    "tb-sp",
    "tb-n",
    "conn-d",
    "da",
    "ct-th",
    "ct-ar",
    "tt-ar",
    "b-ar",
    "compactness",
)
#: Measures whose errors in per cent mean little, or that need intensities.
LEFT_OUT = ("euler", "particles", "tmd")
_BONE = "bone"


@dataclass(frozen=True)
class Measured:
    """The measures of one label volume.

    Attributes:
        values: Name of the measure → number; None where there is none.
        units: Name of the measure → unit.
        notes: Name of the measure → why there is none, or what is to be known of it.
    """

    values: Mapping[str, float | None]
    units: Mapping[str, str]
    notes: Mapping[str, str] = field(default_factory=dict)


def relative_error(value: float | None, truth: float | None) -> float:
    """Return (value − truth) / |truth|; NaN where one is missing or the truth is 0."""
    if value is None or not truth:
        return math.nan
    return (value - truth) / abs(truth)


def error_rows(found: Mapping[str, Measured]) -> list[Row]:
    """Make rows of measures and their errors.

    Args:
        found: ``truth``, ``predicted`` and, where there is a scan, ``otsu`` → measures.

    Returns:
        Rows of the tidy table without a scan's name, of class ``bone``: ``truth_tb-th``,
        ``predicted_tb-th``, ``tb-th_error`` (labels ÷ truth − 1), ``otsu_tb-th`` and
        ``otsu_tb-th_error``. Measures that the truth does not have are left out.
    """
    rows: list[Row] = []
    truth = found[TRUTH]
    for name, true in truth.values.items():
        if true is None:
            continue
        for role, measured in found.items():
            value = measured.values.get(name)
            number = math.nan if value is None else value
            rows.append(row("", _BONE, f"{role}_{name}", number, unit=truth.units[name]))
            if role != TRUTH:
                metric = f"{name}_error" if role == LABELS else f"{role}_{name}_error"
                rows.append(row("", _BONE, metric, relative_error(value, true)))
    return rows


def missing(found: Mapping[str, Measured]) -> list[str]:
    """Say which measures have no error, and why.

    Args:
        found: See :func:`error_rows`.

    Returns:
        A remark for every reason.
    """
    said = {TRUTH: "the truth", LABELS: "the labels", OTSU: "Otsu's labels"}
    reasons: dict[tuple[str, str], list[str]] = {}
    for role, measured in found.items():
        for name, value in measured.values.items():
            known_missing = role != TRUTH and found[TRUTH].values.get(name) is None
            if value is None and not known_missing:
                why = measured.notes.get(name) or "there is nothing of it"
                reasons.setdefault((role, why), []).append(term_of(name))
    return [
        f"{', '.join(terms)} of {said[role]} cannot be given: {why.rstrip('.')}."
        for (role, why), terms in reasons.items()
    ]


def error_table(result: Evaluation) -> list[Row]:
    """Lay out the errors, one row a scan and measure.

    Args:
        result: The evaluation.

    Returns:
        Rows with ``scan``, ``measure``, ``name``, ``unit``, ``truth``, ``labels``, ``error``,
        ``otsu`` and ``otsu_error`` (errors as parts of the truth; NaN where there is none).
    """
    out: list[Row] = []
    for scan in result.scans:
        values = {str(r["metric"]): r for r in scan.more if r["class"] == _BONE}
        for name in MEASURES.names():
            true = values.get(f"{TRUTH}_{name}")
            if true is None or name in LEFT_OUT:  # rows of topology have such names too
                continue
            line: Row = {"scan": scan.name, "measure": term_of(name), "name": name}
            line |= {"unit": true["unit"], "truth": true["value"]}
            for column, metric in (
                ("labels", f"{LABELS}_{name}"),
                ("error", f"{name}_error"),
                ("otsu", f"{OTSU}_{name}"),
                ("otsu_error", f"{OTSU}_{name}_error"),
            ):
                line[column] = values[metric]["value"] if metric in values else math.nan
            out.append(line)
    return out


def sentences(result: Evaluation) -> list[str]:
    """Say how far measures are off.

    Args:
        result: The evaluation.

    Returns:
        At most one sentence: the error of the headline measures, and of Otsu in brackets. With
        several scans the mean of the errors whichever way.
    """
    parts = []
    for name in HEADLINE:
        own = _off(result, f"{name}_error")
        if own is None:
            continue
        other = _off(result, f"{OTSU}_{name}_error")
        parts.append(f"{term_of(name)} {own}" + (f" (Otsu {other})" if other else ""))
    if not parts:
        return []
    several = " on average, whichever way," if len(result.scans) > 1 else ""
    return [f"Against measures of the truth, the labels are off{several} by: {', '.join(parts)}."]


def _off(result: Evaluation, metric: str) -> str | None:
    values = [
        float(str(r["value"]))
        for scan in result.scans
        for r in scan.more
        if r["metric"] == metric and r["class"] == _BONE
    ]
    values = [v for v in values if not math.isnan(v)]
    if not values:
        return None
    if len(result.scans) == 1:
        return f"{values[0] * 100:+.1f} %".replace("-", "−")
    return f"{np.mean(np.abs(values)) * 100:.1f} %"
