"""The report of a fit: curves, scans, validation slices with their labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from osteon.datasets import Pair, Split
from osteon.events import Reporter
from osteon.model_file import Model
from osteon.networks import NetworkSpec
from osteon.registry import Table
from osteon.reports import FitReport, write_fit_report
from osteon.settings import FitSettings
from osteon.tables.encoders import ENCODERS
from osteon.tables.networks import ARCHITECTURES
from osteon.training import FitFolder, FitOutcome
from osteon.training.plan import WEIGHTS
from osteon.workflows.fit_data import Prepared
from osteon.workflows.fit_pictures import pictures
from osteon.workflows.record import count, machine, versions


def write_report(
    folder: FitFolder,
    outcome: FitOutcome,
    *,
    model: Model,
    prepared: Prepared,
    settings: FitSettings,
    costs: Mapping[str, Any],
    reporter: Reporter,
) -> Path:
    """Write ``report.html`` into a run folder.

    Args:
        folder: The run folder.
        outcome: What the fit gave.
        model: The fitted model.
        prepared: The data.
        settings: The settings.
        costs: What it took.
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
            summary=[
                *_summary(outcome, prepared, settings, model.spec.network),
                *_start(model, settings),
            ],
            warnings=_warnings(outcome, prepared.division),
            history=[row.flat(labels.names) for row in outcome.history],
            best_epoch=outcome.best_epoch,
            scheme=labels,
            split=_split_rows(prepared.pairs, prepared.division),
            pictures=pictures(model, prepared, reporter),
            settings=used,
            costs=_costs_in_words(costs),
            versions={**versions(), **machine(), "ran on": _ran_on(outcome)},
            files={
                **({"dataset": str(prepared.manifest.path)} if prepared.pairs else {}),
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


def _summary(
    outcome: FitOutcome, prepared: Prepared, settings: FitSettings, spec: NetworkSpec
) -> list[str]:
    sentences = [_what_was_done(outcome, prepared, settings, spec)]
    plan, best = (
        outcome.plan,
        outcome.history[outcome.best_epoch - 1] if outcome.best_epoch else None,
    )
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
    if plan.measured != WEIGHTS:
        sentences.append(f"What was measured and kept is the {plan.measured}.")
    if outcome.converged:
        sentences.append(f"The fit ended by itself: {outcome.converged}.")
    return sentences


def _what_was_done(
    outcome: FitOutcome, prepared: Prepared, settings: FitSettings, spec: NetworkSpec
) -> str:
    plan, patches = outcome.plan, settings.patches
    steps = min(plan.total_steps, outcome.history[-1].step if outcome.history else 0)
    edges, unit = [patches.size, patches.size], "pixels"
    if settings.mode == "3D":
        edges, unit = [patches.depth, *edges], "voxels"
    size = " × ".join(map(str, edges))
    neighbours = ""
    if settings.mode == "2.5D":
        neighbours = f", each seen with its neighbours ({patches.slices} slices at once)"
    batch = f"{settings.training.batch_size * plan.accumulate} patches"
    encoder = f" with {_title(ENCODERS, spec.encoder)} as encoder" if spec.encoder else ""
    resampled = f", resampled to {settings.voxel_size:g} µm," if settings.voxel_size else ""
    learned = _learned_from(prepared.division, settings.simulation.items)
    return (
        f"A {_title(ARCHITECTURES, spec.architecture)}{encoder} was fitted in {settings.mode} to "
        f"{learned}{resampled}{neighbours}: "
        f"{count(len(outcome.history), 'epoch')}, {count(steps, 'step')} of {batch} of {size} "
        f"{unit}, in {_duration(outcome.seconds)}."
    )


def _learned_from(division: Split, simulated: int) -> str:
    parts = division.training
    slices = sum(len(part.slices) for part in parts)
    real = f"{slices} slices of {count(len(parts), 'scan')}" if parts else ""
    made = f"{simulated} simulated slices an epoch, none of them twice" if simulated else ""
    return " and ".join(filter(None, (real, made)))


def _start(model: Model, settings: FitSettings) -> list[str]:
    """Say what the weights started from, and what was kept from learning."""
    notes = model.spec.provenance.get("start", {}).get("notes", [])
    share = settings.network.encoder_learning_rate
    said = [f"The first weights: {'; '.join(notes)}."] if notes else []
    if share == 0:
        said.append("The encoder was frozen: it kept the weights it started from.")
    elif share != 1:
        said.append(f"The encoder learned at {share:g} times the learning rate of the rest.")
    return said


def _warnings(outcome: FitOutcome, division: Split) -> list[str]:
    warnings = [*division.notes]
    if outcome.stopped:
        warnings.append(
            f"The fit was stopped early ({outcome.stopped}); osteon fit --resume goes on with it."
        )
    if outcome.best_epoch is None:
        warnings.append("It was stopped before the first validation: the model was never measured.")
    return warnings


def _costs_in_words(costs: Mapping[str, Any]) -> dict[str, str]:
    """Return what a fit took, with units; what was not measured is left out."""
    times = costs.get("seconds_per_epoch") or []
    said = {
        "time": _duration(costs["seconds"]),
        "time of an epoch": _duration(sum(times) / len(times)) if times else None,
        "validation, in all": _duration(costs["validation_seconds"]),
        "prediction": _speed(costs["prediction_mvoxel_per_second"]),
        "memory, at its peak": _gib(costs["peak_memory_bytes"]),
        "memory of the reading processes": _gib(costs["workers_memory_bytes"]),
        "memory of the GPU, at its peak": _gib(costs["gpu_memory_bytes"]),
        "use of the GPU": f"{costs['gpu_use']:.0%}" if costs["gpu_use"] is not None else None,
        "parameters of the network": f"{costs['parameters']:,}",
        "arithmetic for a patch": f"{costs['gflops_per_patch']:.3g} GFLOPs (forward)",
    }
    return {name: text for name, text in said.items() if text is not None}


def _ran_on(outcome: FitOutcome) -> str:
    plan = outcome.plan
    threads = count(plan.threads, "thread")
    many = f", {plan.processes} processes" if plan.processes > 1 else ""
    return f"{outcome.device}, {plan.precision}, {threads}{many}"


def _speed(mvoxels: float | None) -> str | None:
    return None if mvoxels is None else f"{mvoxels:.3g} Mvoxel/s (in the fastest validation)"


def _gib(count: float | None) -> str | None:
    return f"{count / 2**30:.2g} GiB" if count else None


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
