"""How a prediction ends when it is asked to stop."""

from __future__ import annotations

from pathlib import Path

from osteon.errors import Stopped
from osteon.events import Reporter


class PredictionStopped(Stopped):
    """The prediction was asked to stop; nothing was put in place."""


def heed(reporter: Reporter, done: str, *, where: Path) -> None:
    """Stop if that was asked for.

    Args:
        reporter: Knows of it.
        done: What was done so far, in words.
        where: What was to be written or read.

    Raises:
        PredictionStopped: If it was asked for.
    """
    if reporter.stopping:
        raise PredictionStopped(
            f"stopped after {done}; nothing was written", where=where, mend="run the command again"
        )
