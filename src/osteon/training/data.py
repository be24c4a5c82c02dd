"""What a network is fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from osteon.datasets import PatchSource, TileSource
from osteon.labels import LabelScheme


@dataclass(frozen=True)
class FitData:
    """What a network is fitted to.

    Attributes:
        source: Patches to learn from.
        tiles: Slices to validate on after each epoch; None keeps the last weights.
        labels: The classes.
        class_weights: Weights of the classes in the loss, where the settings want them from the
            data.
        context: Of a two-scale network, the longest side in pixels of the reduced slices that it
            sees first; None of others.
    """

    source: PatchSource
    tiles: TileSource | None
    labels: LabelScheme
    class_weights: Sequence[float] | None = None
    context: int | None = None
