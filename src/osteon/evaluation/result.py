"""The outcome of an evaluation: counts of each scan, and the tidy table made from them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from osteon.errors import UsageError
from osteon.evaluation.files import Row, write_csv, write_json
from osteon.evaluation.rows import aligned, row, score_rows, size_rows
from osteon.labels import LabelScheme
from osteon.metrics import (
    MEAN_CLASS,
    MEAN_SCANS,
    POOLED_SCANS,
    Counts,
    Scores,
    mean_defined,
    scores,
)
from osteon.tables.metrics import METRICS
from osteon.volume import VoxelSize

#: Schema of the JSON file.
SCHEMA = 1

_UM3_PER_MM3 = 1e9

#: Slices with less of a class than this part of the fullest are not typical of the scan.
_FULL_ENOUGH = 0.1


@dataclass(frozen=True)
class ScanEvaluation:
    """How the voxels of one scan were labelled.

    Attributes:
        name: Name of the scan.
        scheme: The classes.
        slices: int64 (z, K, K): a confusion matrix for each slice, rows true classes.
        shape: (z, y, x) in voxels.
        voxel_size: µm along (z, y, x), None where unknown.
        ignored: Voxels without a true label: they are not counted.
        truth_path: Where the truth was read from.
        labels_path: Where the labels were read from.
        specimen: The specimen the scan is of; None: the scan stands for itself.
    """

    name: str
    scheme: LabelScheme
    slices: Counts = field(repr=False)
    shape: tuple[int, int, int]
    voxel_size: VoxelSize
    ignored: int
    truth_path: str = ""
    labels_path: str = ""
    specimen: str | None = None

    @cached_property
    def confusion(self) -> Counts:
        """int64 (K, K): voxels of the whole scan, rows true classes, columns predicted ones."""
        total: Counts = self.slices.sum(axis=0, dtype=np.int64)
        return total

    @cached_property
    def scores(self) -> dict[str, Scores]:
        """Metric → float64 (K,), NaN for a class in neither truth nor labels."""
        return scores(self.confusion)

    @property
    def voxel_mm3(self) -> float | None:
        """Volume of a voxel in mm³, None where its size is unknown along an axis."""
        z, y, x = self.voxel_size
        return None if z is None or y is None or x is None else z * y * x / _UM3_PER_MM3

    def slice_scores(self, metric: str = "iou") -> Scores:
        """Score each slice by itself, to show where along z the errors are.

        These are never averaged: the score of the scan is made from its summed counts.

        Args:
            metric: A metric of the table.

        Returns:
            float64 (z, K), NaN where a class is in neither truth nor labels of the slice.
        """
        return scores(self.slices)[METRICS.row(metric).name]

    def typical_slices(self, name: str = "bone") -> list[tuple[int, str]]:
        """Choose slices to show by a rule, so that nobody picks the beautiful ones.

        Args:
            name: The class that counts; the second class of the scheme if there is no such one.

        Returns:
            Index along z and why: the slices with the median and the lowest IoU of the class,
            among those with at least a tenth as much of it as the fullest; the slice with most
            labelled voxels if the truth has none of it.
        """
        index = self.scheme.value(name) if name in self.scheme.names else 1
        name = self.scheme.names[index]
        true = self.slices[:, index].sum(axis=1)
        if not true.any():
            z = int(np.argmax(self.slices.sum(axis=(1, 2))))
            return [(z, f"The truth has no {name}; this slice has most labelled voxels.")]
        full = np.flatnonzero(true >= true.max() * _FULL_ENOUGH)
        order = full[np.argsort(scores(self.slices[full])["iou"][:, index], kind="stable")]
        median, lowest = int(order[len(order) // 2]), int(order[0])
        out = [(median, f"The slice with the median {name} IoU.")]
        if lowest != median:
            out.append((lowest, f"The slice with the lowest {name} IoU."))
        return out


@dataclass(frozen=True)
class Evaluation:
    """The scores of one or several scans.

    Attributes:
        scans: The scans, in the order they were given.

    Raises:
        UsageError: If there is no scan, two have the same name, or their classes differ.
    """

    scans: tuple[ScanEvaluation, ...]

    def __post_init__(self) -> None:
        if not self.scans:
            raise UsageError("there is nothing to evaluate: no pair of truth and labels was given")
        if len({scan.scheme for scan in self.scans}) > 1:
            raise UsageError("scans with different classes cannot be evaluated together")
        names = [MEAN_SCANS, POOLED_SCANS, *(scan.name for scan in self.scans)]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(
                    f"two rows of the table would be called '{name}'",
                    mend="give every scan a name of its own",
                )

    @property
    def scheme(self) -> LabelScheme:
        """The classes."""
        return self.scans[0].scheme

    @cached_property
    def pooled(self) -> Counts:
        """int64 (K, K): voxels of all scans together, rows true classes."""
        total: Counts = np.sum([scan.confusion for scan in self.scans], axis=0, dtype=np.int64)
        return total

    def mean(self, metric: str, name: str | None = None) -> tuple[float, int]:
        """Average a metric over the scans: each counts the same, however large.

        Args:
            metric: A metric of the table.
            name: Name of a class; by default the mean over the classes of each scan.

        Returns:
            The mean over the scans that have a score, and how many those are.
        """
        metric = METRICS.row(metric).name
        per_scan = (scan.scores[metric] for scan in self.scans)
        if name is None:
            return mean_defined([mean_defined(values)[0] for values in per_scan])
        index = self.scheme.value(name)
        return mean_defined([values[index] for values in per_scan])

    def table(self) -> list[Row]:
        """Return the tidy table: one figure a row.

        Returns:
            Rows with ``scan``, ``class``, ``metric``, ``value`` (NaN where there is none),
            ``unit`` and ``n``: how many values the figure is the mean of (0 or 1 where it is no
            mean). Scores of each scan come first, then their mean over scans, then those of
            the voxels of all scans pooled; see docs/evaluation.md.
        """
        rows: list[Row] = []
        for scan in self.scans:
            rows += score_rows(scan.name, scan.scores, self.scheme)
            rows += size_rows(scan.name, scan.confusion, scan.voxel_mm3, self.scheme)
            rows.append(row(scan.name, "all", "ignored_voxels", scan.ignored, unit="voxels"))
        for metric in self.scans[0].scores:
            for name in (*self.scheme.names, None):
                value, n = self.mean(metric, name)
                rows.append(row(MEAN_SCANS, name or MEAN_CLASS, metric, value, n=n))
        rows += score_rows(POOLED_SCANS, scores(self.pooled), self.scheme)
        rows += size_rows(POOLED_SCANS, self.pooled, self._pooled_voxel_mm3(), self.scheme)
        return rows

    def _pooled_voxel_mm3(self) -> float | None:
        # Volumes of scans with different voxels cannot be had from pooled counts.
        sizes = {scan.voxel_mm3 for scan in self.scans}
        return sizes.pop() if len(sizes) == 1 else None

    def slice_table(self, metric: str = "iou") -> Iterator[Row]:
        """Yield a metric for each slice and class: where along z the errors are.

        Args:
            metric: A metric of the table.

        Yields:
            Rows with ``scan``, ``z``, ``class``, ``metric``, ``value``, ``truth_voxels`` and
            ``predicted_voxels``.
        """
        metric = METRICS.row(metric).name
        for scan in self.scans:
            values = scan.slice_scores(metric)
            for z in range(len(values)):
                for c in self.scheme.classes:
                    yield {
                        "scan": scan.name,
                        "z": z,
                        "class": c.name,
                        "metric": metric,
                        "value": float(values[z, c.value]),
                        "truth_voxels": int(scan.slices[z, c.value].sum()),
                        "predicted_voxels": int(scan.slices[z, :, c.value].sum()),
                    }

    def notes(self) -> list[str]:
        """Return, in plain words, what a reader of the scores should know."""
        out = []
        for scan in self.scans:
            true, predicted = scan.confusion.sum(1), scan.confusion.sum(0)
            for c in self.scheme.classes:
                where = f"{scan.name}: {c.name} is"
                if true[c.value] == 0 and predicted[c.value] == 0:
                    out.append(f"{where} in neither truth nor labels; it is left out of the means.")
                elif true[c.value] == 0:
                    volume = int(predicted[c.value])
                    size = scan.voxel_mm3
                    mm3 = "" if size is None else f" ({volume * size:.4g} mm³)"
                    out.append(
                        f"{where} not in the truth but was labelled in {volume:,} voxels{mm3}: "
                        "it scores 0."
                    )
                elif predicted[c.value] == 0:
                    out.append(f"{where} in the truth but was never labelled: it scores 0.")
            if scan.ignored:
                share = scan.ignored / math.prod(scan.shape)
                out.append(
                    f"{scan.name}: {scan.ignored:,} voxels ({share:.1%}) have no true label and "
                    "are not counted."
                )
        unknown = [scan.name for scan in self.scans if scan.voxel_mm3 is None]
        if unknown:
            of = "all scans" if len(unknown) == len(self.scans) > 1 else ", ".join(unknown)
            out.append(f"{of}: the voxel size is unknown; volumes are in voxels.")
        return out

    def summary(self) -> dict[str, object]:
        """Return the headline figures, JSON-compatible but for NaN.

        Returns:
            ``scans`` (how many), ``mean_iou`` and ``bone_iou`` (means over scans),
            ``pooled_mean_iou`` and ``pooled_bone_iou``, and ``iou`` and ``dice`` by class; the
            bone figures are None where no class is called bone.
        """
        pooled = scores(self.pooled)["iou"]
        bone = self.scheme.value("bone") if "bone" in self.scheme.names else None
        return {
            "scans": len(self.scans),
            "mean_iou": self.mean("iou")[0],
            "bone_iou": None if bone is None else self.mean("iou", "bone")[0],
            "pooled_mean_iou": mean_defined(pooled)[0],
            "pooled_bone_iou": None if bone is None else float(pooled[bone]),
            "iou": {name: self.mean("iou", name)[0] for name in self.scheme.names},
            "dice": {name: self.mean("dice", name)[0] for name in self.scheme.names},
        }

    def sentences(self) -> list[str]:
        """Return the headline in words."""
        n = len(self.scans)
        specimens = len({scan.specimen or scan.name for scan in self.scans})
        of = f" of {specimens} specimen{'s' if specimens > 1 else ''}" if specimens != n else ""
        voxels = int(self.pooled.sum())
        out = [
            f"The labels of {n} scan{'s' if n > 1 else ''}{of} were compared with the truth, "
            f"voxel by voxel ({voxels:,} voxels)."
        ]
        if "bone" in self.scheme.names:
            bone = [mean_defined(s.scores["iou"][self.scheme.value("bone")])[0] for s in self.scans]
            value, scored = mean_defined(bone)
            if scored:
                text = f"Bone IoU is {value:.3f}"
                if scored > 1:
                    text += f" (lowest {np.nanmin(bone):.3f}, highest {np.nanmax(bone):.3f})"
                out.append(f"{text}; the mean over classes is {self.mean('iou')[0]:.3f}.")
            else:
                out.append("There is no bone in truth or labels.")
        return out

    def format_table(self) -> str:
        """Return a plain-text table to print: a line a scan, then mean and pooled."""
        names = self.scheme.names
        head = ["scan", "mean IoU", *(f"IoU {n}" for n in names), "mean Dice", "Dice bone"]
        if "bone" not in names:
            head.pop()
        lines = [(scan.name, scan.scores) for scan in self.scans]
        if len(lines) > 1:
            means = {m: np.array([self.mean(m, n)[0] for n in names]) for m in self.scans[0].scores}
            lines += [(MEAN_SCANS, means), (POOLED_SCANS, scores(self.pooled))]
        cells = [head]
        for name, values in lines:
            mean_iou, mean_dice = (mean_defined(values[m])[0] for m in ("iou", "dice"))
            if name == MEAN_SCANS:
                mean_iou, mean_dice = self.mean("iou")[0], self.mean("dice")[0]
            figures = [mean_iou, *values["iou"], mean_dice]
            if "bone" in names:
                figures.append(values["dice"][self.scheme.value("bone")])
            cells.append([name, *("–" if math.isnan(v) else f"{v:.4f}" for v in figures)])
        return "\n".join([*aligned(cells), *self.notes()])

    def as_dict(self) -> dict[str, object]:
        """Return everything, JSON-compatible but for NaN."""
        return {
            "label_scheme": self.scheme.as_dict(),
            "summary": self.summary(),
            "notes": self.notes(),
            "scans": [
                {
                    "name": scan.name,
                    "specimen": scan.specimen or scan.name,
                    "truth": scan.truth_path,
                    "labels": scan.labels_path,
                    "shape": list(scan.shape),
                    "voxel_size_um": list(scan.voxel_size),
                    "ignored_voxels": scan.ignored,
                    "confusion": scan.confusion.tolist(),
                }
                for scan in self.scans
            ],
            "pooled_confusion": self.pooled.tolist(),
            "rows": self.table(),
        }

    def write_csv(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write :meth:`table` as CSV (UTF-8); an undefined value is an empty field.

        Args:
            path: The target; written beside it and renamed.
            overwrite: Replace an existing file.

        Raises:
            OutputError: If the file exists or cannot be written.
        """
        write_csv(path, self.table(), overwrite=overwrite)

    def write_slices_csv(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write :meth:`slice_table` as CSV (UTF-8).

        Args:
            path: The target; written beside it and renamed.
            overwrite: Replace an existing file.

        Raises:
            OutputError: If the file exists or cannot be written.
        """
        write_csv(path, list(self.slice_table()), overwrite=overwrite)

    def write_json(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write :meth:`as_dict` as JSON, with schema number and version; NaN is null.

        Args:
            path: The target; written beside it and renamed.
            overwrite: Replace an existing file.

        Raises:
            OutputError: If the file exists or cannot be written.
        """
        write_json(path, "evaluation", SCHEMA, self.as_dict(), overwrite=overwrite)
