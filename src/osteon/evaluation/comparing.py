"""Several evaluations of the same scans, paired by scan: differences and how sure they are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osteon.errors import InputError, UsageError
from osteon.evaluation.files import Row, write_csv, write_json
from osteon.evaluation.intervals import bootstrap, by_specimen, caution
from osteon.evaluation.significance import holm, paired_test
from osteon.metrics import MEAN_SCANS, POOLED_SCANS, mean_defined
from osteon.tables.metrics import METRICS

SCHEMA = 1

#: The usual limit below which a difference is called significant.
SIGNIFICANT = 0.05

_NO_SCANS = (MEAN_SCANS, POOLED_SCANS)
_Key = tuple[str, str]


@dataclass(frozen=True)
class Contender:
    """One model or evaluation.

    Attributes:
        name: Its name in tables.
        values: (metric, class) → scan → value; NaN where there is none.
        units: Metric → unit.
        specimens: Scan → specimen.
        truths: Scan → true voxels of each class, by which it is known for the same truth.
        path: Where it was read from.
    """

    name: str
    values: Mapping[_Key, Mapping[str, float]]
    units: Mapping[str, str]
    specimens: Mapping[str, str]
    truths: Mapping[str, tuple[int, ...]]
    path: str = ""


def contender(name: str, data: Mapping[str, object], *, path: str = "") -> Contender:
    """Read an evaluation as ``evaluation.json`` holds it.

    Args:
        name: Its name in tables.
        data: The content of the file.
        path: Where it is, for messages.

    Returns:
        The figures of each scan; rows of metrics that are in no table are taken, too, if they are
        figures of a class.

    Raises:
        InputError: If it is no evaluation.
    """
    try:
        if data["kind"] != "evaluation":
            raise ValueError(f"it is of the kind '{data['kind']}'")
        rows, scans = _list(data["rows"]), _list(data["scans"])
        values: dict[_Key, dict[str, float]] = {}
        units: dict[str, str] = {}
        for r in rows:
            if r["scan"] in _NO_SCANS:
                continue
            value = math.nan if r["value"] is None else float(r["value"])
            values.setdefault((str(r["metric"]), str(r["class"])), {})[str(r["scan"])] = value
            known = units.setdefault(str(r["metric"]), str(r["unit"]))
            if known != str(r["unit"]):
                units[str(r["metric"])] = "mixed"
        specimens = {str(s["name"]): str(s["specimen"]) for s in scans}
        truths = {str(s["name"]): tuple(int(sum(line)) for line in s["confusion"]) for s in scans}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"this is not an evaluation by osteon: {error}",
            where=path,
            mend="give the folder that `osteon evaluate --out` wrote",
        ) from error
    return Contender(name, values, units, specimens, truths, path)


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("its rows are no list")
    return value


@dataclass(frozen=True)
class Comparison:
    """Contenders on the same scans.

    Attributes:
        contenders: The contenders; those that follow are compared with those before.
        scans: The scans that all have.
        left_out: Scans that not all have.
    """

    contenders: tuple[Contender, ...]
    scans: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def specimens(self) -> list[str]:
        """The specimen of each scan."""
        return [self.contenders[0].specimens[scan] for scan in self.scans]

    def compared(self) -> list[_Key]:
        """Return metric and class of all that has a value to compare, in the order of the table."""
        order = {row.name: index for index, row in enumerate(METRICS)}
        first = self.contenders[0]
        shared = [
            key
            for key in first.values
            if all(
                key in c.values and c.units[key[0]] == first.units[key[0]] != "mixed"
                for c in self.contenders
            )
            and _compared(key[0])
        ]
        return sorted(shared, key=lambda key: order.get(key[0], len(order)))

    def values(self, index: int, key: _Key) -> list[float]:
        """Return a contender's value of each scan."""
        found = self.contenders[index].values[key]
        return [found.get(scan, math.nan) for scan in self.scans]

    def scores(self) -> list[Row]:
        """Return the mean over scans of each contender with its bootstrap interval.

        Returns:
            Rows with ``model``, ``class``, ``metric``, ``value``, ``low``, ``high``, ``unit``,
            ``scans``, ``specimens``.
        """
        rows: list[Row] = []
        for key in self.compared():
            for index, c in enumerate(self.contenders):
                i = bootstrap(self.values(index, key), self.specimens)
                rows.append(
                    {
                        "model": c.name,
                        "class": key[1],
                        "metric": key[0],
                        "value": i.value,
                        "low": i.low,
                        "high": i.high,
                        "unit": c.units[key[0]],
                        "scans": i.scans,
                        "specimens": i.specimens,
                    }
                )
        return rows

    def differences(self) -> list[Row]:
        """Return the paired differences of every two contenders.

        Returns:
            Rows with ``model``, ``against``, ``class``, ``metric``, ``difference`` (mean over
            scans of model minus against), ``low``, ``high``, ``unit``, ``scans``, ``specimens``,
            ``better`` and ``worse`` (scans), ``p``, ``test``, and ``p_holm``: p after Holm's
            correction for the number of pairs within the metric and class.
        """
        rows: list[Row] = []
        for key in self.compared():
            pairs = [
                self._pair(one, other, key)
                for other, one in itertools.combinations(range(len(self.contenders)), 2)
            ]
            for r, p in zip(pairs, holm([float(str(r["p"])) for r in pairs]), strict=True):
                rows.append({**r, "p_holm": p})
        return rows

    def _pair(self, one: int, other: int, key: _Key) -> Row:
        off = [a - b for a, b in zip(self.values(one, key), self.values(other, key), strict=True)]
        i = bootstrap(off, self.specimens)
        means = [mean for mean, n in by_specimen(off, self.specimens).values() if n]
        p, test = paired_test(means)
        sign = _sign_of_better(key[0])
        return {
            "model": self.contenders[one].name,
            "against": self.contenders[other].name,
            "class": key[1],
            "metric": key[0],
            "difference": i.value,
            "low": i.low,
            "high": i.high,
            "unit": self.contenders[one].units[key[0]],
            "scans": i.scans,
            "specimens": i.specimens,
            "better": None if sign is None else sum(v * sign > 0 for v in off),
            "worse": None if sign is None else sum(v * sign < 0 for v in off),
            "p": p,
            "test": test,
        }

    def table(self) -> list[Row]:
        """Return every figure of every contender and scan.

        Returns:
            Rows with ``model``, ``scan``, ``specimen``, ``class``, ``metric``, ``value``, ``unit``.
        """
        return [
            {
                "model": c.name,
                "scan": scan,
                "specimen": c.specimens[scan],
                "class": key[1],
                "metric": key[0],
                "value": value,
                "unit": c.units[key[0]],
            }
            for key in self.compared()
            for index, c in enumerate(self.contenders)
            for scan, value in zip(self.scans, self.values(index, key), strict=True)
        ]

    def sentences(self) -> list[str]:
        """Return the result in words: bone IoU, or the mean where no class is called bone."""
        n, specimens = len(self.scans), len(set(self.specimens))
        out = [
            f"{len(self.contenders)} evaluations were compared on the same {n} "
            f"scan{'s' if n > 1 else ''} of {specimens} specimen{'s' if specimens > 1 else ''}, "
            "scan by scan."
        ]
        key = ("iou", "bone") if ("iou", "bone") in self.compared() else ("iou", "mean")
        if key not in self.compared():
            return out
        ranked = sorted(
            ((mean_defined(self.values(i, key))[0], c.name) for i, c in enumerate(self.contenders)),
            reverse=True,
        )
        out.append(
            f"{key[1].capitalize()} IoU: "
            + ", ".join(f"{name} {value:.3f}" for value, name in ranked)
            + "."
        )
        rows = [r for r in self.differences() if (r["metric"], r["class"]) == key]
        return out + [_in_words(r) for r in rows]

    def notes(self) -> list[str]:
        """Return what a reader of the differences should know."""
        specimens = len(set(self.specimens))
        out = []
        if self.left_out:
            out.append(
                f"Left out, because not every evaluation has them: {', '.join(self.left_out)}."
            )
        out.append(
            "Differences are taken scan by scan; the unit of the statistics is the specimen, "
            "because scans of one specimen are no independent evidence."
        )
        if specimens > 1:
            out.append(caution(specimens))
        smallest = 2 / 2**specimens if specimens else 1.0
        if specimens < 2:
            out.append("There is one specimen only: neither an interval nor a test can be had.")
        elif smallest > SIGNIFICANT:
            out.append(
                f"With {specimens} specimens no exact test can give a p below {smallest:.3g}: "
                "the differences are shown, and whether they would hold on others is open."
            )
        if len(self.contenders) > 2:
            out.append(
                "p (Holm) is corrected for the number of pairs within a metric and class, not for "
                "the number of metrics."
            )
        return out

    def write(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write ``comparison.csv``, ``differences.csv``, ``scans.csv``, ``comparison.json``.

        Args:
            folder: The folder.
            overwrite: Replace existing files.

        Raises:
            OutputError: If a file exists or cannot be written.
        """
        folder = Path(folder)
        write_csv(folder / "comparison.csv", self.scores(), overwrite=overwrite)
        write_csv(folder / "differences.csv", self.differences(), overwrite=overwrite)
        write_csv(folder / "scans.csv", self.table(), overwrite=overwrite)
        write_json(
            folder / "comparison.json", "comparison", SCHEMA, self.as_dict(), overwrite=overwrite
        )

    def as_dict(self) -> dict[str, object]:
        """Return everything, JSON-compatible but for NaN."""
        return {
            "models": [{"name": c.name, "path": c.path} for c in self.contenders],
            "scans": list(self.scans),
            "left_out": list(self.left_out),
            "summary": self.sentences(),
            "notes": self.notes(),
            "scores": self.scores(),
            "differences": self.differences(),
        }


def compare(contenders: Sequence[Contender]) -> Comparison:
    """Pair evaluations by scan.

    Args:
        contenders: Two or more, with different names.

    Returns:
        The comparison, on the scans that all have.

    Raises:
        UsageError: If there are fewer than two, or two have the same name.
        InputError: If they share no scan, or a scan was held against different truths.
    """
    if len(contenders) < 2:
        raise UsageError("a comparison needs two evaluations or more")
    names = [c.name for c in contenders]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two evaluations are called '{name}'", mend="name them: NAME=FOLDER")
    every = list(dict.fromkeys(scan for c in contenders for scan in c.truths))
    shared = tuple(scan for scan in every if all(scan in c.truths for c in contenders))
    if not shared:
        raise InputError(
            "the evaluations share no scan",
            where=", ".join(c.path or c.name for c in contenders),
            mend="evaluate the models on the same scans; a scan is known by its name",
        )
    first = contenders[0]
    for c in contenders[1:]:
        for scan in shared:
            if c.truths[scan] != first.truths[scan]:
                raise InputError(
                    f"'{scan}' was held against another truth in '{c.name}' than in "
                    f"'{first.name}': the true voxels of the classes differ",
                    where=c.path or c.name,
                    mend="evaluate both against the same mask, and the same slices of it",
                )
    return Comparison(tuple(contenders), shared, tuple(s for s in every if s not in shared))


def _compared(metric: str) -> bool:
    """Whether a metric is a result: counts of voxels, and what was set, are none."""
    if metric in METRICS.names():
        return True
    return not metric.startswith(
        ("truth_", "predicted_", "otsu_", "missed_", "false_")
    ) and metric not in {
        "ignored_voxels",
        "surface_tolerance",
    }


def _sign_of_better(metric: str) -> int | None:
    """Return +1 where more is better, −1 where less is, None where neither can be said."""
    if metric not in METRICS.names() or metric.endswith("_error"):
        return None
    return 1 if METRICS.row(metric).capabilities["best"] == 1.0 else -1


def _in_words(r: Row) -> str:
    difference, low, high = (float(str(r[k])) for k in ("difference", "low", "high"))
    if math.isnan(difference):
        return f"{r['model']} and {r['against']} share no scan with a score."
    text = f"{r['model']} against {r['against']}: {r['class']} IoU {difference:+.3f}"
    if not math.isnan(low):
        text += f" [{low:+.3f}, {high:+.3f}]"
    text += f"; better in {r['better']} of {r['scans']} scans, worse in {r['worse']}"
    if not math.isnan(float(str(r["p"]))):
        text += f"; p = {float(str(r['p'])):.3g} ({r['test']})"
    return text + "."
