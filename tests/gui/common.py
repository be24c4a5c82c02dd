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


def fit_widget(viewer: Any, qtbot: Any, *, scan: Path, mask: Path, work: Path) -> Any:
    """Make the widget of fits, with a dataset of one scan and its mask."""
    from osteon.napari.fitting import FitWidget

    put(viewer, scan)
    put(viewer, mask)
    widget = FitWidget(viewer)
    qtbot.addWidget(widget)
    widget.session.choose_folder(work)
    widget.add_pair()
    widget.use_pairs()
    return widget


def evaluate_widget(viewer: Any, qtbot: Any, *, truth: Any, found: Any, work: Path) -> Any:
    """Make the widget of evaluations, with two layers chosen; overlap alone is asked for."""
    from osteon.napari.evaluating import EvaluateWidget

    widget = EvaluateWidget(viewer)
    qtbot.addWidget(widget)
    widget.session.choose_folder(work)
    widget.truth.choose(truth)
    widget.labels.choose(found)
    widget.only_overlap.setChecked(True)
    return widget
