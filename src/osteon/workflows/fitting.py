"""``osteon fit``: a dataset → a run folder with model, log and report."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from osteon.datasets import (
    GridTiles,
    Manifest,
    Pair,
    SlicePatches,
    Split,
    content_hash,
    open_pairs,
    scan_shapes,
    scan_statistics,
    split,
)
from osteon.errors import InputError, OutputError, UsageError
from osteon.events import Reporter
from osteon.intensity import Statistics, load_recipe
from osteon.model_file import Model, ModelSpec, TrainingRanges, save_model
from osteon.networks import NetworkSpec
from osteon.prediction import parse_memory
from osteon.settings import FitSettings, load_settings
from osteon.settings.base import SCHEMA as SETTINGS_SCHEMA
from osteon.training import EpochRow, FitData, FitFolder, FitOutcome
from osteon.training import fit as fit_network
from osteon.workflows.fit_report import write_report
from osteon.workflows.record import (
    finite,
    machine,
    now,
    read_json,
    versions,
    write_json,
    write_text,
)

#: Schema of ``run.json``.
SCHEMA = 1


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
    settings = _open_run(folder, settings, resume=resume, overwrite=overwrite)
    folder.stop_file.unlink(missing_ok=True)
    reporter.stop.watch(folder.stop_file)
    prepared = _prepare(Path(dataset), settings, folder, reporter)
    _write_start(folder, prepared, settings)
    spec = _model_spec(prepared, settings, folder)
    data = _fit_data(prepared, settings, spec.network)

    def keep(weights: Mapping[str, Any], row: EpochRow) -> None:
        scored = replace(spec, provenance={**spec.provenance, "best": row.flat(spec.labels.names)})
        save_model(model_path, Model(_finite(scored), weights))

    model_path = folder.path / "model.safetensors"
    outcome = fit_network(
        spec.network,
        data,
        settings,
        folder=folder,
        resume=resume,
        reporter=reporter,
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
        reporter=reporter,
    )
    run = FitRun(folder.path, model_path, report, outcome, prepared.division)
    _write_end(folder, run)
    return run


def _open_run(
    folder: FitFolder, settings: FitSettings | None, *, resume: bool, overwrite: bool
) -> FitSettings:
    record, kept = folder.path / "run.json", folder.path / "settings.yaml"
    if resume:
        if not kept.is_file():
            raise InputError(
                "there is no run to go on with in this folder",
                where=folder.path,
                mend="leave out --resume to start one",
            )
        recorded = load_settings(FitSettings, kept)
        if settings is not None and settings != recorded:
            raise UsageError(
                "the settings differ from those the run was started with",
                where=kept,
                mend="leave out --settings and --set with --resume, or start another run",
            )
        return recorded
    if record.exists() or (folder.path.is_dir() and any(folder.path.iterdir())):
        if not record.exists():
            raise OutputError(
                "this folder is not empty and holds no run of osteon",
                where=folder.path,
                mend="choose another folder",
            )
        if not overwrite:
            raise OutputError(
                "there is a run in this folder already",
                where=folder.path,
                mend="choose another folder, go on by --resume, or replace it by --overwrite",
            )
        _clear(folder.path)
    return settings or FitSettings()


def _clear(path: Path) -> None:
    # Only what a run makes: nothing else that somebody put there.
    for name in ("run.json", "settings.yaml", "dataset.toml", "split.json", "plan.json", "log.csv",
                 "model.safetensors", "report.html", "STOP"):  # fmt: skip
        (path / name).unlink(missing_ok=True)
    shutil.rmtree(path / "checkpoints", ignore_errors=True)


def _prepare(
    dataset: Path, settings: FitSettings, folder: FitFolder, reporter: Reporter
) -> _Prepared:
    manifest = Manifest.load(dataset)
    pairs = open_pairs(manifest)
    division = split(manifest, settings.validation, seed=settings.seed, shapes=scan_shapes(pairs))
    used = {part.scan for part in (*division.training, *division.validation)}
    pairs = tuple(pair for pair in pairs if pair.name in used)
    statistics = scan_statistics(pairs, settings.normalisation.recipe, reporter=reporter)
    hashes = {}
    for pair in pairs:
        hashes[pair.name] = {"image": content_hash(pair.image, reporter)}
        if pair.labels is not None:
            hashes[pair.name]["labels"] = content_hash(pair.labels, reporter)
    record = folder.path / "run.json"
    if record.exists():
        before = read_json(record).get("data")
        changed = [n for n in hashes if isinstance(before, dict) and before.get(n) != hashes[n]]
        if changed:
            raise InputError(
                f"the data changed since the run began: {', '.join(changed)}",
                where=dataset,
                mend="restore them, or start another run",
            )
    return _Prepared(manifest, pairs, division, statistics, hashes)


def _write_start(folder: FitFolder, prepared: _Prepared, settings: FitSettings) -> None:
    record = folder.path / "run.json"
    if record.exists():
        return
    dump = {"schema": SETTINGS_SCHEMA, **settings.model_dump(mode="json")}
    write_text(folder.path / "settings.yaml", yaml.safe_dump(dump, sort_keys=False))
    prepared.manifest.save(folder.path / "dataset.toml", overwrite=True)
    write_json(folder.path / "split.json", prepared.division.as_dict())
    write_json(
        record,
        {
            "schema": SCHEMA,
            "kind": "fit",
            "status": "running",
            "started": now(),
            "dataset": str(prepared.manifest.path),
            "seed": settings.seed,
            "data": prepared.hashes,
            "statistics": {n: s.as_dict() for n, s in prepared.statistics.items()},
            "versions": versions(),
            "machine": machine(),
        },
    )


def _write_end(folder: FitFolder, run: FitRun) -> None:
    outcome = run.outcome
    write_json(
        folder.path / "run.json",
        {
            **read_json(folder.path / "run.json"),
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
        cache_bytes=parse_memory(settings.training.cache) // shares,
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
