"""What the tests of the widgets share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

#: A machine that others use, too, may be slow.
PATIENCE_MS = 240_000


def put(viewer: Any, path: Path, **changes: Any) -> Any:
    """Open a file as a layer, the way the reader does."""
    from osteon.napari.layers import layers_of

    data, keywords, kind = layers_of(path)[0]
    return getattr(viewer, f"add_{kind}")(data, **{**keywords, **changes})


def wait_for(qtbot: Any, widget: Any) -> None:
    """Wait until the work of a widget has ended and the widget has heard of it."""
    qtbot.waitUntil(lambda: not widget.work.running, timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: not widget.progress.isVisibleTo(widget), timeout=PATIENCE_MS)
