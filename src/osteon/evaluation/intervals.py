"""How sure a mean over scans is: bootstrap intervals over specimens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from osteon.metrics import mean_defined

#: Part of the bootstrap distribution that lies within the interval.
LEVEL = 0.95
RESAMPLES = 10_000
SEED = 0

#: From fewer specimens than this the percentile bootstrap is known to be too narrow.
FEW_SPECIMENS = 10

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean and how sure it is.

    Attributes:
        value: The mean over scans, each counting the same; NaN if no scan has a value.
        low: Lower end of the interval; NaN with fewer than two specimens.
        high: Upper end of the interval.
        scans: How many scans have a value.
        specimens: How many specimens those are of.
    """

    value: float
    low: float
    high: float
    scans: int
    specimens: int


def by_specimen(values: Sequence[float], specimens: Sequence[str]) -> dict[str, tuple[float, int]]:
    """Average the values of each specimen's scans.

    Args:
        values: A value a scan; NaN where there is none.
        specimens: The specimen of each scan.

    Returns:
        Specimen → mean and number of its scans that have a value, in order of first appearance.
    """
    groups: dict[str, list[float]] = {}
    for value, specimen in zip(values, specimens, strict=True):
        groups.setdefault(specimen, []).append(value)
    return {name: mean_defined(group) for name, group in groups.items()}


def bootstrap(
    values: Sequence[float],
    specimens: Sequence[str],
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Interval:
    """Put an interval around a mean over scans: the percentile bootstrap over specimens.

    Specimens are drawn with replacement, each with all its scans, because scans of one specimen
    are no independent evidence (cluster bootstrap: Davison & Hinkley 1997, Bootstrap Methods and
    their Application, section 3.8; percentile limits: section 5.3.1).

    Args:
        values: A value a scan; NaN where there is none (left out).
        specimens: The specimen of each scan.
        level: Part of the distribution that lies within the interval.
        resamples: How often specimens are drawn.
        seed: Seed of the draws: the same values give the same interval.

    Returns:
        The mean and its interval. Memory: 16 bytes a resample and specimen.
    """
    grouped = by_specimen(values, specimens)
    # Sorted, so that the order in which scans were given does not matter.
    used = sorted((name, mean, n) for name, (mean, n) in grouped.items() if n)
    value, scans = mean_defined(values)
    if len(used) < 2:  # one specimen says nothing of how specimens differ
        return Interval(value, math.nan, math.nan, scans, len(used))
    counts = np.array([n for _, _, n in used], np.float64)
    sums = counts * np.array([mean for _, mean, _ in used], np.float64)
    means = _resampled(sums, counts, resamples=resamples, seed=seed)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), scans, len(used))


def _resampled(sums: _Floats, counts: _Floats, *, resamples: int, seed: int) -> _Floats:
    n = len(sums)
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
    means: _Floats = (drawn @ sums) / (drawn @ counts)
    return means


def caution(specimens: int) -> str:
    """Say in words what an interval from so many specimens is worth.

    Args:
        specimens: How many there are.

    Returns:
        A sentence.
    """
    percent = f"{LEVEL:.0%}".replace("%", " %")
    if specimens < 2:
        return (
            "There is one specimen only: no interval can be given, because nothing shows how "
            "specimens differ."
        )
    text = (
        f"In brackets: {percent} bootstrap interval over {specimens} specimens (percentile method, "
        f"{RESAMPLES:,} resamples, seed {SEED})."
    )
    if specimens < FEW_SPECIMENS:
        text += (
            f" {specimens} specimens are few: an interval from fewer than {FEW_SPECIMENS} tends to "
            "be too narrow."
        )
    return text
