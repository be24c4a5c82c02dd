"""Write tables as CSV and JSON."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import osteon
from osteon import files
from osteon.files import refuse_existing

#: A row of a tidy table: column → figure or text.
Row = dict[str, object]


def write_csv(path: str | Path, rows: Sequence[Row], *, overwrite: bool = False) -> None:
    """Write rows as CSV: UTF-8, a header, an empty field for NaN and None.

    Args:
        path: The target.
        rows: Rows with the same columns; at least one.
        overwrite: Replace an existing file.

    Raises:
        OutputError: If the file exists or cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: "" if _missing(v) else v for k, v in row.items()})
    refuse_existing(Path(path), overwrite=overwrite)
    files.write_text(Path(path), text.getvalue())


def write_json(
    path: str | Path,
    kind: str,
    schema: int,
    data: Mapping[str, object],
    *,
    overwrite: bool = False,
) -> None:
    """Write a result as JSON that says what it is; NaN becomes null.

    Args:
        path: The target.
        kind: What the file is, such as ``evaluation``.
        schema: Number of the schema.
        data: The content.
        overwrite: Replace an existing file.

    Raises:
        OutputError: If the file exists or cannot be written.
    """
    head = {"kind": kind, "schema": schema, "osteon": osteon.__version__}
    refuse_existing(Path(path), overwrite=overwrite)
    files.write_json(Path(path), {**head, **data})


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))
