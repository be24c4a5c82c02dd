"""Normalisation of grey values: named, versioned recipes and the statistics they need.

The statistics are taken from a stated, deterministic sample of the scan and kept with it, so
that a preview, a slab and the whole scan are normalised alike. A recipe's name and version
never change their meaning; what is learned later becomes a new version.
"""

from __future__ import annotations

from osteon.intensity.kept import Statistics
from osteon.intensity.quantiles import Deviation, GreyRange, grey_quantiles
from osteon.intensity.recipes import (
    Recipe,
    edges,
    load_recipe,
    minmax_positive,
    percentile,
    zscore,
    zscore_positive,
)
from osteon.intensity.taking import (
    SAMPLE_SLICES,
    normalise,
    sample_slices,
    statistics,
)

__all__ = [
    "SAMPLE_SLICES",
    "Deviation",
    "GreyRange",
    "Recipe",
    "Statistics",
    "edges",
    "grey_quantiles",
    "load_recipe",
    "minmax_positive",
    "normalise",
    "percentile",
    "sample_slices",
    "statistics",
    "zscore",
    "zscore_positive",
]
