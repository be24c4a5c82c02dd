"""``osteon compare``: several evaluations of the same scans → tables and a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osteon.errors import InputError, OutputError
from osteon.evaluation.comparing import Comparison, Contender, contender
from osteon.evaluation.comparing import compare as pair_up
from osteon.reports.comparison import ComparisonReport, write_comparison_report
from osteon.workflows.record import check_folder, machine, read_json, versions

_FILES = ("comparison.csv", "differences.csv", "scans.csv", "comparison.json", "report.html")
_EVALUATION = "evaluation.json"


@dataclass(frozen=True)
class ComparisonRun:
    """The outcome of a comparison.

    Attributes:
        comparison: The figures.
        folder: Where tables and report are.
        report: The report.
    """

    comparison: Comparison
    folder: Path
    report: Path

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-compatible summary."""
        return {**self.comparison.as_dict(), "report": str(self.report)}


def compare(
    evaluations: Sequence[str | Path], *, out: str | Path, overwrite: bool = False
) -> ComparisonRun:
    """Compare models by their evaluations on the same scans, paired by scan.

    Args:
        evaluations: Folders (or the ``evaluation.json`` in them) that ``evaluate`` wrote, or run
            folders that hold one as ``evaluation/``; ``NAME=FOLDER`` gives a name. Each is
            compared with those before it.
        out: Folder for the tables and ``report.html``.
        overwrite: Replace existing files.

    Returns:
        The comparison and where it was written.

    Raises:
        InputError: If a folder holds no evaluation, or they are not of the same scans and truth.
        UsageError: If there are fewer than two, or two have the same name.
        OutputError: If the folder holds a comparison already or cannot be written.
    """
    folder = Path(out)
    check_folder(folder)
    there = [name for name in _FILES if (folder / name).exists()]
    if there and not overwrite:
        raise OutputError(
            f"there is a comparison in this folder already ({', '.join(there)})",
            where=folder,
            mend="choose another folder, or replace it by --overwrite",
        )
    result = pair_up(_contenders([str(e) for e in evaluations]))
    result.write(folder, overwrite=overwrite)
    report = folder / "report.html"
    write_comparison_report(
        report,
        ComparisonReport(
            models=[c.name for c in result.contenders],
            scores=result.scores(),
            differences=result.differences(),
            by_scan=result.table(),
            summary=result.sentences(),
            notes=result.notes(),
            versions={**versions(), **machine()},
            files={c.name: c.path for c in result.contenders},
        ),
        overwrite=overwrite,
    )
    return ComparisonRun(result, folder, report)


def _contenders(given: Sequence[str]) -> list[Contender]:
    named = [_named(text) for text in given]
    names = [name or _name_of(path) for name, path in named]
    out = []
    for (own, path), name in zip(named, names, strict=True):
        if own is None and names.count(name) > 1:  # run1/evaluation and run2/evaluation
            name = f"{path.absolute().parent.name}/{name}"
        file = _file_of(path)
        out.append(contender(name, read_json(file), path=str(file)))
    return out


def _named(text: str) -> tuple[str | None, Path]:
    name, equals, path = text.partition("=")
    if equals and not Path(text).exists():
        return name, Path(path)
    return None, Path(text)


def _name_of(path: Path) -> str:
    path = path.absolute()
    if path.name == _EVALUATION:
        path = path.parent
    # "evaluation" is what the folder is, not which model it is of.
    return path.parent.name if path.name == "evaluation" else path.name


def _file_of(path: Path) -> Path:
    for file in (path, path / _EVALUATION, path / "evaluation" / _EVALUATION):
        if file.is_file():
            return file
    if not path.exists():
        raise InputError("there is no such folder or file", where=path)
    raise InputError(
        f"there is no evaluation in this folder ({_EVALUATION}, evaluation/{_EVALUATION})",
        where=path,
        mend="make one: osteon evaluate --truth … --labels … --out " + str(path / "evaluation"),
    )
