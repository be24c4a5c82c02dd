"""Where a widget shows what osteon warns of."""

from __future__ import annotations

import re

from osteon.events import Event
from osteon.napari.fit_process import FitProcess
from osteon.napari.parts import BAD, Said
from osteon.napari.work import Work, for_window

#: The stable name at the end of a warning.
_NAME = re.compile(r" \[[a-z0-9-]+\]$")


class Warned(Said):
    """Warnings about a scan or its labels, each once; hidden while there are none."""

    def __init__(self) -> None:
        super().__init__()
        self.setStyleSheet(BAD)
        self._found: list[str] = []
        self.hide()

    def forget(self) -> None:
        """Begin anew: other work, or another scan."""
        self._found = []
        self.setText("")
        self.hide()

    def add(self, text: str) -> None:
        """Show a warning as well.

        Args:
            text: The warning, with what was done about it.
        """
        text = _NAME.sub("", for_window(text))  # the name is for scripts
        text = text[:1].upper() + text[1:]
        if text not in self._found:
            self._found.append(text)
            self.setText("\n".join(f"Note: {one}" for one in self._found))
            self.show()

    def follow(self, work: Work, process: FitProcess | None = None) -> None:
        """Show what work warns of, from its beginning.

        Args:
            work: The work of the widget.
            process: Its fit, if it has one.
        """
        work.began.connect(self.forget)
        work.told.connect(self.tell)
        if process is not None:
            process.began.connect(self.forget)
            process.told.connect(self.tell)

    def tell(self, event: Event) -> None:
        """Show an event if it is a warning.

        Args:
            event: What work told.
        """
        if event.kind == "warning" and event.message:
            self.add(event.message)
