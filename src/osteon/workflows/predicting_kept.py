"""What a kept prediction depends on, and the room on the disk that it takes."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from osteon import __version__
from osteon.backends import Backend
from osteon.errors import OutputError
from osteon.files import remove, temporaries
from osteon.formats.base import reading
from osteon.model_file import Model, weights_digest
from osteon.prediction import Wanted
from osteon.settings import PredictSettings
from osteon.volume import Volume

#: Labels that are compressed are planned for as so many times smaller; most are 10 times or more.
_COMPRESSED = 4
#: Suffixes whose label volumes are written as plain numbers.
_PLAIN = (".nrrd", ".nhdr", ".mha", ".mhd", ".nii", ".npy", ".dcm")
#: Files that only describe another file of the same name, which holds the numbers.
_HEADERS = (".mhd", ".nhdr", ".hdr")


def identity(
    scan: Path,
    volume: Volume,
    models: Sequence[Model],
    settings: PredictSettings,
    *,
    backend: Backend,
) -> dict[str, Any]:
    """Describe all that the labels of a scan depend on.

    Files are told by name, size and time of change, not read.

    Args:
        scan: The file or folder.
        volume: The scan.
        models: The model, or those that are averaged.
        settings: How it is predicted.
        backend: Its network, ready to run.

    Returns:
        Sections by what they are called to a person, JSON-compatible.

    Raises:
        InputError: If a file of the scan is gone.
    """
    return {
        "scan": {
            "path": str(scan.resolve()),
            "files": files_digest(scan),
            "shape": list(volume.shape),
            "dtype": str(volume.dtype),
            "geometry": asdict(volume.geometry),
        },
        "model": [
            {"weights": weights_digest(one.weights), "spec": one.spec.as_dict()} for one in models
        ],
        "settings": {
            "chosen": settings.model_dump(mode="json", exclude={"report"}),
            "backend": backend.description,
        },
        "version of osteon": __version__,
    }


def files_digest(scan: Path) -> str:
    """Return a hash of the names, sizes and times of change of a volume's files.

    Args:
        scan: The file or folder.

    Raises:
        InputError: If one is gone.
    """
    if scan.is_dir():
        files = sorted(path for path in scan.rglob("*") if path.is_file())
    else:
        files = [scan]
        if scan.suffix.lower() in _HEADERS:
            files = sorted(p for p in scan.parent.glob("*") if p.stem == scan.stem and p.is_file())
    digest = hashlib.sha256()
    for path in files:
        with reading(path):
            status = path.stat()
        line = f"{path.name}|{status.st_size}|{status.st_mtime_ns}\n"
        digest.update(line.encode("utf-8", errors="surrogateescape"))
    return digest.hexdigest()


@dataclass(frozen=True)
class DiskPlan:
    """The room on the disk that a prediction takes beside its target, in bytes.

    Attributes:
        kept: Finished labels in the work area, at most.
        labels: The label volume, and what is written beside it.
        free: What is free.
    """

    kept: int
    labels: int
    free: int

    def in_words(self) -> str:
        """Describe it to a person."""
        return (
            f"disk: {self.kept / 2**20:.0f} MiB at most while it runs, "
            f"{self.labels / 2**20:.0f} MiB at most for the labels"
        )


def plan_disk(
    target: Path, volume: Volume, *, missing: int, wanted: Wanted, classes: int
) -> DiskPlan:
    """Plan the room that a prediction takes, and refuse what cannot fit.

    Args:
        target: The label volume.
        volume: The scan.
        missing: Slices that are not finished yet.
        wanted: What is kept beside the labels, and along how many axes it is seen.
        classes: Number of classes.

    Returns:
        The plan; what is compressed is planned for as 4 times smaller than its values.

    Raises:
        OutputError: If there is too little room.
    """
    depth, height, width = volume.shape
    plain = target.suffix.lower() in _PLAIN
    layers, plane = wanted.layers(classes), height * width
    kept = missing * plane * layers // _COMPRESSED
    if wanted.axes > 1 and missing:
        # Probabilities across y and x, in two bytes, and the copy that they are made from.
        kept += depth * plane * (2 * classes * 2 // _COMPRESSED + volume.dtype.itemsize)
    plan = DiskPlan(
        kept,
        depth * plane // (1 if plain else _COMPRESSED)
        + depth * plane * (layers - 1) // _COMPRESSED,
        _free(target),
    )
    needed = plan.kept + plan.labels
    if needed > plan.free:
        raise OutputError(
            f"the labels may take {needed / 2**20:.0f} MiB, and the disk has "
            f"{plan.free / 2**20:.0f} MiB left",
            where=target,
            mend="make room, or choose a place on another disk for --out",
        )
    return plan


def sweep(target: Path) -> None:
    """Remove what a killed command had begun to write beside a target.

    Args:
        target: The label volume, whose work area is locked: nobody else is writing it.
    """
    for path in temporaries(target):
        remove(path)


def _free(target: Path) -> int:
    near = target.absolute().parent
    while not near.exists():
        near = near.parent
    return shutil.disk_usage(near).free
