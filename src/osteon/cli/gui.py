"""``osteon gui``: the window."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from osteon.cli.console import report_error
from osteon.errors import OsteonError


def gui(
    scans: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[SCAN]", help="Scans and labels to open: folders or files."),
    ] = None,
) -> None:
    """Open the window: look at scans, predict, correct, fit, evaluate (extra gui)."""
    # Imported here: no other command waits for it.
    from osteon.napari.launching import run

    try:
        run(scans or ())
    except OsteonError as error:
        raise typer.Exit(int(report_error(error))) from None
