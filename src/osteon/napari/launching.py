"""``osteon gui``: a napari window with osteon's widgets at its side."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from osteon.errors import DependencyError
from osteon.formats import detect_format

#: The widgets in the order in which they are used, as the manifest names them.
WIDGETS = ("Predict", "Correct and learn", "Fit", "Evaluate and measure")
#: Colour of the scale bar: seen on bone and on air.
_BAR = "yellow"


def open_window(scans: Sequence[Path] = (), *, show: bool = True) -> Any:
    """Open napari with osteon's widgets, and scans or labels in it.

    Args:
        scans: Folders of slices or files.
        show: Whether the window is shown at once.

    Returns:
        The viewer of napari.

    Raises:
        DependencyError: If napari or Qt is not installed, or there is no screen.
        InputError: If one cannot be read.
    """
    for path in scans:
        detect_format(path)  # a wrong path is told without waiting for the window
    viewer = _viewer(show=show)
    from qtpy.QtCore import QTimer

    first = None
    for name in WIDGETS:
        dock, _ = viewer.window.add_plugin_dock_widget("osteon", name, tabify=first is not None)
        dock.setWindowTitle(name)  # "(osteon)" would only make the tabs too narrow to read
        first = first or dock
    for path in scans:
        add_scan(viewer, path)

    def settle() -> None:
        # Only now the window has its size, and the tabs their order.
        if first is not None:
            first.raise_()
        viewer.reset_view()

    QTimer.singleShot(0, settle)
    return viewer


def _viewer(*, show: bool) -> Any:
    screens = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    if sys.platform == "linux" and not any(os.environ.get(name) for name in screens):
        # Qt would end the process without a word that helps.
        raise DependencyError(
            "there is no screen for a window",
            mend="start it on a desktop, over ssh with -X, or under xvfb-run for tests",
        )
    try:
        import napari
    except ImportError as error:
        raise DependencyError(
            f"the window needs napari and Qt, which are not installed ({error})",
            mend='pip install "osteon[gui]"',
        ) from None
    return napari.Viewer(title="osteon", show=show)


def add_scan(viewer: Any, path: Path) -> Any:
    """Open a scan or labels in a window, with a scale bar.

    Args:
        viewer: The viewer.
        path: A folder of slices, or a file.

    Returns:
        The layer.

    Raises:
        InputError: If it cannot be read.
    """
    from osteon.napari.layers import layers_of

    data, keywords, kind = layers_of(path)[0]
    layer = getattr(viewer, f"add_{kind}")(data, **keywords)
    show_scale(viewer)
    return layer


def show_scale(viewer: Any) -> None:
    """Show the scale bar: in µm, or in voxels where their size is unknown.

    Args:
        viewer: The viewer.
    """
    viewer.scale_bar.visible = True
    viewer.scale_bar.colored = True
    viewer.scale_bar.color = _BAR


def run(scans: Sequence[Path] = ()) -> None:
    """Open the window and stay until it is closed.

    Args:
        scans: Folders of slices or files.

    Raises:
        DependencyError: If napari or Qt is not installed.
        InputError: If one cannot be read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of napari to developers
        open_window(scans)
    import napari

    napari.run()
