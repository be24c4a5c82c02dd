"""``osteon fit``: a dataset → a run folder with model, log and report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from osteon.datasets import Part, Split
from osteon.errors import InputError
from osteon.events import Reporter
from osteon.intensity import GreyRange, load_recipe
from osteon.model_file import (
    HALF_MAXIMUM,
    Model,
    ModelSpec,
    TrainingRanges,
    check_start,
    save_model,
)
from osteon.networks import ContextSpec
from osteon.prediction.surface import bone_of
from osteon.resampling import resampled_axes
from osteon.settings import FitSettings
from osteon.settings.base import SCHEMA as SETTINGS_SCHEMA
from osteon.training import EpochRow, FitData, FitFolder, FitOutcome, Place, agree, meet
from osteon.training import fit as fit_network
from osteon.workflows.cluster import job
from osteon.workflows.fit_costs import fit_costs
from osteon.workflows.fit_data import (
    Prepared,
    complete,
    examine,
    fit_data,
    network_spec,
    open_data,
    provenance,
)
from osteon.workflows.fit_report import write_report
from osteon.workflows.record import (
    count,
    finite,
    machine,
    now,
    read_json,
    versions,
    write_json,
    write_text,
)
from osteon.workflows.run_folder import (
    alone,
    amend,
    check_unchanged,
    clear,
    failure_recorded,
    open_run,
    recorded_dataset,
    recorded_settings,
    sweep_run,
)

#: Schema of ``run.json``.
SCHEMA = 1
#: Validation scans that are named when a fit begins; the report has all.
MOST_NAMES = 6


@dataclass(frozen=True)
class FitRun:
    """A finished (or cleanly stopped) fit.

    Attributes:
        folder: The run folder.
        model: The model file.
        report: The report.
        outcome: History, best epoch, plan, times.
        split: What was learned from and measured.
    """

    folder: Path
    model: Path
    report: Path
    outcome: FitOutcome
    split: Split

    @property
    def best(self) -> EpochRow | None:
        """The row of the best epoch."""
        number = self.outcome.best_epoch
        return None if number is None else self.outcome.history[number - 1]

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-compatible summary."""
        outcome, best = self.outcome, self.best
        return {
            "run": str(self.folder),
            "model": str(self.model),
            "report": str(self.report),
            "epochs": len(outcome.history),
            "best_epoch": outcome.best_epoch,
            "val_mean_iou": best.val_mean_iou if best else None,
            "stopped": outcome.stopped,
            "converged": outcome.converged,
            "seconds": round(outcome.seconds, 1),
        }


def fit(
    dataset: str | Path | None = None,
    *,
    out: str | Path,
    settings: FitSettings | None = None,
    resume: bool = False,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> FitRun:
    """Fit a network to the scans and masks of a dataset, to simulated slices, or to both.

    The run folder holds ``run.json`` (what it is, versions, data hashes), ``settings.yaml``,
    ``dataset.toml``, ``split.json``, ``plan.json``, ``log.csv``, ``checkpoints/``,
    ``model.safetensors`` (the best so far, at any time) and ``report.html``. A file ``STOP`` in
    it ends the fit cleanly. Memory: see :func:`osteon.training.fit`.

    Args:
        dataset: The manifest (TOML); None with simulated slices alone (``simulation.items``), or
            with ``resume`` for that of the run.
        out: The run folder.
        settings: Settings; with ``resume`` those of the run are used, and others are an error.
        resume: Go on with an interrupted or stopped run.
        overwrite: Replace an existing run.
        reporter: Told of the progress; a stop request ends the fit cleanly.

    Returns:
        The run.

    Raises:
        InputError: If the dataset is unfit, damaged, or changed since the run began.
        OutputError: If the folder holds a run already, another fit is at it, or it cannot be
            written.
        UsageError: If settings do not go together or differ from the resumed run's.
    """
    folder, place = FitFolder(Path(out)), meet()
    with alone(folder, place):
        return _fit(
            dataset, folder, place=place, settings=settings, resume=resume, overwrite=overwrite,
            reporter=reporter or Reporter(),
        )  # fmt: skip


def _fit(
    dataset: str | Path | None,
    folder: FitFolder,
    *,
    place: Place,
    settings: FitSettings | None,
    resume: bool,
    overwrite: bool,
    reporter: Reporter,
) -> FitRun:
    settings = agree(place, lambda: open_run(folder, settings, resume=resume, overwrite=overwrite))
    if resume and place.leads:
        folder.stop_file.unlink(missing_ok=True)  # the one that ended it
        reporter.stop.watch(folder.stop_file)
    if resume and dataset is None:
        dataset = recorded_dataset(folder)
    # Whatever may be wrong with the data shows here, before anything is written or replaced.
    opened = open_data(None if dataset is None else Path(dataset), settings)
    examined = agree(place, lambda: examine(opened, settings, reporter))
    prepared = agree(place, lambda: complete(opened, examined, settings, reporter))
    spec = _model_spec(prepared, settings, folder)
    start = agree(place, lambda: _start(folder, spec, settings, resume=resume))
    spec = replace(spec, provenance={**spec.provenance, "start": start})
    data = fit_data(prepared, settings, spec.network)
    agree(place, lambda: _begin(folder, prepared, settings, start, resume=resume, to=reporter))
    if not place.leads:
        # Another process leads the fit, tells of it and writes it down.
        outcome = fit_network(spec.network, data, settings, folder=folder, resume=resume)
        return _fit_run(folder, outcome, prepared.division)
    with failure_recorded(folder):
        run = _run(folder, prepared, spec, data, settings=settings, resume=resume, to=reporter)
    _write_end(folder, run)
    return run


def devices_asked(out: str | Path, settings: FitSettings | None) -> int | str:
    """Return how many devices a fit is to use.

    Args:
        out: The run folder.
        settings: The settings; None: those of the run that is gone on with.

    Returns:
        The setting ``training.devices``; 1 where there is no run to go on with, which the fit
        itself will say.
    """
    if settings is None:
        try:
            settings = recorded_settings(FitFolder(Path(out)))
        except InputError:
            return 1
    return settings.training.devices


def _start(
    folder: FitFolder, spec: ModelSpec, settings: FitSettings, *, resume: bool
) -> dict[str, Any]:
    """What the first weights are; a fit that goes on no longer needs their file."""
    if resume and (folder.path / "run.json").exists():
        recorded = read_json(folder.path / "run.json").get("start")
        return recorded if isinstance(recorded, dict) else {}
    return check_start(spec.network, settings.network.weights, labels=spec.labels).as_dict()


def _begin(
    folder: FitFolder,
    prepared: Prepared,
    settings: FitSettings,
    start: Mapping[str, Any],
    *,
    resume: bool,
    to: Reporter,
) -> None:
    if (folder.path / "run.json").exists() and resume:
        dataset = Path(prepared.manifest.path or "")
        check_unchanged(folder, dataset, prepared.hashes, prepared.division)
        sweep_run(folder.path)
        amend(folder, {"status": "running"})
    else:
        clear(folder.path)
        _write_start(folder, prepared, settings, start)
        to.stop.watch(folder.stop_file)
    _announce(prepared, settings, to)
    for note in start.get("notes", []):
        to.message("fit", f"note: {note}")


def _fit_run(folder: FitFolder, outcome: FitOutcome, division: Split) -> FitRun:
    path = folder.path
    return FitRun(path, path / "model.safetensors", path / "report.html", outcome, division)


def _run(
    folder: FitFolder,
    prepared: Prepared,
    spec: ModelSpec,
    data: FitData,
    *,
    settings: FitSettings,
    resume: bool,
    to: Reporter,
) -> FitRun:
    model_path = folder.path / "model.safetensors"

    def keep(weights: Mapping[str, Any], row: EpochRow) -> None:
        scored = replace(spec, provenance={**spec.provenance, "best": row.flat(spec.labels.names)})
        save_model(model_path, Model(_finite(scored), weights))

    outcome = fit_network(
        spec.network,
        data,
        settings,
        folder=folder,
        resume=resume,
        reporter=to,
        on_best=keep,
    )
    costs = fit_costs(spec, outcome)
    spec = replace(spec, provenance={**spec.provenance, "costs": costs})
    if outcome.best_epoch is None or not model_path.exists():
        save_model(model_path, Model(_finite(spec), outcome.weights))
    else:
        keep(outcome.weights, outcome.history[outcome.best_epoch - 1])  # now with its costs
    folder.stop_file.unlink(missing_ok=True)
    write_report(
        folder,
        outcome,
        model=Model(spec, outcome.weights, model_path),
        prepared=prepared,
        settings=settings,
        costs=costs,
        reporter=to,
    )
    amend(folder, {"costs": costs})
    return _fit_run(folder, outcome, prepared.division)


def _announce(prepared: Prepared, settings: FitSettings, reporter: Reporter) -> None:
    division, simulated = prepared.division, settings.simulation.items
    learned = [_extent(division.training)] if division.training else []
    if simulated:
        learned.append(f"{simulated} simulated slices an epoch")
    text = f"fitting to {' and '.join(learned)}"
    if division.validation:
        names = sorted({part.scan for part in division.validation})
        shown = ", ".join(names[:MOST_NAMES]) + (" …" if len(names) > MOST_NAMES else "")
        text += f"; measuring on {_extent(division.validation)} ({shown})"
    reporter.message("fit", text)
    for note in division.notes:
        reporter.message("fit", f"note: {note}")


def _extent(parts: Sequence[Part]) -> str:
    slices = sum(len(part.slices) for part in parts)
    return f"{count(slices, 'slice')} of {count(len(parts), 'scan')}"


def _write_start(
    folder: FitFolder, prepared: Prepared, settings: FitSettings, start: Mapping[str, Any]
) -> None:
    dump = {"schema": SETTINGS_SCHEMA, **settings.model_dump(mode="json")}
    write_text(folder.path / "settings.yaml", yaml.safe_dump(dump, sort_keys=False))
    if prepared.pairs:
        prepared.manifest.save(folder.path / "dataset.toml", overwrite=True)
    write_json(folder.path / "split.json", prepared.division.as_dict())
    write_json(
        folder.path / "run.json",  # the last: a folder with it holds all the others
        {
            "schema": SCHEMA,
            "kind": "fit",
            "status": "running",
            "started": now(),
            "job": job(),
            "dataset": str(Path(prepared.manifest.path or "").absolute())
            if prepared.pairs
            else None,
            "seed": settings.seed,
            "data": prepared.hashes,
            "start": dict(start),
            "statistics": {n: s.as_dict() for n, s in prepared.statistics.items()},
            "versions": versions(),
            "machine": machine(),
        },
    )


def _write_end(folder: FitFolder, run: FitRun) -> None:
    outcome = run.outcome
    amend(
        folder,
        {
            "status": "stopped" if outcome.stopped else "finished",
            "ended": now(),
            "device": outcome.device,
            "result": run.as_dict(),
        },
    )


def _model_spec(prepared: Prepared, settings: FitSettings, folder: FitFolder) -> ModelSpec:
    labels = prepared.manifest.labels
    recipe = load_recipe(settings.normalisation.recipe)
    training = {part.scan for part in prepared.division.training}
    used = [pair for pair in prepared.pairs if pair.name in training]
    axes = resampled_axes(settings.mode)  # in 2D the distance of slices does not matter
    found = [pair.image.geometry.voxel_size[axis] for pair in used for axis in axes]
    sizes = [size for size in found if size is not None]
    grey = [q for pair in used if (q := prepared.quantiles[pair.name]) is not None]
    network, patches = network_spec(prepared, settings), settings.patches
    moved = settings.surface == HALF_MAXIMUM
    if moved:
        bone_of(labels)
    plane = (patches.size, patches.size)
    return ModelSpec(
        name=folder.path.absolute().name,
        network=network,
        labels=labels,
        recipe=recipe.name,
        recipe_version=recipe.version,
        mode=settings.mode,
        voxel_size_um=settings.voxel_size,
        patch_size=(patches.depth, *plane) if settings.mode == "3D" else plane,
        ranges=TrainingRanges(
            (min(sizes), max(sizes)) if sizes else None,
            tuple(sorted({pair.image.dtype.name for pair in used})),
            # Those of simulated slices are not known beforehand: there is no end of them.
            GreyRange.of(grey) if grey and not settings.simulation.items else None,
        ),
        context=ContextSpec() if settings.network.context else None,
        surface=HALF_MAXIMUM if moved else None,
        provenance={
            "made": now(),
            **provenance(prepared, settings),
            "versions": versions(),
        },
    )


def _finite(spec: ModelSpec) -> ModelSpec:
    return replace(spec, provenance=finite(dict(spec.provenance)))
