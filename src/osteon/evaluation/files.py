"""Write tables as CSV and JSON, beside the target and then renamed."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import osteon
from osteon.errors import OutputError

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
    _put(Path(path), text.getvalue(), overwrite=overwrite)


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
    text = json.dumps(_plain({**head, **data}), indent=1, allow_nan=False, ensure_ascii=False)
    _put(Path(path), text + "\n", overwrite=overwrite)


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if _missing(value) else value


def _put(path: Path, text: str, *, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise OutputError("the file exists", where=path, mend="choose another name, or overwrite")
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding="utf-8", newline="")
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise OutputError(
            f"the file cannot be written: {error.strerror or error}",
            where=path,
            mend="check that the folder is writable and the disk not full",
        ) from error
