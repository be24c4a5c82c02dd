"""The report of a fit: curves, scans, validation slices with their labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from osteon.backends import open_backend
from osteon.datasets import Manifest, Pair, Part, Split
from osteon.events import Reporter
from osteon.intensity import Statistics, normalise
from osteon.model_file import Model
from osteon.patches import pad_to_multiple
from osteon.prediction import HALO
from osteon.registry import Table
from osteon.reports import FitReport, SlicePicture, write_fit_report
from osteon.settings import FitSettings, PredictSettings
from osteon.tables.choices import ARCHITECTURES, ENCODERS
from osteon.training import FitFolder, FitOutcome
from osteon.workflows.record import machine, versions

#: Validation slices that the report shows, spread over the scans.
MOST_PICTURES = 6
#: A larger slice is shown by its middle part: the report is no place for a gigapixel.
LARGEST_PICTURE = 2048


class Prepared(Protocol):
    """What the report needs to know of the data."""

    @property
    def manifest(self) -> Manifest:
        """The dataset."""

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The opened scans."""

    @property
    def division(self) -> Split:
        """The split."""

    @property
    def statistics(self) -> dict[str, Statistics]:
        """Statistics of the scans' grey values."""

    @property
    def hashes(self) -> dict[str, dict[str, str]]:
        """Hashes of the data."""


def write_report(
    folder: FitFolder,
    outcome: FitOutcome,
    *,
    model: Model,
    prepared: Prepared,
    settings: FitSettings,
    reporter: Reporter,
) -> Path:
    """Write ``report.html`` into a run folder.

    Args:
        folder: The run folder.
        outcome: What the fit gave.
        model: The fitted model.
        prepared: The data.
        settings: The settings.
        reporter: Told of the progress.

    Returns:
        The report's path.

    Raises:
        OutputError: If it cannot be written.
    """
    path = folder.path / "report.html"
    labels = prepared.manifest.labels
    used = settings.model_dump(mode="json")
    write_fit_report(
        path,
        FitReport(
            title=f"Fit of {model.spec.name}",
            summary=_summary(outcome, prepared, settings),
            warnings=_warnings(outcome, prepared.division),
            history=[row.flat(labels.names) for row in outcome.history],
            best_epoch=outcome.best_epoch,
            scheme=labels,
            split=_split_rows(prepared.pairs, prepared.division),
            pictures=_pictures(model, prepared, reporter),
            settings={**used, "plan": outcome.plan.as_dict()},
            versions={**versions(), **machine(), "ran on": outcome.device},
            files={
                "dataset": str(prepared.manifest.path),
                "run folder": str(folder.path),
                "model": "model.safetensors",
                "log": "log.csv",
                **{f"SHA-256 of {n}": _joined(h) for n, h in prepared.hashes.items()},
            },
        ),
        overwrite=True,
    )
    return path


def _joined(hashes: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {digest[:16]}…" for name, digest in hashes.items())


def _summary(outcome: FitOutcome, prepared: Prepared, settings: FitSettings) -> list[str]:
    division, network = prepared.division, settings.network
    scans = len(division.training)
    slices = sum(len(part.slices) for part in division.training)
    plan = outcome.plan
    sentences = [
        f"A {_title(ARCHITECTURES, network.architecture)} with "
        f"{_title(ENCODERS, network.encoder)} as encoder was fitted to {slices} slices "
        f"of {scans} scan{'s' if scans != 1 else ''}: {len(outcome.history)} epochs, "
        f"{min(plan.total_steps, outcome.history[-1].step if outcome.history else 0)} steps of "
        f"{settings.training.batch_size} patches of {settings.patches.size} × "
        f"{settings.patches.size} pixels, in {_duration(outcome.seconds)}."
    ]
    best = outcome.history[outcome.best_epoch - 1] if outcome.best_epoch else None
    if best is not None and not math.isnan(best.val_mean_iou):
        classes = ", ".join(
            f"{name} {value:.3f}"
            for name, value in zip(prepared.manifest.labels.names, best.val_iou, strict=True)
        )
        sentences.append(
            f"The model is that of epoch {best.epoch}, the best by validation: mean IoU "
            f"{best.val_mean_iou:.3f} ({classes})."
        )
    elif best is not None:
        sentences.append("Nothing was kept back to measure it; the model is that of the last step.")
    return sentences


def _warnings(outcome: FitOutcome, division: Split) -> list[str]:
    warnings = list(division.notes)
    if outcome.stopped:
        warnings.append(
            f"The fit was stopped early ({outcome.stopped}); osteon fit --resume goes on with it."
        )
    if outcome.best_epoch is None:
        warnings.append("It was stopped before the first validation: the model was never measured.")
    return warnings


def _title(table: Table, name: str) -> str:
    """The written form of a choice, which its help begins with."""
    return table.row(name).help.partition(" (")[0].partition(":")[0]


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _split_rows(pairs: Sequence[Pair], division: Split) -> list[dict[str, object]]:
    specimens = {pair.name: pair.row.specimen for pair in pairs}
    return [
        {
            "scan": part.scan,
            "specimen": specimens[part.scan],
            "role": role,
            "slices": len(part.slices),
        }
        for role, parts in (("training", division.training), ("validation", division.validation))
        for part in parts
    ]


def _chosen(parts: Sequence[Part]) -> list[tuple[str, int]]:
    """Slices at even distances of each part, by rule, so that nobody picks the beautiful ones."""
    if not parts:
        return []
    each = max(1, MOST_PICTURES // len(parts))
    chosen = []
    for part in parts[:MOST_PICTURES]:
        n = len(part.slices)
        count = min(each, n)
        chosen += [(part.scan, part.slices[(2 * i + 1) * n // (2 * count)]) for i in range(count)]
    return chosen


def _pictures(model: Model, prepared: Prepared, reporter: Reporter) -> list[SlicePicture]:
    validation = prepared.division.validation
    chosen = _chosen(validation)
    if not chosen:
        return []
    backend = open_backend(model.spec.network, model.weights, PredictSettings())
    pairs = {pair.name: pair for pair in prepared.pairs}
    pictures = []
    with reporter.stage("report", total=len(chosen), unit="slice") as progress:
        for name, z in chosen:
            pair = pairs[name]
            _, height, width = pair.image.shape
            box = [_middle(n) for n in (height, width)]
            image = pair.image.read(slice(z, z + 1), *box)[0]
            inputs = normalise(image, prepared.statistics[name])
            padded = pad_to_multiple(inputs, model.spec.network.divisor)
            labels = backend.labels(np.ascontiguousarray(padded)[np.newaxis, np.newaxis])[0]
            truth = pair.labels.read(slice(z, z + 1), *box)[0] if pair.labels else None
            pictures.append(
                SlicePicture(
                    name,
                    z,
                    image,
                    labels[: image.shape[0], : image.shape[1]],
                    truth,
                    pair.image.geometry.voxel_size[2],
                    "The middle of the slice." if max(height, width) > LARGEST_PICTURE else "",
                )
            )
            progress.advance()
    return pictures


def _middle(n: int) -> slice:
    if n <= LARGEST_PICTURE:
        return slice(0, n)
    start = (n - LARGEST_PICTURE) // 2 // HALO * HALO
    return slice(start, start + LARGEST_PICTURE)
