"""Warnings of osteon, heard where work runs and shown in the window, not on a console."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from osteon.errors import OsteonWarning

Hear = Callable[[OsteonWarning], object]
_lock = threading.Lock()
_listening: list[tuple[int, Hear]] = []
_before: list[Any] = []


@contextmanager
def hearing(hear: Hear) -> Iterator[None]:
    """Hear the warnings of osteon that this thread issues inside, each time they are issued.

    Those of a thread in which nobody listens (reading ahead, say) are heard by all. What is heard
    is not printed.

    Args:
        hear: Called with each, in the thread that issues it.
    """
    mine = (threading.get_ident(), hear)
    with _lock:
        _listening.append(mine)
        if warnings.showwarning is not _show:
            _before[:] = [warnings.showwarning]
            warnings.showwarning = _show
        # Python shows one place's warning once; a second preview is to tell it again.
        warnings.simplefilter("always", OsteonWarning)
    try:
        yield
    finally:
        with _lock:
            _listening.remove(mine)


def _show(message: Any, *args: Any, **more: Any) -> None:
    if isinstance(message, OsteonWarning):
        here = threading.get_ident()
        with _lock:
            own = [hear for thread, hear in _listening if thread == here]
            found = own or [hear for _, hear in _listening]
        for hear in found:
            hear(message)
        if found:
            return
    _before[0](message, *args, **more)
