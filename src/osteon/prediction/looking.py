"""What is seen of a scan's grey values before anything is labelled."""

from __future__ import annotations

from osteon.events import Reporter
from osteon.intensity import Statistics, statistics
from osteon.prediction.features import Features, look
from osteon.volume import Volume


class Looks:
    """Looks at a scan anew each time it is asked; others may keep what was seen."""

    def statistics(self, volume: Volume, recipe: str, *, reporter: Reporter) -> Statistics:
        """Take the statistics that a recipe needs; see :func:`osteon.intensity.statistics`.

        Args:
            volume: The scan.
            recipe: Name of the recipe.
            reporter: Told of the progress.
        """
        return statistics(volume, recipe, reporter=reporter)

    def features(self, volume: Volume, known: Statistics) -> Features:
        """See what a scan shows; see :func:`osteon.prediction.features.look`.

        Args:
            volume: The scan.
            known: Its statistics.
        """
        return look(volume, known)
