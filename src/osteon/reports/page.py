"""Sections → one self-contained HTML file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import osteon
from osteon.errors import OutputError
from osteon.reports.blocks import Section


def write_simple_report(
    path: str | Path,
    *,
    title: str,
    sections: Sequence[Section],
    summary: Sequence[str] = (),
    warnings: Sequence[str] = (),
    overwrite: bool = False,
) -> None:
    """Write a report: one HTML file that needs no network and no other file.

    Every text is escaped; only drawings made by ``osteon.reports.figures`` go in as they are.

    Args:
        path: The target, ``.html``; written beside it and renamed.
        title: The heading of the page.
        sections: The parts of the report.
        summary: Sentences below the title.
        warnings: What the reader must know before the rest.
        overwrite: Replace an existing file.

    Raises:
        OutputError: If the file exists or cannot be written.
    """
    page = render(title=title, sections=sections, summary=summary, warnings=warnings)
    _put(Path(path), page, overwrite=overwrite)


def render(
    *,
    title: str,
    sections: Sequence[Section],
    summary: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> str:
    """Return the HTML of a report; see :func:`write_simple_report`.

    Args:
        title: The heading of the page.
        sections: The parts of the report.
        summary: Sentences below the title.
        warnings: What the reader must know before the rest.

    Returns:
        The page.
    """
    # Imported here: `osteon --help` must not pay for a template engine.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("osteon.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        title=title,
        sections=sections,
        summary=summary,
        warnings=warnings,
        version=osteon.__version__,
        made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    )


def _put(path: Path, page: str, *, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise OutputError("the report exists", where=path, mend="choose another name, or overwrite")
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A lone surrogate (from a file name that is not UTF-8) must not cost the whole report.
        beside.write_text(page, encoding="utf-8", errors="replace", newline="\n")
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise OutputError(
            f"the report cannot be written: {error.strerror or error}",
            where=path,
            mend="check that the folder is writable and the disk not full",
        ) from error
