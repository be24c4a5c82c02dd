"""Scans and models that are ready to label slices, kept while the window asks for the same."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from osteon.errors import OsteonWarning, Stopped
from osteon.events import Reporter
from osteon.napari.session import Session
from osteon.napari.warned import hearing
from osteon.settings import PredictSettings
from osteon.tables.choices import AUTO
from osteon.tables.shipped import find_model

if TYPE_CHECKING:
    from osteon.workflows.slicewise import SlicePredictor

#: How many are kept: one for previews, one for slabs.
_KEPT = 2
#: Seconds between two looks at whether a wait is to end.
_LOOK_S = 0.1


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        scan: The scan's folder or file.
        model: Name or file of the model.
        settings: How it is predicted.
        voxel_size: In µm in place of what the scan says.
    """

    scan: Path
    model: str | Path
    settings: PredictSettings
    voxel_size: float | None = None


class Predictors:
    """The last few of a window. Thread-safe: who asks for what is being made waits for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # What each was made for, and what was warned of meanwhile.
        self._kept: list[
            tuple[tuple[Request, bool, float], SlicePredictor, list[OsteonWarning]]
        ] = []

    @classmethod
    def of(cls, session: Session) -> Predictors:
        """Return those of a window.

        Args:
            session: The window's session.
        """
        if session.predictors is None:
            session.predictors = cls()
        found: Predictors = session.predictors
        return found

    def get(self, request: Request, *, alone: bool, reporter: Reporter) -> SlicePredictor:
        """Return what labels slices of a scan; made if it is not kept.

        Args:
            request: What is asked for.
            alone: Look at each slice on its own where the model can: quick, as no pass over the
                whole scan comes before it. A backend that is not asked for is PyTorch: another
                would take longer to convert the network than it saves.
            reporter: Told of the progress.

        Raises:
            OsteonError: If the scan or the model cannot be used.
            Stopped: If it was asked to stop while another thread was making one.
        """
        with self._alone(reporter):
            return self._get(request, alone=alone, reporter=reporter)

    def make_ready(self, request: Request, *, reporter: Reporter) -> None:
        """Make what labels slices on their own, and label one; nothing if it is kept.

        A network's first run takes up to twice as long as those after it.

        Args:
            request: What would be asked for.
            reporter: Told of the progress.

        Raises:
            OsteonError: As :meth:`get`.
        """
        with self._alone(reporter):
            before = [predictor for _, predictor, _ in self._kept]
            made = self._get(request, alone=True, reporter=reporter)
            if not any(made is predictor for predictor in before):
                list(made.run(slice(0, 1), reporter=reporter))

    @contextmanager
    def _alone(self, reporter: Reporter) -> Iterator[None]:
        while not self._lock.acquire(timeout=_LOOK_S):
            if reporter.stopping:
                raise Stopped("stopped while the model was made ready")
        try:
            yield
        finally:
            self._lock.release()

    def _get(self, request: Request, *, alone: bool, reporter: Reporter) -> SlicePredictor:
        changed = find_model(request.model).stat().st_mtime if _is_there(request.model) else 0.0
        key = (request, alone, changed)
        for kept, predictor, told in self._kept:
            if kept == key:
                for warning in told:
                    warnings.warn(warning, stacklevel=2)  # told once more to who asks now
                return predictor
        from osteon.workflows.slicewise import SlicePredictor  # PyTorch: in the thread that asks

        settings = request.settings
        if alone:
            backend = "torch" if settings.backend == AUTO else settings.backend
            settings = settings.model_copy(update={"contiguous": "no", "backend": backend})
        heard: list[OsteonWarning] = []
        with hearing(heard.append):
            made = SlicePredictor(
                request.scan,
                model=request.model,
                settings=settings,
                voxel_size=request.voxel_size,
                reporter=reporter,
            )
        self._kept = [(key, made, heard), *self._kept][:_KEPT]
        return made


def _is_there(model: str | Path) -> bool:
    return find_model(model).exists()
