"""What a first preview would wait for is made ready while the person looks at the scan."""

from __future__ import annotations

import threading
from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QApplication, QWidget

from osteon.errors import OsteonError, Stopped
from osteon.events import Event, Reporter, StopToken
from osteon.napari.apart import load_networks
from osteon.napari.drawing import load_drawing
from osteon.napari.predictors import Predictors, Request
from osteon.napari.session import Session

#: How long nothing new is asked for before it begins, in milliseconds.
WAIT_MS = 500


class Warming(QObject):
    """Loads PyTorch and what draws labels, looks at the scan, labels a slice: in the background.

    It begins when the mouse or the keyboard comes to the widget: who only leafs through a scan does
    not pay for it (PyTorch takes a GiB). After that it begins again when :meth:`again` says that a
    scan or a model was chosen. What cannot be made ready is not told: the button that needs it
    tells it.

    Args:
        widget: The widget whose button needs it.
        session: Its session, which keeps what is made.
        asked: Says what would be asked for; raises where that is not known yet.
    """

    def __init__(self, widget: QWidget, session: Session, asked: Callable[[], Request]):
        super().__init__(widget)
        self._widget, self._session, self._asked = widget, session, asked
        self._stop = StopToken()
        self._request: Request | None = None
        self._thread: threading.Thread | None = None
        self._wanted = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(WAIT_MS)
        self._timer.timeout.connect(self._begin)
        widget.installEventFilter(self)
        stop = self._stop_it
        widget.destroyed.connect(lambda: stop())
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(stop)

    @property
    def running(self) -> bool:
        """Whether something is being made ready."""
        return self._thread is not None and self._thread.is_alive()

    def again(self) -> None:
        """Make ready what would be asked for now, if somebody has come to the widget."""
        if self._wanted and self._widget.isVisible():
            self._timer.start()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Begin when somebody comes to the widget.

        Args:
            watched: The widget.
            event: What happens to it.
        """
        if event.type() in (QEvent.Type.Enter, QEvent.Type.FocusIn) and not self._wanted:
            self._wanted = True
            self._timer.start()
        return False

    def _begin(self) -> None:
        try:
            request: Request | None = self._asked()
        except OsteonError:  # no scan yet, or a value that is told when a button is pressed
            request = None
        if self.running:
            if request != self._request:
                self._stop_it()  # of another scan or model
                self._timer.start()
            return
        self._request = request
        self._stop = StopToken()
        # Not a daemon: Python waits for it at the end, as PyTorch must not be half loaded then.
        self._thread = threading.Thread(
            target=_make_ready, args=(self._session, request, self._stop), name="osteon-warming"
        )
        self._thread.start()

    def _stop_it(self) -> None:
        self._stop.request("no longer needed")


def _make_ready(session: Session, request: Request | None, stop: StopToken) -> None:
    def heed(event: Event) -> None:
        if stop.requested:  # statistics of a large scan take a while
            raise Stopped("no longer needed")

    try:
        load_networks()
        load_drawing()
        if request is not None and not stop.requested:
            reporter = Reporter(heed, stop)
            Predictors.of(session).make_ready(request, reporter=reporter)
    except Exception:
        return  # it is tried again, and told, when a button needs it
