"""What ``--model`` names: a file, a model that comes with osteon, or the models of a study."""

from __future__ import annotations

from pathlib import Path

from osteon.errors import InputError
from osteon.tables.shipped import find_model
from osteon.workflows.record import read_json


def model_files(name: str | Path | None) -> list[Path]:
    """Find the model files that a name or path stands for.

    Args:
        name: A name, a file, the folder of a fit or of a study, or None for the default model.

    Returns:
        The files; of a study those of all its finished runs.

    Raises:
        InputError: If there is no such model; if a run of the study is not finished; or if the
            study compares groups of settings, whose models are not meant to be averaged.
    """
    run = None if name is None else Path(name) / "model.safetensors"
    if run is not None and run.is_file():
        return [run]
    record = None if name is None else Path(name) / "study.json"
    if record is None or not record.is_file():
        return [find_model(name)]
    folder, runs = record.parent, read_json(record).get("runs", [])
    groups = sorted({str(run.get("group")) for run in runs})
    if len(groups) > 1:
        raise InputError(
            f"this study compares {len(groups)} groups of settings, so its models are no ensemble",
            where=folder,
            mend="give the models of one group: --model RUN/model.safetensors, once for each",
        )
    places = [folder / "runs" / str(run.get("name")) for run in runs]
    open_ones = [p.name for p in places if not _finished(p)]
    if open_ones or not places:
        raise InputError(
            f"runs of this study are not finished: {', '.join(open_ones)}",
            where=folder,
            mend="go on by: osteon study run STUDY.yaml --out " + str(folder),
        )
    return [place / "model.safetensors" for place in places]


def _finished(place: Path) -> bool:
    record = place / "run.json"
    return record.is_file() and read_json(record).get("status") == "finished"
