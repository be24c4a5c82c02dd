"""``osteon gui``: the window."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from osteon.cli.console import report_error
from osteon.errors import OsteonError


def gui(
    scan: Annotated[
        Path | None,
        typer.Argument(metavar="[SCAN]", help="Folder of slices or file to open; none: empty."),
    ] = None,
) -> None:
    """Open the window: look at scans, predict, correct, fit, evaluate (extra gui)."""
    # Imported here: no other command waits for it.
    from osteon.napari.launching import run

    try:
        run(scan)
    except OsteonError as error:
        raise typer.Exit(int(report_error(error))) from None
