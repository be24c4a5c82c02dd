"""The outcome of an evaluation: counts of each scan, and the tidy table made from them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from osteon.errors import UsageError
from osteon.evaluation import words
from osteon.evaluation.files import Row, write_csv, write_json
from osteon.evaluation.intervals import Interval, bootstrap, by_specimen, caution
from osteon.evaluation.rows import row, score_rows, size_rows
from osteon.evaluation.scan import ScanEvaluation
from osteon.labels import LabelScheme
from osteon.metrics import (
    MEAN_CLASS,
    MEAN_SCANS,
    POOLED_SCANS,
    Counts,
    frequency_weighted_iou,
    mean_defined,
    scores,
)
from osteon.tables.metrics import METRICS

#: Schema of the JSON file.
SCHEMA = 1


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

    @property
    def specimens(self) -> list[str]:
        """The specimen of each scan; a scan without one stands for itself."""
        return [scan.specimen or scan.name for scan in self.scans]

    @cached_property
    def _more(self) -> dict[tuple[str, str], list[float]]:
        """(metric, class) → a value a scan, of what is not made from confusion matrices."""
        out: dict[tuple[str, str], list[float]] = {}
        for index, scan in enumerate(self.scans):
            for r in scan.more:
                key = str(r["metric"]), str(r["class"])
                out.setdefault(key, [math.nan] * len(self.scans))[index] = float(str(r["value"]))
        return out

    def per_scan(self, metric: str, name: str) -> list[float]:
        """Return a figure of each scan.

        Args:
            metric: A metric of the table, or one of :attr:`ScanEvaluation.more`.
            name: Name of a class, ``mean`` (over classes) or ``all``.

        Returns:
            A value a scan; NaN where there is none.
        """
        if (metric, name) in self._more:
            return self._more[metric, name]
        if metric == "fw_iou":
            return [frequency_weighted_iou(scan.confusion) for scan in self.scans]
        values = [scan.scores.get(metric) for scan in self.scans]
        if name == MEAN_CLASS:
            return [math.nan if v is None else mean_defined(v)[0] for v in values]
        index = self.scheme.value(name)
        return [math.nan if v is None else float(v[index]) for v in values]

    def mean_more(self, metric: str, name: str) -> tuple[float, int]:
        """Average one of :attr:`ScanEvaluation.more` over the scans.

        Args:
            metric: The metric.
            name: The class.

        Returns:
            The mean and how many scans have a value: (NaN, 0) for none, and where their units
            differ (µm and voxels do not average).
        """
        if self.unit_of(metric) is None:
            return math.nan, 0
        return mean_defined(self._more.get((metric, name), []))

    def unit_of(self, metric: str) -> str | None:
        """Return the unit of one of :attr:`ScanEvaluation.more`; None where scans differ."""
        units = {str(r["unit"]) for scan in self.scans for r in scan.more if r["metric"] == metric}
        return units.pop() if len(units) == 1 else None

    def interval(self, metric: str, name: str) -> Interval:
        """Put a bootstrap interval over specimens around a mean over scans.

        Args:
            metric: See :meth:`per_scan`.
            name: See :meth:`per_scan`.

        Returns:
            The mean and its interval.
        """
        return bootstrap(self.per_scan(metric, name), self.specimens)

    def _figures(self) -> list[tuple[str, str, str]]:
        """Metric, class and unit of all that is averaged over scans."""
        names = (*self.scheme.names, MEAN_CLASS)
        out = [(metric, name, "1") for metric in self.scans[0].scores for name in names]
        out.append(("fw_iou", "all", "1"))
        units = {key: self.unit_of(key[0]) for key in self._more}
        return out + [(*key, unit) for key, unit in units.items() if unit is not None]

    def intervals(self) -> list[Row]:
        """Return every mean over scans with its bootstrap interval over specimens.

        Returns:
            Rows with ``class``, ``metric``, ``value``, ``low``, ``high`` (NaN with fewer than two
            specimens), ``unit``, ``scans`` and ``specimens`` (how many have a value).
        """
        out: list[Row] = []
        for metric, name, unit in self._figures():
            i = self.interval(metric, name)
            out.append(
                {
                    "class": name,
                    "metric": metric,
                    "value": i.value,
                    "low": i.low,
                    "high": i.high,
                    "unit": unit,
                    "scans": i.scans,
                    "specimens": i.specimens,
                }
            )
        return out

    def specimen_table(self) -> list[Row]:
        """Return the mean over the scans of each specimen.

        Returns:
            Rows with ``specimen``, ``class``, ``metric``, ``value``, ``unit`` and ``n`` (how many
            of its scans have a value).
        """
        out: list[Row] = []
        for metric, name, unit in self._figures():
            for specimen, (value, n) in by_specimen(
                self.per_scan(metric, name), self.specimens
            ).items():
                r = row(specimen, name, metric, value, unit=unit, n=n)
                out.append({"specimen": r.pop("scan"), **r})
        return out

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
            rows.append(row(scan.name, "all", "fw_iou", frequency_weighted_iou(scan.confusion)))
            rows += [{**r, "scan": scan.name} for r in scan.more]
        for metric in self.scans[0].scores:
            for name in (*self.scheme.names, None):
                value, n = self.mean(metric, name)
                rows.append(row(MEAN_SCANS, name or MEAN_CLASS, metric, value, n=n))
        value, n = mean_defined(self.per_scan("fw_iou", "all"))
        rows.append(row(MEAN_SCANS, "all", "fw_iou", value, n=n))
        for metric, name in self._more:
            value, n = self.mean_more(metric, name)
            if (unit := self.unit_of(metric)) is not None:
                rows.append(row(MEAN_SCANS, name, metric, value, unit=unit, n=n))
        rows += score_rows(POOLED_SCANS, scores(self.pooled), self.scheme)
        rows.append(row(POOLED_SCANS, "all", "fw_iou", frequency_weighted_iou(self.pooled)))
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
        return words.notes(self.scans)

    def summary(self) -> dict[str, object]:
        """Return the headline figures, JSON-compatible but for NaN.

        Returns:
            ``scans`` (how many), ``mean_iou`` and ``bone_iou`` (means over scans),
            ``pooled_mean_iou`` and ``pooled_bone_iou``, ``bone_iou_interval`` (its ends; NaN with
            one specimen), ``fw_iou`` (frequency-weighted), and ``iou`` and ``dice`` by class; the
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
            "bone_iou_interval": None if bone is None else self._ends("iou", "bone"),
            "fw_iou": mean_defined(self.per_scan("fw_iou", "all"))[0],
            "iou": {name: self.mean("iou", name)[0] for name in self.scheme.names},
            "dice": {name: self.mean("dice", name)[0] for name in self.scheme.names},
        }

    def _ends(self, metric: str, name: str) -> list[float]:
        found = self.interval(metric, name)
        return [found.low, found.high]

    def sentences(self) -> list[str]:
        """Return the headline in words."""
        return words.sentences(self)

    def format_table(self) -> str:
        """Return a plain-text table to print: a line a scan, then mean and pooled."""
        return words.format_table(self)

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
            "intervals": self.intervals(),
            "intervals_note": caution(len(set(self.specimens))),
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

    def write_specimens_csv(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write :meth:`specimen_table` as CSV (UTF-8); see :meth:`write_csv`."""
        write_csv(path, self.specimen_table(), overwrite=overwrite)

    def write_intervals_csv(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write :meth:`intervals` as CSV (UTF-8); see :meth:`write_csv`."""
        write_csv(path, self.intervals(), overwrite=overwrite)

    def write_json(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write :meth:`as_dict` as JSON, with schema number and version; NaN is null.

        Args:
            path: The target; written beside it and renamed.
            overwrite: Replace an existing file.

        Raises:
            OutputError: If the file exists or cannot be written.
        """
        write_json(path, "evaluation", SCHEMA, self.as_dict(), overwrite=overwrite)
