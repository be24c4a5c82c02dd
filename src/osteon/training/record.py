"""What is recorded of each epoch, and its table on disk."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from osteon.files import write_text
from osteon.metrics import iou

#: What to do when a fit cannot write.
MEND = "free some disk space or choose a writable folder, then go on with --resume"


@dataclass(frozen=True)
class FitFolder:
    """Where a fit keeps its files.

    Attributes:
        path: The run folder.
    """

    path: Path

    @property
    def plan(self) -> Path:
        """The plan that was settled before the first step (JSON)."""
        return self.path / "plan.json"

    @property
    def last(self) -> Path:
        """The checkpoint that a fit goes on from."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def best(self) -> Path:
        """The weights of the best epoch."""
        return self.path / "checkpoints" / "best.safetensors"

    @property
    def log(self) -> Path:
        """The table of epochs (CSV)."""
        return self.path / "log.csv"

    @property
    def scans(self) -> Path:
        """The table of validation scans under the best weights (CSV)."""
        return self.path / "validation.csv"

    @property
    def boards(self) -> Path:
        """The folder of TensorBoard's logs."""
        return self.path / "tensorboard"

    @property
    def stop_file(self) -> Path:
        """A file by this name ends the fit cleanly."""
        return self.path / "STOP"


@dataclass(frozen=True)
class EpochRow:
    """One epoch.

    Attributes:
        epoch: Number, from 1.
        step: Steps of the optimiser so far.
        train_loss: Mean loss of the epoch's batches.
        val_loss: Mean loss of the validation slices; NaN without validation.
        val_mean_iou: IoU, mean over classes, then over the validation scans; NaN without.
        val_iou: IoU of each class, mean over the validation scans in which it occurs.
        learning_rate: At the end of the epoch.
        seconds: Wall time of the epoch with its validation.
        val_seconds: Wall time of the validation alone; NaN without.
        val_voxels: Voxels that the validation sent through the network; 0 without.
    """

    epoch: int
    step: int
    train_loss: float
    val_loss: float
    val_mean_iou: float
    val_iou: tuple[float, ...]
    learning_rate: float
    seconds: float
    val_seconds: float = math.nan
    val_voxels: int = 0

    def flat(self, classes: Sequence[str]) -> dict[str, Any]:
        """Return the row as a flat dictionary with a column ``val_iou_<class>`` each.

        Args:
            classes: Names of the classes.
        """
        row: dict[str, Any] = {}
        for field in fields(self):
            if field.name == "val_iou":
                scores = self.val_iou or (math.nan,) * len(classes)
                row |= {f"val_iou_{n}": v for n, v in zip(classes, scores, strict=True)}
            else:
                row[field.name] = getattr(self, field.name)
        return row


def class_means(scores: np.ndarray[Any, Any]) -> tuple[float, ...]:
    """Mean IoU of each class over the scans in which it occurs.

    Args:
        scores: (scan, K) IoU, NaN where a class does not occur.

    Returns:
        K values; NaN for a class that occurs in no scan.
    """
    present = ~np.isnan(scores)
    count = present.sum(0)
    total = np.where(present, scores, 0).sum(0)
    return tuple(float(t / n) if n else math.nan for t, n in zip(total, count, strict=True))


def write_log(path: Path, rows: Sequence[EpochRow], classes: Sequence[str]) -> None:
    """Write the table of epochs beside its target, then rename it.

    Args:
        path: The CSV file.
        rows: The epochs.
        classes: Names of the classes.

    Raises:
        OutputError: If it cannot be written.
    """
    text = io.StringIO()
    flat = [row.flat(classes) for row in rows]
    if flat:
        writer = csv.DictWriter(text, fieldnames=list(flat[0]))
        writer.writeheader()
        writer.writerows(flat)
    write_text(path, text.getvalue(), mend=MEND)


def write_scan_scores(
    path: Path, scans: Sequence[str], confusions: np.ndarray[Any, Any], classes: Sequence[str]
) -> None:
    """Write IoU and voxels of each validation scan beside their target, then rename it.

    Args:
        path: The CSV file.
        scans: Names of the scans.
        confusions: (scan, K, K) counts, rows are truth.
        classes: Names of the classes.

    Raises:
        OutputError: If it cannot be written.
    """
    head = ["scan", "mean_iou", *(f"iou_{n}" for n in classes), *(f"voxels_{n}" for n in classes)]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(head)
    for name, scores, counts in zip(scans, iou(confusions), confusions, strict=True):
        present = scores[~np.isnan(scores)]
        mean = float(present.mean()) if present.size else math.nan
        writer.writerow([name, mean, *map(float, scores), *map(int, counts.sum(1))])
    write_text(path, text.getvalue(), mend=MEND)
