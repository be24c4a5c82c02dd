"""``osteon fit``: a dataset → a run folder with model, log and report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from osteon.datasets import (
    GridTiles,
    Manifest,
    Pair,
    Part,
    SlicePatches,
    Split,
    content_hash,
    open_pairs,
    scan_shapes,
    scan_statistics,
    split,
)
from osteon.errors import Stopped, UsageError
from osteon.events import Reporter
from osteon.intensity import Statistics, load_recipe
from osteon.model_file import Model, ModelSpec, TrainingRanges, save_model
from osteon.networks import NetworkSpec
from osteon.prediction import parse_memory
from osteon.settings import FitSettings
from osteon.settings.base import SCHEMA as SETTINGS_SCHEMA
from osteon.training import EpochRow, FitData, FitFolder, FitOutcome
from osteon.training import fit as fit_network
from osteon.workflows.fit_report import write_report
from osteon.workflows.record import count, finite, machine, now, versions, write_json, write_text
from osteon.workflows.run_folder import amend, check_unchanged, clear, failure_recorded, open_run

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
            "seconds": round(outcome.seconds, 1),
        }


@dataclass(frozen=True)
class _Prepared:
    manifest: Manifest
    pairs: tuple[Pair, ...]
    division: Split
    statistics: dict[str, Statistics]
    hashes: dict[str, dict[str, str]]


def fit(
    dataset: str | Path,
    *,
    out: str | Path,
    settings: FitSettings | None = None,
    resume: bool = False,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> FitRun:
    """Fit a network to the scans and masks of a dataset.

    The run folder holds ``run.json`` (what it is, versions, data hashes), ``settings.yaml``,
    ``dataset.toml``, ``split.json``, ``plan.json``, ``log.csv``, ``checkpoints/``,
    ``model.safetensors`` (the best so far, at any time) and ``report.html``. A file ``STOP`` in
    it ends the fit cleanly. Memory: see :func:`osteon.training.fit`.

    Args:
        dataset: The manifest (TOML).
        out: The run folder.
        settings: Settings; with ``resume`` those of the run are used, and others are an error.
        resume: Go on with an interrupted or stopped run.
        overwrite: Replace an existing run.
        reporter: Told of the progress; a stop request ends the fit cleanly.

    Returns:
        The run.

    Raises:
        InputError: If the dataset is unfit, damaged, or changed since the run began.
        OutputError: If the folder holds a run already or cannot be written.
        UsageError: If settings do not go together or differ from the resumed run's.
    """
    reporter = reporter or Reporter()
    folder = FitFolder(Path(out))
    settings = open_run(folder, settings, resume=resume, overwrite=overwrite)
    if resume:
        folder.stop_file.unlink(missing_ok=True)  # the one that ended it
        reporter.stop.watch(folder.stop_file)
    # Whatever may be wrong with the data shows here, before anything is written or replaced.
    prepared = _prepare(Path(dataset), settings, reporter)
    spec = _model_spec(prepared, settings, folder)
    data = _fit_data(prepared, settings, spec.network)
    if (folder.path / "run.json").exists() and resume:
        check_unchanged(folder, Path(dataset), prepared.hashes, prepared.division)
        amend(folder, {"status": "running"})
    else:
        clear(folder.path)
        _write_start(folder, prepared, settings)
        reporter.stop.watch(folder.stop_file)
    _announce(prepared, reporter)
    with failure_recorded(folder):
        run = _run(folder, prepared, spec, data, settings=settings, resume=resume, to=reporter)
    _write_end(folder, run)
    return run


def _run(
    folder: FitFolder,
    prepared: _Prepared,
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
    if outcome.best_epoch is None or not model_path.exists():
        save_model(model_path, Model(spec, outcome.weights))
    folder.stop_file.unlink(missing_ok=True)
    report = write_report(
        folder,
        outcome,
        model=Model(spec, outcome.weights, model_path),
        prepared=prepared,
        settings=settings,
        reporter=to,
    )
    return FitRun(folder.path, model_path, report, outcome, prepared.division)


def _prepare(dataset: Path, settings: FitSettings, reporter: Reporter) -> _Prepared:
    manifest = Manifest.load(dataset)
    pairs = open_pairs(manifest)
    division = split(manifest, settings.validation, seed=settings.seed, shapes=scan_shapes(pairs))
    used = {part.scan for part in (*division.training, *division.validation)}
    pairs = tuple(pair for pair in pairs if pair.name in used)
    statistics = scan_statistics(pairs, settings.normalisation.recipe, reporter=reporter)
    hashes = {}
    for pair in pairs:
        if reporter.stopping:
            raise Stopped("stopped before the first step; nothing was written")
        hashes[pair.name] = {"image": content_hash(pair.image, reporter)}
        if pair.labels is not None:
            hashes[pair.name]["labels"] = content_hash(pair.labels, reporter)
    return _Prepared(manifest, pairs, division, statistics, hashes)


def _announce(prepared: _Prepared, reporter: Reporter) -> None:
    division = prepared.division
    text = f"fitting to {_extent(division.training)}"
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


def _write_start(folder: FitFolder, prepared: _Prepared, settings: FitSettings) -> None:
    dump = {"schema": SETTINGS_SCHEMA, **settings.model_dump(mode="json")}
    write_text(folder.path / "settings.yaml", yaml.safe_dump(dump, sort_keys=False))
    prepared.manifest.save(folder.path / "dataset.toml", overwrite=True)
    write_json(folder.path / "split.json", prepared.division.as_dict())
    write_json(
        folder.path / "run.json",  # the last: a folder with it holds all the others
        {
            "schema": SCHEMA,
            "kind": "fit",
            "status": "running",
            "started": now(),
            "dataset": str(Path(prepared.manifest.path or "").absolute()),
            "seed": settings.seed,
            "data": prepared.hashes,
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
            "peak_memory_bytes": outcome.peak_memory,
            "result": run.as_dict(),
        },
    )


def _model_spec(prepared: _Prepared, settings: FitSettings, folder: FitFolder) -> ModelSpec:
    labels = prepared.manifest.labels
    recipe = load_recipe(settings.normalisation.recipe)
    training = {part.scan for part in prepared.division.training}
    used = [pair for pair in prepared.pairs if pair.name in training]
    sizes = [s for pair in used for s in pair.image.geometry.voxel_size if s is not None]
    return ModelSpec(
        name=folder.path.absolute().name,
        network=NetworkSpec.from_settings(settings.network, in_channels=1, classes=len(labels)),
        labels=labels,
        recipe=recipe.name,
        recipe_version=recipe.version,
        ranges=TrainingRanges(
            (min(sizes), max(sizes)) if sizes else None,
            tuple(sorted({pair.image.dtype.name for pair in used})),
        ),
        provenance={
            "made": now(),
            "settings": settings.model_dump(mode="json"),
            "split": prepared.division.as_dict(),
            "data": prepared.hashes,
            "versions": versions(),
        },
    )


def _finite(spec: ModelSpec) -> ModelSpec:
    return replace(spec, provenance=finite(dict(spec.provenance)))


def _fit_data(prepared: _Prepared, settings: FitSettings, network: NetworkSpec) -> FitData:
    recipe = settings.normalisation.recipe
    workers = settings.training.workers
    # Each process keeps its own slices; "auto" may start several.
    shares = max(1, workers) if isinstance(workers, int) else 1
    source = SlicePatches(
        prepared.pairs,
        prepared.division.training,
        patches=settings.patches,
        statistics=prepared.statistics,
        recipe=recipe,
        augmentation=settings.augmentation.preset,
        seed=settings.seed,
        cache_bytes=_cache_bytes(settings) // shares,
    )
    tiles = None
    if prepared.division.validation:
        tiles = GridTiles(
            prepared.pairs,
            prepared.division.validation,
            size=max(512, settings.patches.size),
            statistics=prepared.statistics,
            recipe=recipe,
            divisor=network.divisor,
        )
    return FitData(source, tiles, prepared.manifest.labels)


def _cache_bytes(settings: FitSettings) -> int:
    try:
        return parse_memory(settings.training.cache)
    except UsageError as error:
        raise UsageError(error.what, where="training.cache", mend=error.mend) from None
