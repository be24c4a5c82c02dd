"""The backend of a prediction: the one asked for, the one begun with, or the fastest."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from osteon.backends import Backend, open_backend
from osteon.backends.choosing import Pick, pick_backend
from osteon.backends.precision import choose_device
from osteon.backends.quantised import Quantiser, why_not_int8
from osteon.errors import OsteonError
from osteon.events import Reporter
from osteon.formats import open_volume
from osteon.model_file import Model
from osteon.prediction import work_area
from osteon.settings import PredictSettings
from osteon.tables.choices import AUTO, BACKENDS
from osteon.workflows.opening import as_one


@dataclass(frozen=True)
class Opened:
    """A backend that is ready.

    Attributes:
        backend: The network, or the mean of several.
        settings: The settings, with the backend that was picked.
        why: Why it was picked, in words.
        quantiser: Where speed is asked for: makes the int8 network, or why there can be none.
    """

    backend: Backend
    settings: PredictSettings
    why: str
    quantiser: Quantiser | str | None


def open_picked(
    models: Sequence[Model],
    settings: PredictSettings,
    targets: Sequence[tuple[Path, Path]],
    *,
    reporter: Reporter,
) -> Opened:
    """Pick the backend, say why, and make the networks ready.

    Args:
        models: The model, or those that are averaged.
        settings: How scans are predicted.
        targets: Scans and their label volumes.
        reporter: Told of the choice.

    Returns:
        The backend.

    Raises:
        OsteonError: If it cannot be opened.
    """
    pick = _picked(models, settings, targets)
    chosen = settings.model_copy(update={"backend": pick.name})
    members = [open_backend(one.spec.network, one.weights, chosen) for one in models]
    backend = as_one(members, models, settings)
    names = ", ".join(one.spec.name for one in models)
    reporter.message("predict", f"model {names}, {backend.description} ({pick.why})")
    quantiser: Quantiser | str | None = None
    if settings.speed != "normal":
        device = choose_device(settings.device).type if pick.name == "torch" else "cpu"
        reason = why_not_int8(settings, networks=len(models), device=device)
        first = models[0]
        quantiser = reason or Quantiser(
            first.spec.network, first.weights, chosen, backend=members[0]
        )
    return Opened(backend, chosen, pick.why, quantiser)


def _picked(
    models: Sequence[Model], settings: PredictSettings, targets: Sequence[tuple[Path, Path]]
) -> Pick:
    if settings.backend == AUTO:
        begun = {_begun_with(target) for _, target in targets} - {None}
        for name in begun:
            if len(begun) == 1 and name in BACKENDS:
                return Pick(str(name), "what was begun goes on with it")
    first = models[0]
    voxels = _voxels(scan for scan, _ in targets) if settings.backend == AUTO else 0
    work = voxels * len(models) * settings.views * settings.axes
    return pick_backend(first.spec.network, first.weights, settings, voxels=work)


def _begun_with(target: Path) -> str | None:
    """The backend of a prediction that was begun at a target; its journal is checked later."""
    try:
        journal = json.loads((work_area(target) / "journal.json").read_text(encoding="utf-8"))
        found = journal["identity"]["settings"]["chosen"]["backend"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else None


def _voxels(scans: Iterable[Path]) -> int:
    """Voxels of all scans; what is wrong with one is told when it is predicted."""
    total = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for scan in scans:
            try:
                total += math.prod(open_volume(scan).shape)
            except OsteonError:
                continue
    return total
