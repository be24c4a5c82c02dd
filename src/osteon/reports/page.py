"""Sections → one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import osteon
from osteon.files import refuse_existing, write_text
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
    refuse_existing(Path(path), overwrite=overwrite)
    write_text(Path(path), page)


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
        stacks=any(getattr(b, "kind", "") == "stack" for s in sections for b in s.blocks),
        version=osteon.__version__,
        made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    )
