"""Writes an evaluation: tables, figures and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import osteon
from osteon.errors import OutputError
from osteon.evaluation import Evaluation, Pair
from osteon.evaluation.files import Row, write_csv
from osteon.evaluation.intervals import caution
from osteon.evaluation.measured import error_table
from osteon.reports import EvaluationReport, SlicePicture, write_evaluation_report
from osteon.reports.evaluation_parts import ScanShape
from osteon.reports.saving import write_figures
from osteon.settings import MeasureSettings
from osteon.volume import Volume
from osteon.workflows.evaluation_files import models_of
from osteon.workflows.evaluation_pictures import contact_sheet, scan_shape, typical_pictures
from osteon.workflows.methods import of_evaluation
from osteon.workflows.record import check_folder, machine, versions

#: Scans whose slices the report shows; the tables have all.
MOST_SCANS_SHOWN = 6
#: Scans that can be leafed through in the report, so that it can still be sent by mail.
MOST_SCANS_IN_SPACE = 3
_FILES = (
    "evaluation.csv",
    "slices.csv",
    "evaluation.json",
    "report.html",
    "specimens.csv",
    "intervals.csv",
    "measure_errors.csv",
)
#: Name of a scan → truth and labels, and the scan itself.
Opened = Mapping[str, tuple[Pair, Volume | None]]


@dataclass(frozen=True)
class Told:
    """How an evaluation was made, as far as its report says it.

    Attributes:
        first: Number of the first slice in the files.
        overlap_only: Whether surface, topology and measures were left out.
        measuring: How measures of bone were taken.
        settings: All settings, for the report's table.
    """

    first: int
    overlap_only: bool
    measuring: MeasureSettings
    settings: Mapping[str, object]


def check_out(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds an evaluation already.

    Args:
        folder: Where it is to be written.
        overwrite: Replace what is there.

    Raises:
        OutputError: If there is one, or the folder cannot be.
    """
    check_folder(folder)
    there = [name for name in _FILES if (folder / name).exists()]
    if there and not overwrite:
        raise OutputError(
            f"there is an evaluation in this folder already ({', '.join(there)})",
            where=folder,
            mend="choose another folder, or replace it by --overwrite",
        )


def write_evaluation(
    result: Evaluation, opened: Opened, folder: Path, *, told: Told, overwrite: bool
) -> Path:
    """Write tables, figures and the report of an evaluation.

    Args:
        result: The evaluation.
        opened: Its scans.
        folder: Where to; made where missing.
        told: How it was made.
        overwrite: Replace existing files.

    Returns:
        The report.

    Raises:
        OutputError: If something exists or cannot be written.
    """
    measures = _write_tables(result, folder, first=told.first, overwrite=overwrite)
    seen = _Seen(
        pictures=[
            picture
            for scan in result.scans[:MOST_SCANS_SHOWN]
            for picture in typical_pictures(scan, *opened[scan.name], first=told.first)
        ],
        shapes=[
            scan_shape(scan, *opened[scan.name], first=told.first)
            for scan in result.scans[:MOST_SCANS_IN_SPACE]
        ],
        by_scan={scan.name: _from(told.first, scan.slice_scores()) for scan in result.scans},
        sheet=contact_sheet(result, opened, first=told.first),
    )
    write_figures(
        folder / "figures", seen.shapes, seen.pictures, seen.by_scan, scheme=result.scheme
    )
    path = folder / "report.html"
    write_evaluation_report(path, _report(result, told, seen, measures), overwrite=overwrite)
    return path


@dataclass(frozen=True)
class _Seen:
    """What the report shows of the scans."""

    pictures: Sequence[SlicePicture]
    shapes: Sequence[ScanShape]
    by_scan: Mapping[str, npt.NDArray[np.float64]]
    sheet: Sequence[tuple[str, SlicePicture]]


def _write_tables(result: Evaluation, folder: Path, *, first: int, overwrite: bool) -> list[Row]:
    """Write the tables; return that of errors in measures."""
    table, by_slice, record, _, specimens, intervals, errors = (folder / name for name in _FILES)
    result.write_csv(table, overwrite=overwrite)
    # Slices are counted as in the file, also where only some of them were compared.
    rows = [{**row, "z": int(str(row["z"])) + first} for row in result.slice_table()]
    write_csv(by_slice, rows, overwrite=overwrite)
    result.write_json(record, overwrite=overwrite)
    result.write_specimens_csv(specimens, overwrite=overwrite)
    result.write_intervals_csv(intervals, overwrite=overwrite)
    measures = error_table(result)
    if measures:
        write_csv(errors, measures, overwrite=overwrite)
    return measures


def _report(
    result: Evaluation, told: Told, seen: _Seen, measures: Sequence[Row]
) -> EvaluationReport:
    names = ", ".join(scan.name for scan in result.scans[:3])
    return EvaluationReport(
        title=f"Evaluation of {names}" + (" …" if len(result.scans) > 3 else ""),
        rows=result.table(),
        confusion=result.pooled,
        scheme=result.scans[0].scheme,
        summary=result.sentences(),
        notes=result.notes(),
        slices=seen.by_scan,
        pictures=seen.pictures,
        measures=measures,
        intervals=result.intervals(),
        caution=caution(len(set(result.specimens))),
        specimens=result.specimen_table(),
        shapes=seen.shapes,
        sheet=seen.sheet,
        methods=of_evaluation(
            result,
            told.measuring,
            version=osteon.__version__,
            overlap_only=told.overlap_only,
            models=models_of(result),
        ),
        settings=told.settings,
        versions={**versions(), **machine()},
        files={
            f"{scan.name}: {role}": path
            for scan in result.scans
            for role, path in (("truth", scan.truth_path), ("labels", scan.labels_path))
        },
    )


def _from(first: int, scores: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Put NaN before the first slice that was compared, so that the chart counts as the file."""
    return np.concatenate([np.full((first, scores.shape[1]), np.nan), scores])
