"""When the window is usable, how long a preview takes, and the memory of leafing through a scan.

    xvfb-run -a .venv/bin/python benchmarks/window.py start
    xvfb-run -a .venv/bin/python benchmarks/window.py preview DATA/S1_INT_AP/scan
    xvfb-run -a .venv/bin/python benchmarks/window.py scroll --gib 4 --work /tmp/window

``start``: seconds from the start of Python until the window with its four widgets has been drawn
and takes a key. ``preview``: seconds from pressing "Preview this slice" until its labels are
drawn, the first time and then warm, with the time of the processor, beside the limit; it is
pressed when the window has made itself ready (how long that took is printed), or with ``--at-once``
as soon as the window is there. ``scroll``: makes a Zarr scan
of so many GiB (noise; once), leafs through all its slices by the keyboard and says the peak of the
resident memory.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("LIBGL_ALWAYS_SOFTWARE", "1")
#: What issue 8 asks for.
START_S, PREVIEW_S, SCROLL_GIB = 8.0, 3.0, 1.5
#: It begins some time after the window is drawn: so long nothing must be made ready, in seconds.
SETTLED_S = 2.0


def window(*scans: Path) -> Any:
    from qtpy.QtWidgets import QApplication

    from osteon.napari.launching import open_window

    viewer = open_window(scans)
    viewer.window._qt_window.resize(1400, 900)
    QApplication.processEvents()
    return viewer


def pause(milliseconds: int) -> None:
    """Let the window work, asleep between events as when a person looks on.

    vispy, which napari draws with, replaces Qt's ``qWait`` by a loop that never sleeps: it takes a
    processor of its own, and turns with the thread that imports PyTorch.
    """
    from qtpy.QtCore import QEventLoop, QTimer

    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


def started() -> float:
    """When this process was started, in seconds since 1970."""
    import psutil

    return psutil.Process().create_time()


def start() -> None:
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    viewer = window()
    QTest.qWaitForWindowExposed(viewer.window._qt_window)
    QTest.keyClick(viewer.window._qt_window, Qt.Key.Key_Right)
    cpu = sum(os.times()[:2])
    print(
        f"window usable after {time.time() - started():.1f} s (limit {START_S:g}), CPU {cpu:.1f} s"
    )
    viewer.close()


def settled(widget: Any) -> None:
    """Wait until nothing is made ready in the background any more."""
    before, cpu = time.monotonic(), sum(os.times()[:2])
    last = before
    while time.monotonic() - last < SETTLED_S:
        pause(20)
        if widget.warming.running:
            last = time.monotonic()
    took, cpu = last - before, sum(os.times()[:2]) - cpu
    print(f"made ready in the background: {took:.2f} s after the window was there, CPU {cpu:.2f} s")


def preview(scan: Path, times: int, *, at_once: bool) -> None:
    from qtpy.QtCore import QEvent
    from qtpy.QtWidgets import QApplication

    from osteon.napari.predicting import PredictWidget

    viewer = window(scan)
    widget = viewer.window._qt_window.findChild(PredictWidget)
    widget.session.choose_folder(Path(tempfile.mkdtemp(prefix="osteon-window-")))
    if not at_once:
        QApplication.sendEvent(widget, QEvent(QEvent.Type.Enter))  # somebody comes to the button
        settled(widget)
    for i in range(times):
        before, cpu = time.monotonic(), sum(os.times()[:2])
        widget.preview()
        while widget.work.running or not widget.preview_button.isEnabled():
            pause(5)
        took, cpu = time.monotonic() - before, sum(os.times()[:2]) - cpu
        if not widget.said.text().startswith("Labelled"):
            sys.exit(widget.said.text())
        kind = "warm" if i else "first, at once" if at_once else "first"
        kept = "kept" if took < PREVIEW_S else "missed"
        print(f"preview, {kind}: {took:.2f} s (limit {PREVIEW_S:g} s: {kept}), CPU {cpu:.2f} s")
    viewer.close()


def large(folder: Path, gib: float) -> Path:
    """Write a Zarr scan of 16-bit noise, slab by slab."""
    from osteon.formats import open_writer
    from osteon.volume import ArrayVolume, Geometry

    side = 1024
    depth = max(16, int(gib * 2**30 / (side * side * 2)) // 16 * 16)
    path = folder / f"noise-{depth}.zarr"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    like = ArrayVolume(np.zeros((1, side, side), np.uint16), Geometry((10.0,) * 3))
    like.shape = (depth, side, side)
    rng = np.random.default_rng(0)
    with open_writer(path, like=like, dtype=np.uint16) as writer:
        for z in range(0, depth, 16):
            writer.write(z, rng.integers(0, 4096, (16, side, side), dtype=np.uint16))
    return path


def scroll(folder: Path, gib: float) -> None:
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import QApplication

    path = large(folder, gib)
    viewer = window(path)
    viewer.dims.set_current_step(0, 0)
    canvas = viewer.window._qt_window._qt_viewer.canvas.native
    depth = int(viewer.dims.nsteps[0])
    before, longest = time.monotonic(), 0.0
    for _ in range(depth - 1):
        step = time.monotonic()
        QTest.keyClick(canvas, Qt.Key.Key_Right)
        QApplication.processEvents()
        longest = max(longest, time.monotonic() - step)
    took = time.monotonic() - before
    if int(viewer.dims.current_step[0]) != depth - 1:
        sys.exit("the slices were not leafed through")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB on Linux
    print(
        f"{depth} slices ({path.name}): {depth / took:.0f} slices a second, the slowest "
        f"{longest:.2f} s, peak {peak:.2f} GiB (limit {SCROLL_GIB:g})"
    )
    viewer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_subparsers(dest="what", required=True)
    what.add_parser("start")
    one = what.add_parser("preview")
    one.add_argument("scan", type=Path)
    one.add_argument("--times", type=int, default=4)
    one.add_argument("--at-once", action="store_true", help="do not wait until it is ready")
    two = what.add_parser("scroll")
    two.add_argument("--gib", type=float, default=4.0)
    two.add_argument("--work", type=Path, required=True)
    asked = parser.parse_args()
    if asked.what == "start":
        start()
    elif asked.what == "preview":
        preview(asked.scan, asked.times, at_once=asked.at_once)
    else:
        scroll(asked.work, asked.gib)


if __name__ == "__main__":
    main()
