"""Tests for paired differences, and their correction for the number of tests."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

#: Up to this many specimens all 2ⁿ sign flips are tried; with more, Wilcoxon's test is used.
MOST_FLIPPED = 16


def paired_test(differences: Sequence[float]) -> tuple[float, str]:
    """Test whether paired differences are around zero, two-sided.

    Up to 16 differences: exact sign-flip (permutation) test on the mean, over all 2ⁿ signs
    (Good 2005, Permutation, Parametric and Bootstrap Tests, section 3.2). With more: Wilcoxon's
    signed-rank test.

    Args:
        differences: One a specimen; none is NaN.

    Returns:
        p and the name of the test; NaN and why not, where there is none.
    """
    values = np.asarray(differences, np.float64)
    n = len(values)
    if n < 2:
        return math.nan, "none: one specimen"
    if not values.any():
        return 1.0, "none needed: all differences are 0"
    if n > MOST_FLIPPED:
        # Imported here: SciPy's statistics take a while to load.
        from scipy import stats

        return float(stats.wilcoxon(values).pvalue), "Wilcoxon signed-rank"
    return _sign_flip(values), "exact sign-flip"


def _sign_flip(values: npt.NDArray[np.float64]) -> float:
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    limit = abs(float(values.sum())) * (1 - 1e-9)  # the same sum in another order is the same
    return float(np.mean(np.abs(sums) >= limit))


def holm(p: Sequence[float]) -> list[float]:
    """Correct p for the number of tests (Holm 1979); NaN stays NaN and does not count.

    Args:
        p: The values.

    Returns:
        Corrected values, in the same order.
    """
    out = [math.nan] * len(p)
    order = sorted((i for i in range(len(p)) if not math.isnan(p[i])), key=lambda i: p[i])
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p[index]))
        out[index] = largest
    return out
