"""How much of the spread of a score comes from folds, and how much from seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: Part of the bootstrap distribution that lies within an interval.
LEVEL = 0.95
RESAMPLES = 4000
SEED = 0

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Component:
    """A variance component and how sure it is.

    Attributes:
        variance: The estimate, at least 0.
        low: Lower end of the bootstrap interval.
        high: Upper end.
    """

    variance: float
    low: float
    high: float


@dataclass(frozen=True)
class VarianceSplit:
    """The spread of a score over folds × seeds.

    Attributes:
        mean: Mean over all runs.
        fold: Between folds: which scans are learned from and measured.
        seed: Between seeds, the same in all folds.
        residual: What is left: a seed in one fold, with all else that is random.
        folds: Number of folds.
        seeds: Number of seeds.
    """

    mean: float
    fold: Component
    seed: Component
    residual: Component
    folds: int
    seeds: int


def components(table: _Floats) -> tuple[float, float, float]:
    """Estimate the variance components of folds × seeds with one run in each cell.

    Two-way random effects without replication, y_ij = μ + a_i + b_j + e_ij: the mean squares are
    set equal to what is expected of them, and negative estimates to zero (Searle, Casella &
    McCulloch 1992, Variance Components, section 4.7; ANOVA estimators of a balanced design).

    Args:
        table: float64 (fold, seed) of scores, two of each at least, without gaps.

    Returns:
        Variance of folds, of seeds, and the residual.

    Raises:
        ValueError: If there are fewer than two folds or seeds, or a gap.
    """
    if table.ndim != 2 or min(table.shape) < 2 or not np.isfinite(table).all():
        raise ValueError("two folds and two seeds at least, and a score of each, are needed")
    fold, seed, residual = _components(table)
    return float(fold), float(seed), float(residual)


def _components(tables: _Floats) -> tuple[_Floats, _Floats, _Floats]:
    """Estimate the components of many tables (…, fold, seed) at once."""
    folds, seeds = tables.shape[-2:]
    mean = tables.mean((-2, -1), keepdims=True)
    rows, columns = tables.mean(-1, keepdims=True), tables.mean(-2, keepdims=True)
    of_folds = seeds * ((rows - mean) ** 2).sum((-2, -1)) / (folds - 1)
    of_seeds = folds * ((columns - mean) ** 2).sum((-2, -1)) / (seeds - 1)
    rest = tables - rows - columns + mean
    residual = (rest**2).sum((-2, -1)) / ((folds - 1) * (seeds - 1))
    return (
        np.maximum(0.0, (of_folds - residual) / seeds),
        np.maximum(0.0, (of_seeds - residual) / folds),
        residual,
    )


def variance_split(
    table: _Floats, *, resamples: int = RESAMPLES, seed: int = SEED
) -> VarianceSplit:
    """Split the spread of a score into folds, seeds and the rest, with intervals.

    The intervals are percentile limits of a parametric bootstrap: tables are drawn from the
    normal model with the estimated components and estimated anew (Davison & Hinkley 1997,
    Bootstrap Methods and their Application, sections 2.2 and 5.3.1). With few folds they are wide,
    and are only as good as the model.

    Args:
        table: As for :func:`components`.
        resamples: How many tables are drawn.
        seed: Seed of the draws.

    Returns:
        The components.

    Raises:
        ValueError: See :func:`components`.
    """
    found = components(table)
    folds, seeds = table.shape
    draw = np.random.default_rng(seed)
    tables = (
        draw.normal(0, np.sqrt(found[0]), (resamples, folds, 1))
        + draw.normal(0, np.sqrt(found[1]), (resamples, 1, seeds))
        + draw.normal(0, np.sqrt(found[2]), (resamples, folds, seeds))
    )
    drawn = np.stack(_components(tables), axis=1)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    fold, of_seed, residual = (
        Component(v, float(a), float(b)) for v, a, b in zip(found, low, high, strict=True)
    )
    return VarianceSplit(float(table.mean()), fold, of_seed, residual, folds, seeds)
