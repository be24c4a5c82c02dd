"""The options that several commands share, and how a command is run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from osteon.cli.console import Console, Say
from osteon.errors import ExitCode

OutDir = Annotated[Path, typer.Option("--out", help="Folder for the result.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing result.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Events = Annotated[Say, typer.Option("--events", help="How progress is told on standard error.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting, as name=value; may be repeated.", metavar="NAME=VALUE"),
]
SettingsFile = Annotated[
    Path | None, typer.Option("--settings", help="YAML file of settings; --set wins over it.")
]


def run_command(work: Callable[[Console], dict[str, Any]], *, as_json: bool, events: Say) -> None:
    """Run the work of a command: progress, warnings, Ctrl-C, JSON, exit code.

    Args:
        work: The work; returns the result as a JSON-compatible dictionary.
        as_json: Print that dictionary instead of text.
        events: How progress is told.

    Raises:
        typer.Exit: If the command asks for another exit code than 0.
    """
    with Console(events, quiet=as_json) as console:
        result = work(console)
    if as_json:
        from osteon.workflows.record import finite

        print(json.dumps(finite(result), indent=1))
    if console.code is not ExitCode.OK:
        raise typer.Exit(int(console.code))
