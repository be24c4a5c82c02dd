"""Who answers when the system, or the user, asks a fit to end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import lightning.pytorch as pl


class KeepSigterm(pl.Callback):
    """Leaves SIGTERM to whoever started the fit.

    Lightning puts a handler of its own before it that ends the process in mid-fit with exit code
    0, and in a fit of several processes waits for the others. osteon's own asks for a stop at
    the next step, so that the run is saved and can be resumed.
    """

    def __init__(self) -> None:
        self._handler = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the handler back that was there before Lightning's."""
        # Only the main thread may, and in others Lightning has not set its own.
        if threading.current_thread() is threading.main_thread() and self._handler is not None:
            signal.signal(signal.SIGTERM, self._handler)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C through: Lightning would end the process by code 1, deaf to it from then on.

    Raises:
        KeyboardInterrupt: Where Lightning made a SystemExit of it.
    """
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as end:
        if not isinstance(end.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, before)
        raise KeyboardInterrupt from None
