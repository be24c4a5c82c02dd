"""How a prediction ends when it is asked to stop."""

from __future__ import annotations

from pathlib import Path

from osteon.errors import Stopped
from osteon.events import Reporter


class PredictionStopped(Stopped):
    """The prediction was asked to stop; nothing was put in place of the target."""


def heed(reporter: Reporter, done: str, *, where: Path, kept: bool = False) -> None:
    """Stop if that was asked for.

    Args:
        reporter: Knows of it.
        done: What was done so far, in words.
        where: What was to be written or read.
        kept: Whether a work area keeps what was done.

    Raises:
        PredictionStopped: If it was asked for.
    """
    if reporter.stopping:
        what, mend = "nothing was written", "run the command again"
        if kept:
            what, mend = "they are kept", "run the same command again to go on"
        raise PredictionStopped(f"stopped after {done}; {what}", where=where, mend=mend)
