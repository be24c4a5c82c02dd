"""``osteon predict``: scans and a model → label volumes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from osteon.backends.quantised import Quantiser
from osteon.errors import (
    ExitCode,
    InputError,
    OsteonError,
    OutputError,
    Stopped,
    UsageError,
    refused_memory_is_told,
)
from osteon.events import Reporter
from osteon.files import parse_memory
from osteon.formats import open_volume, open_writer
from osteon.model_file import Model
from osteon.prediction import (
    Elsewhere,
    Predicted,
    Store,
    check_ranges,
    plan_cleanup,
    predict_kept,
    slices_in,
    with_grey_values_of_all,
    work_area,
)
from osteon.resampling import resampled_axes
from osteon.settings import PredictSettings
from osteon.volume import Volume, VolumeWriter
from osteon.workflows.naming import scan_name
from osteon.workflows.opening import open_models, sized
from osteon.workflows.predict_report import noted, report_path, write_report
from osteon.workflows.predicting_again import (
    SameLabels,
    finished_before,
    marks,
    record_path,
)
from osteon.workflows.predicting_backend import Opened, open_picked
from osteon.workflows.predicting_beside import BesideTarget, beside_paths, wanted_of
from osteon.workflows.predicting_kept import identity, plan_disk, sweep
from osteon.workflows.record import check_folder, machine, now, versions, write_json
from osteon.workflows.spreading import Task, Workers, own_threads, spread

#: Schema of the record that is written beside the labels.
SCHEMA = 1


@dataclass(frozen=True)
class PredictionRun:
    """The outcome of predicting one scan.

    Attributes:
        scan: The scan.
        labels: Where its labels are; None if it failed.
        predicted: What was found and how; None if it failed, or was finished before.
        error: Why it failed; None if it did not.
        report: The report; None if it failed or none was asked for.
        earlier: The record of labels that the same command had finished before; None if not.
        beside: What was written beside the labels, by name: probabilities, uncertainty.
    """

    scan: Path
    labels: Path | None
    predicted: Predicted | None
    error: OsteonError | None = None
    report: Path | None = None
    earlier: dict[str, Any] | None = None
    beside: dict[str, Path] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-compatible description."""
        return {
            "scan": str(self.scan),
            "labels": None if self.labels is None else str(self.labels),
            **{name: str(path) for name, path in self.beside.items()},
            **self._found(),
            "finished_before": self.earlier is not None,
            "report": None if self.report is None else str(self.report),
            "error": None if self.error is None else str(self.error),
        }

    def _found(self) -> dict[str, Any]:
        if self.predicted is not None:
            return self.predicted.as_dict()
        earlier = self.earlier or {}
        return {f.name: earlier[f.name] for f in fields(Predicted) if f.name in earlier}


def predict(
    scans: Sequence[str | Path],
    *,
    out: str | Path,
    model: str | Path | Sequence[str | Path] | None = None,
    settings: PredictSettings | None = None,
    voxel_size: float | None = None,
    workers: Workers | None = None,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> list[PredictionRun]:
    """Segment scans with a model.

    One that fails does not keep the others from being predicted. What is finished is kept in a
    work area beside the target (``.<name>.osteon-part``) until the labels are whole: after a stop,
    a full disk or a kill the same call goes on from there, to the same labels. Beside each label
    volume ``<name>.osteon.json`` says how it was made and ``<name>.report.html`` shows slices of
    it. Labels that the same call has finished before, and that nobody has changed since, count as
    done. Memory: see ``settings.memory``.

    Args:
        scans: Folders of slices, or files in any known format.
        out: With one scan: the label volume (the suffix says the format, none: a folder of TIFF
            slices). With several: a folder; each result is named after its scan.
        model: A model file, the name of a model that comes with osteon, or the folder of a study
            (all its models); None: ``bone-pores``. Several: the mean of their class probabilities.
        settings: Backend, device, precision, memory.
        voxel_size: Voxel size of the scans in µm, along all axes, in place of what their files
            say; models that have a voxel size of their own need it.
        workers: Processes that share the work, here or on a cluster; None: this one does it.
        overwrite: Replace existing label volumes.
        reporter: Told of the progress.

    Returns:
        One outcome a scan, in order.

    Raises:
        OsteonError: With a single scan, why it failed; with several, only what concerns all (the
            model, the backend).
    """
    reporter = reporter or Reporter()
    settings = settings or PredictSettings()
    parse_memory(settings.memory)  # a wrong one is told before anything is loaded
    _check_size(voxel_size)
    targets = _targets([Path(s) for s in scans], Path(out))
    models = open_models(model)
    opened = open_picked(models, settings, targets, reporter=reporter)
    asked = _Request(models, opened, voxel_size, workers, overwrite, reporter)
    runs = []
    for scan, target in targets:
        try:
            with refused_memory_is_told(scan):
                runs.append(_one(scan, target, asked))
        except Stopped:
            raise
        except OsteonError as error:
            if len(targets) == 1:
                raise
            reporter.message("predict", f"error: {error}", scan=str(scan))
            runs.append(PredictionRun(scan, None, None, error))
    return runs


@dataclass(frozen=True)
class _Request:
    """What all scans of a command have in common."""

    models: Sequence[Model]
    opened: Opened
    voxel_size: float | None
    workers: Workers | None
    overwrite: bool
    reporter: Reporter


def _one(scan: Path, target: Path, asked: _Request) -> PredictionRun:
    """Predict one scan, unless its labels were finished before."""
    settings, models = asked.opened.settings, asked.models
    volume = sized(open_volume(scan), asked.voxel_size)
    depends = identity(scan, volume, models, settings, backend=asked.opened.backend)
    beside = beside_paths(target, wanted_of(settings))
    earlier = (
        None
        if asked.overwrite
        else finished_before(target, depends, shape=volume.shape, beside=list(beside.values()))
    )
    if earlier is not None:
        asked.reporter.message("predict", f"finished before: {target}", scan=str(scan))
        return _done(scan, target, earlier, beside=beside)
    with noted() as told:
        predicted = _labelled(scan, target, volume, asked, depends=depends)
    run = PredictionRun(scan, target, predicted, beside=beside)
    if not settings.report:
        return run
    report = write_report(target, volume, models, predicted, settings=settings, told=told)
    return replace(run, report=report)


def _labelled(
    scan: Path, target: Path, volume: Volume, asked: _Request, *, depends: dict[str, Any]
) -> Predicted:
    """Label one scan, or go on where an earlier command ended."""
    model, settings = with_grey_values_of_all(asked.models), asked.opened.settings

    def open_target() -> VolumeWriter:
        return open_writer(target, like=volume, labels=model.spec.labels, overwrite=asked.overwrite)

    _check_others(volume, asked.models[1:], checked=model)
    memory = parse_memory(settings.memory)
    cleanup = plan_cleanup(volume, model.spec.labels, settings.cleanup, memory=memory)
    area = work_area(target)
    both = target.exists() and area.is_dir() and not asked.overwrite
    if not both:
        open_target().abort()  # what cannot be written is told now, not after the work
    wanted, classes = wanted_of(settings), len(model.spec.labels)
    beside = BesideTarget(
        beside_paths(target, wanted), volume, model.spec.labels, overwrite=asked.overwrite
    )
    with Store(
        area, shape=volume.shape, identity=depends, restart=asked.overwrite,
        layers=wanted.layers(classes),
    ) as store:  # fmt: skip
        sweep(target)
        beside.check(store)
        placed = both and not store.missing()  # killed after the last rename
        if both and not placed:
            open_target().abort()
        missing = slices_in(store.missing())
        disk = plan_disk(target, volume, missing=missing, wanted=wanted, classes=classes)
        asked.reporter.message("predict", disk.in_words())
        predicted = predict_kept(
            model,
            volume,
            store,
            open_target=partial(SameLabels, target, shape=volume.shape) if placed else open_target,
            backend=asked.opened.backend,
            memory=memory,
            wanted=wanted,
            open_beside=partial(beside.open, store),
            cleanup=cleanup,
            quantiser=_quantiser(asked),
            elsewhere=_elsewhere(scan, store, asked),
            reporter=asked.reporter,
        )
        found = {
            "picked": asked.opened.why,
            **{name: str(path) for name, path in beside.paths.items()},
            **predicted.as_dict(),
            **marks(target, depends, list(beside.paths.values())),
        }
        _record(target, scan, asked.models, found)
        store.discard()
    return predicted


def _check_others(volume: Volume, others: Sequence[Model], *, checked: Model) -> None:
    """Warn of a scan outside of the ranges of models that differ from one that is checked."""
    for other in others:
        if other.spec.ranges != checked.spec.ranges:
            check_ranges(volume, other.spec.ranges, axes=resampled_axes(checked.spec.mode))


def _quantiser(asked: _Request) -> Quantiser | str | None:
    """What makes the int8 network, or why there is none; workers open the network themselves."""
    if asked.opened.quantiser is None or asked.workers is None:
        return asked.opened.quantiser
    return "workers compute as `--speed normal` does"


def _elsewhere(scan: Path, store: Store, asked: _Request) -> Elsewhere | None:
    """Say what workers must know to label a part of a scan; None if there are none."""
    if asked.workers is None:
        return None
    whole = Task(
        scan.absolute(),
        asked.voxel_size,
        tuple(Path(one.path).absolute() for one in asked.models if one.path is not None),
        own_threads(asked.opened.settings, asked.workers),
        store.folder,
        store.identity,
        asked.opened.backend.description,
        (0, store.shape[0]),
    )
    return spread(whole, asked.workers, reporter=asked.reporter)


def _done(
    scan: Path, target: Path, earlier: dict[str, Any], *, beside: dict[str, Path]
) -> PredictionRun:
    report = report_path(target)
    return PredictionRun(
        scan, target, None, report=report if report.is_file() else None, earlier=earlier,
        beside=beside,
    )  # fmt: skip


def exit_code(runs: Sequence[PredictionRun]) -> ExitCode:
    """Return the exit code that says how several predictions went.

    Args:
        runs: The outcomes.

    Returns:
        OK if none failed, the code of the first error if all did, else PARTIAL.
    """
    errors = [run.error for run in runs if run.error is not None]
    if not errors:
        return ExitCode.OK
    return errors[0].exit_code if len(errors) == len(runs) else ExitCode.PARTIAL


def _targets(scans: Sequence[Path], out: Path) -> list[tuple[Path, Path]]:
    if not scans:
        raise UsageError("no scan was given", mend="osteon predict SCAN --out LABELS")
    if len(scans) == 1:
        _check_apart(scans[0], out)
        return [(scans[0], out)]
    if out.suffix:
        raise UsageError(
            f"with {len(scans)} scans --out must be a folder",
            where=out,
            mend="leave out the suffix",
        )
    names = [scan_name(scan) for scan in scans]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(
            f"several scans would be written to the same name: {', '.join(twice)}",
            where=out,
            mend="predict them one by one, or rename them",
        )
    check_folder(out)
    for scan, name in zip(scans, names, strict=True):
        _check_apart(scan, out / name)
    return [(scan, out / name) for scan, name in zip(scans, names, strict=True)]


def _check_size(voxel_size: float | None) -> None:
    if voxel_size is not None and not (math.isfinite(voxel_size) and voxel_size > 0):
        raise UsageError(
            f"a voxel size must be positive, not {voxel_size:g} µm", where="--voxel-size"
        )


def _check_apart(scan: Path, target: Path) -> None:
    check_folder(target.absolute().parent, target=target)
    a, b = scan.resolve(), target.resolve()
    if a == b:
        raise OutputError(
            "the labels would replace the scan they are made from",
            where=target,
            mend="choose another name for --out",
        )
    if scan.is_dir() and a in b.parents:
        raise OutputError(
            "the labels would be written among the files of the scan",
            where=target,
            mend="choose a place outside of the scan's folder",
        )
    if b in a.parents:
        raise OutputError(
            "the labels would take the place of a folder that holds the scan",
            where=target,
            mend="choose the name of a folder that does not exist yet",
        )


def _record(target: Path, scan: Path, models: Sequence[Model], found: dict[str, Any]) -> None:
    if not target.exists():
        raise InputError("the label volume vanished while its record was written", where=target)
    write_json(
        record_path(target),
        {
            "schema": SCHEMA,
            "kind": "prediction",
            "made": now(),
            "scan": str(scan.absolute()),
            "model": _described(models[0]),
            **({"mean_with": [_described(m) for m in models[1:]]} if models[1:] else {}),
            **found,
            "versions": versions(),
            "machine": machine(),
        },
    )


def _described(model: Model) -> dict[str, str]:
    return {
        "name": model.spec.name,
        "file": str(model.path),
        "weights_sha256": model.spec.weights_sha256,
    }
