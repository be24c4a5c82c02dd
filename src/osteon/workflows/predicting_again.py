"""A prediction that is asked for again: what was finished by the same command counts as done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from osteon.errors import OsteonError, OutputError
from osteon.formats import open_volume
from osteon.prediction import Store, work_area
from osteon.volume import Array, VolumeWriter
from osteon.workflows.predicting_kept import files_digest
from osteon.workflows.record import read_json


def record_path(target: Path) -> Path:
    """Return where the record of a label volume is: beside it.

    Args:
        target: The label volume.
    """
    return target.with_name(f"{target.name}.osteon.json")


def marks(target: Path, depends: Mapping[str, Any], beside: Sequence[Path] = ()) -> dict[str, Any]:
    """Return what a record holds so that the same command knows its labels again.

    Args:
        target: The label volume, whole.
        depends: What the labels depend on.
        beside: Volumes that are written beside it, whole.

    Raises:
        InputError: If the labels are gone.
    """
    text = json.dumps(depends, sort_keys=True)
    return {
        "made_from_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "label_files": files_digest(target),
        **({"beside_files": [files_digest(path) for path in beside]} if beside else {}),
    }


def finished_before(
    target: Path,
    depends: Mapping[str, Any],
    *,
    shape: tuple[int, int, int],
    beside: Sequence[Path] = (),
) -> dict[str, Any] | None:
    """Return the record of labels that the same command has finished; None if there are none.

    Labels that were changed since (other sizes or times of their files) are not counted. A work
    area that was left by a kill at the very end is removed.

    Args:
        target: The label volume.
        depends: What the labels depend on.
        shape: (z, y, x) of the scan.
        beside: Volumes that are written beside it.

    Raises:
        OutputError: If another command is at it.
    """
    record = record_path(target)
    if not (record.is_file() and all(path.exists() for path in (target, *beside))):
        return None
    try:
        found = read_json(record)
    except OsteonError:
        return None  # not ours, or damaged: the labels then exist as any other file does
    now = marks(target, depends, beside)
    if any(found.get(name) != value for name, value in now.items()):
        return None
    area = work_area(target)
    if area.is_dir():
        with Store(area, shape=shape, identity=depends, restart=True) as store:
            store.discard()
    return found


class SameLabels(VolumeWriter):
    """Stands for a label volume that is in place, and checks that it is what would be written.

    A kill after the labels got their name, before the work area was removed, leaves both.

    Args:
        path: The label volume.
        shape: (z, y, x) that it must have.

    Raises:
        OutputError: If it is something else.
    """

    def __init__(self, path: Path, *, shape: tuple[int, int, int]):
        self.path, self.shape, self.dtype = path, shape, np.dtype(np.uint8)
        try:
            self._there = open_volume(path)
        except OsteonError:
            raise self._other() from None
        if self._there.shape != shape:
            raise self._other()

    def write(self, z0: int, block: Array) -> None:
        """Compare slices; see :meth:`osteon.volume.VolumeWriter.write`."""
        there = self._there.read(slice(z0, z0 + block.shape[0]))
        if not np.array_equal(there, block):
            raise self._other()

    def close(self) -> None:
        """Leave it as it is."""

    def abort(self) -> None:
        """Leave it as it is."""

    def _other(self) -> OutputError:
        return OutputError(
            "this exists already, and is not what the prediction would write",
            where=self.path,
            mend="choose another name for --out, or --overwrite",
        )
