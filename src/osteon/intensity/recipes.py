"""The normalisation recipes: a name and version whose meaning never changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from osteon.tables.choices import RECIPES


@dataclass(frozen=True)
class Recipe:
    """How grey values are normalised.

    Attributes:
        name: Name in :data:`osteon.tables.choices.RECIPES`.
        version: Raised when the definition changes; old versions stay readable.
        voxels: Which voxels the statistics are of: ``not-fill``, ``positive``, or ``not-padding``
            (:func:`osteon.intensity.anchoring.padding_of`).
        scale: ``zscore``: (v - mean) / SD. ``minmax``: (v - minimum) / (maximum - minimum).
            ``percentile``: -2 at the 1st percentile, 2 at the 99th, linear between and beyond.
            ``edges``: -1 on the dark side of the edges of bone, 1 on their bright side.
        clip: Range that augmented values are kept in.
        clipped: Whether :func:`~osteon.intensity.normalise` itself keeps to ``clip``.
    """

    name: str
    version: int
    voxels: Literal["not-fill", "positive", "not-padding"]
    scale: Literal["zscore", "minmax", "percentile", "edges"]
    clip: tuple[float, float]
    clipped: bool = False


zscore = Recipe("zscore", 1, "not-fill", "zscore", (-5.0, 5.0))
percentile = Recipe("percentile", 1, "not-fill", "percentile", (-5.0, 5.0))
edges = Recipe("edges", 1, "not-padding", "edges", (-5.0, 5.0), clipped=True)
zscore_positive = Recipe("reference-zscore-positive", 1, "positive", "zscore", (-5.0, 5.0))
minmax_positive = Recipe("reference-minmax-positive", 1, "positive", "minmax", (0.0, 1.0))


def load_recipe(name: str) -> Recipe:
    """Return a recipe of the table.

    Args:
        name: Its name.

    Raises:
        UsageError: If there is no such recipe.
        TypeError: If a third party's row is not a :class:`Recipe`.
    """
    loaded = RECIPES.load(name)
    if not isinstance(loaded, Recipe):
        raise TypeError(f"the row '{name}' of recipes is not an osteon.intensity.Recipe")
    return loaded
