"""Finds what goes with labels: their files, the scan and the model that their records name."""

from __future__ import annotations

from pathlib import Path

from osteon.errors import InputError, OsteonError, UsageError
from osteon.evaluation import Evaluation
from osteon.workflows.record import read_json

#: What `osteon predict` writes beside a label volume.
_BESIDE = (".osteon.json", ".report.html")


def labels_of(name: str, labels: Path, *, alone: bool) -> Path:
    """Find the label volume of a scan in a folder.

    Args:
        name: Name of the scan.
        labels: The folder; or the label volume itself.
        alone: Whether it is the only scan, whose labels may have any name.

    Returns:
        Where they are.

    Raises:
        UsageError: If several could be meant.
        InputError: If there are none.
    """
    if labels.is_dir():
        if (labels / name).exists():
            return labels / name
        found = sorted(p for p in labels.glob(f"{name}.*") if not p.name.endswith(_BESIDE))
        if len(found) == 1:
            return found[0]
        if len(found) > 1:
            raise UsageError(
                f"several label volumes could be those of scan '{name}'",
                where=", ".join(p.name for p in found),
                mend="keep one of them in the folder",
            )
    if alone:
        return labels
    raise InputError(
        f"there are no labels of scan '{name}'",
        where=labels,
        mend=f"give a folder with a label volume named {name} for each scan of the manifest",
    )


def recorded_scan(labels: Path) -> Path | None:
    """Return the scan that the record beside labels names, if it is still there."""
    record = labels.with_name(f"{labels.name}.osteon.json")
    try:
        path = Path(str(read_json(record)["scan"]))
    except (OsteonError, KeyError):
        return None  # not predicted by osteon: the report does without the scan
    return path if path.exists() else None


def models_of(result: Evaluation) -> list[str]:
    """Name the models that made the labels, where the records beside all of them say it."""
    found = []
    for scan in result.scans:
        labels = Path(scan.labels_path)
        try:
            model = read_json(labels.with_name(f"{labels.name}.osteon.json"))["model"]
            found.append(f"{model['name']} (weights SHA-256 {str(model['weights_sha256'])[:16]})")
        except (OsteonError, KeyError, TypeError):
            return []  # not all of them are osteon's: the reader has to say it
    return sorted(set(found))
