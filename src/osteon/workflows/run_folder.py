"""The folder of a fit: whether a fit may begin or go on in it, and what it records of itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from osteon.datasets import Split
from osteon.errors import InputError, OsteonError, OutputError, UsageError
from osteon.files import remove, temporaries
from osteon.locks import locked
from osteon.settings import FitSettings, load_settings
from osteon.training import FitFolder, Place, agree
from osteon.workflows.record import check_folder, holds_more, now, read_json, write_json

#: What a fit writes, in its run folder and below.
_FIRST, _LOCK = "settings.yaml", ".lock"
_FILES = (
    "run.json", _FIRST, "dataset.toml", "split.json", "plan.json", "log.csv", "validation.csv",
    "model.safetensors", "report.html", "STOP",
)  # fmt: skip
_CHECKPOINTS = ("checkpoints/last.ckpt", "checkpoints/best.safetensors")


@contextmanager
def alone(folder: FitFolder, place: Place) -> Iterator[None]:
    """Keep other fits out of a run folder, which is made.

    Args:
        folder: The run folder; if no run begins in it, it is left as it was. The file of the lock
            goes with the lock, unless the process is killed.
        place: Which process of the fit this is: the first holds the lock for all.

    Raises:
        OutputError: If another fit is at it, or it cannot be written.
    """
    with ExitStack() as stack:
        agree(place, lambda: stack.enter_context(_alone(folder.path)))
        yield


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    check_folder(path)
    made = [one for one in (path, *path.absolute().parents) if not one.exists()]
    try:
        with locked(
            path / _LOCK,
            taken="another fit is running in this folder",
            mend="wait for it, end it (a file STOP in the folder ends it cleanly), or choose "
            "another folder",
        ):
            try:
                yield
            finally:
                remove(path / _LOCK)  # while it is held: nobody else can have it
    finally:
        for one in made:
            with suppress(OSError):  # a run is in it
                one.rmdir()


def open_run(
    folder: FitFolder, settings: FitSettings | None, *, resume: bool, overwrite: bool
) -> FitSettings:
    """Find out whether a fit may begin or go on in a folder; changes nothing.

    Args:
        folder: The run folder.
        settings: The settings that were asked for, if any.
        resume: Whether a run is gone on with.
        overwrite: Whether one may be replaced.

    Returns:
        The settings of the fit; those recorded where it goes on.

    Raises:
        InputError: If there is no run to go on with.
        OutputError: If the folder is taken or cannot be written.
        UsageError: If settings differ from the recorded ones.
    """
    if resume:
        if overwrite:
            raise UsageError(
                "a run is either gone on with or replaced",
                where="--resume --overwrite",
                mend="leave out one of them",
            )
        return _settings_to_go_on(folder, settings)
    check_folder(folder.path)
    if folder.path.is_dir() and holds_more(folder.path, _FIRST, _LOCK):
        if not (folder.path / "run.json").exists():
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
    return settings or FitSettings()


def recorded_settings(folder: FitFolder) -> FitSettings:
    """Read the settings that a run was started with.

    Args:
        folder: The run folder.

    Raises:
        InputError: If there is no run in it.
    """
    kept = folder.path / _FIRST
    if not kept.is_file():
        raise InputError(
            "there is no run to go on with in this folder",
            where=folder.path,
            mend="leave out --resume to start one",
        )
    return load_settings(FitSettings, kept)


def recorded_dataset(folder: FitFolder) -> Path | None:
    """Find the manifest that a run was started with: where it was, else the run's own copy.

    Args:
        folder: The run folder, which holds a run.

    Returns:
        The manifest; None for a run on simulated slices alone, or that never began.
    """
    if not (folder.path / "run.json").is_file():
        return None
    recorded = read_json(folder.path / "run.json").get("dataset")
    if not isinstance(recorded, str):
        return None
    original, copy = Path(recorded), folder.path / "dataset.toml"
    return copy if copy.is_file() and not original.is_file() else original


def _settings_to_go_on(folder: FitFolder, settings: FitSettings | None) -> FitSettings:
    recorded = recorded_settings(folder)
    check_folder(folder.path)
    if settings is not None and settings != recorded:
        raise UsageError(
            "the settings differ from those the run was started with",
            where=folder.path / _FIRST,
            mend="leave out --settings, --set and --seed with --resume, or start another run",
        )
    return recorded


def clear(path: Path) -> None:
    """Remove an earlier run, and nothing else that somebody put there.

    Args:
        path: The run folder.
    """
    sweep_run(path)
    for name in _FILES:
        (path / name).unlink(missing_ok=True)
    for name in ("checkpoints", "tensorboard"):
        shutil.rmtree(path / name, ignore_errors=True)


def sweep_run(path: Path) -> None:
    """Remove files that a fit was writing when it was killed: a checkpoint can be large.

    Args:
        path: The run folder; no other process may be at it.
    """
    for name in (*_FILES, *_CHECKPOINTS):
        for part in temporaries(path / name):
            remove(part)


def check_unchanged(
    folder: FitFolder, dataset: Path, hashes: Mapping[str, Mapping[str, str]], division: Split
) -> None:
    """Refuse to go on with a run on other data than it began with.

    Args:
        folder: The run folder.
        dataset: The manifest, for the message.
        hashes: Hashes of the data now.
        division: The split now.

    Raises:
        InputError: If the data or their split changed.
    """
    before = read_json(folder.path / "run.json").get("data")
    before = before if isinstance(before, dict) else {}
    changed = sorted(name for name in {*before, *hashes} if before.get(name) != hashes.get(name))
    if changed:
        raise InputError(
            f"the data changed since the run began: {', '.join(changed)}",
            where=dataset,
            mend="restore them, or start another run",
        )
    recorded, divided = read_json(folder.path / "split.json"), division.as_dict()
    if any(recorded.get(key) != divided[key] for key in ("training", "validation")):
        raise InputError(
            "the dataset divides into training and validation otherwise than when the run began",
            where=dataset,
            mend=f"restore its specimens and slices (see {folder.path / 'split.json'}), or start "
            "another run",
        )


@contextmanager
def failure_recorded(folder: FitFolder) -> Iterator[None]:
    """Keep an error in the run's record.

    Args:
        folder: The run folder.
    """
    try:
        yield
    except Exception as error:
        with suppress(OsteonError):  # the first error is the one to tell
            amend(folder, {"status": "failed", "error": str(error), "ended": now()})
        raise


def amend(folder: FitFolder, entries: Mapping[str, Any]) -> None:
    """Change entries of ``run.json``; an earlier error is forgotten.

    Args:
        folder: The run folder.
        entries: The new entries.

    Raises:
        InputError: If the record is damaged.
        OutputError: If it cannot be written.
    """
    path = folder.path / "run.json"
    kept = {key: value for key, value in read_json(path).items() if key != "error"}
    write_json(path, {**kept, **entries})
