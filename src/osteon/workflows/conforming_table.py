"""``osteon conform compare``: the files of several machines → one table."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osteon.errors import InputError
from osteon.files import refuse_existing, write_text
from osteon.reports.blocks import Cell, Notes, Section, Table
from osteon.reports.page import write_simple_report
from osteon.workflows.conforming import AGREEMENT, SCHEMA
from osteon.workflows.record import read_json

#: What is written.
FILES = ("conformity.csv", "conformity.md", "report.html")
_HEAD = ("machine", "case", "agreement", "golden", "IoU bone", "IoU pores", "s")


@dataclass(frozen=True)
class ConformityTable:
    """Machines side by side.

    Attributes:
        rows: A row a machine and case.
        notes: What a reader has to know, machine by machine.
        conforms: Whether all machines do.
    """

    rows: Sequence[Mapping[str, Any]]
    notes: Sequence[str]
    conforms: bool

    def markdown(self) -> str:
        """Return the table and its notes as Markdown."""
        lines = [f"| {' | '.join(_HEAD)} |", f"|{' --- |' * len(_HEAD)}"]
        lines += [f"| {' | '.join(cells(row))} |" for row in self.rows]
        return "\n".join([*lines, "", *(f"- {note}" for note in self.notes), ""])


def compare_conformity(
    files: Sequence[Path], *, out: Path | None = None, overwrite: bool = False
) -> ConformityTable:
    """Put the files of several machines side by side.

    Args:
        files: Written by ``osteon conform``.
        out: Folder for FILES; None: nothing is written.
        overwrite: Replace existing files.

    Returns:
        The table.

    Raises:
        InputError: If a file is missing, damaged, or no conformity; or they are of several models.
        OutputError: If a file exists or cannot be written.
    """
    records = [(path, _load(path)) for path in files]
    models = {record["model"]["weights_sha256"] for _, record in records}
    if len(models) > 1:
        raise InputError(
            "these files are of different models", where=files[0], mend="compare those of one model"
        )
    rows, notes = [], []
    first = records[0][1]
    for path, record in records:
        rows += [{"machine": path.stem, **case} for case in record["cases"]]
        notes.append(_note(path.stem, record, first))
    table = ConformityTable(rows, notes, all(record["conforms"] for _, record in records))
    if out is not None:
        _write(table, out, overwrite=overwrite)
    return table


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError("there is no such file", where=path, mend="make it: osteon conform --out")
    record = read_json(path)
    if record.get("kind") != "conformity" or record.get("schema") != SCHEMA:
        raise InputError(
            f"this is no conformity of schema {SCHEMA}", where=path, mend="osteon conform --out"
        )
    if not {"cases", "model", "machine", "scan_sha256", "conforms", "versions"} <= record.keys():
        raise InputError("the conformity is damaged: parts of it are missing", where=path)
    return record


def _note(name: str, record: Mapping[str, Any], first: Mapping[str, Any]) -> str:
    here, libraries = record["machine"], record["versions"]
    said = (
        f"{name}: {here.get('processor')}, {here.get('system')}, torch {libraries.get('torch')}"
        f"{', ' + str(here['gpu']) if here.get('gpu') else ''}"
    )
    fits = record.get("training")
    if fits is not None:
        said += "; two fits with one seed gave " + (
            "the same weights" if fits["same"] else "different weights"
        )
    if record["scan_sha256"] != first["scan_sha256"]:
        said += "; its simulated scan differs in some voxels from that of the first file"
    least = min((c["agreement"] for c in record["cases"] if c["agreement"] is not None), default=0)
    relation = "at least" if record["conforms"] else "NOT everywhere"
    return f"{said}; labels agree in {relation} {AGREEMENT:.1%} of the voxels (least {least:.4%})"


def cells(row: Mapping[str, Any]) -> list[str]:
    """Return a row of the table as texts, in the order of its columns.

    Args:
        row: The row.
    """
    scores = row.get("iou") or {}
    return [
        str(row["machine"]),
        str(row["case"]),
        _share(row["agreement"]) if row["agreement"] is not None else str(row["note"]),
        _share(row["golden"]),
        *(_number(scores.get(name), ".4f") for name in ("bone", "pores")),
        _number(row["seconds"], ".1f"),
    ]


def _share(value: float | None) -> str:
    return _number(None if value is None else 100 * value, ".4f") + (
        " %" if value is not None else ""
    )


def _number(value: float | None, form: str) -> str:
    return "–" if value is None or not math.isfinite(value) else format(value, form)


def _write(table: ConformityTable, folder: Path, *, overwrite: bool) -> None:
    for name in FILES:
        refuse_existing(folder / name, overwrite=overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["machine", "case", "agreement", "golden", "iou_bone", "iou_pores", "seconds"])
    for row in table.rows:
        scores = row.get("iou") or {}
        figures = [row["agreement"], row["golden"], scores.get("bone"), scores.get("pores")]
        writer.writerow([row["machine"], row["case"], *figures, row["seconds"]])
    write_text(folder / "conformity.csv", text.getvalue())
    write_text(folder / "conformity.md", table.markdown())
    shown: list[list[Cell | str]] = [
        [*words[:2], *(Cell(word, number=True) for word in words[2:])]
        for words in map(cells, table.rows)
    ]
    write_simple_report(
        folder / "report.html",
        title="Conformity",
        sections=[
            Section("Labels", [Table(_HEAD, shown, _CAPTION, narrow=True)]),
            Section("Machines", [Notes(table.notes)]),
        ],
        warnings=[] if table.conforms else ["Not every machine gives the same labels: see below."],
        overwrite=overwrite,
    )


_CAPTION = (
    "agreement: share of voxels with the label of PyTorch in single precision on whole slices, on "
    "the same machine; golden: with the labels that come with osteon; IoU: with the exact labels "
    "of the simulated scan; s: wall time, the opening of the network included."
)
