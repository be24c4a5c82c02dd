"""The options that several commands share, and how a command is run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from osteon.cli.console import Console, Say, print_json, report_error
from osteon.errors import ExitCode, OsteonError, UsageError

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


def run_command(
    name: str, work: Callable[[Console], dict[str, Any]], *, as_json: bool, events: Say
) -> None:
    """Run the work of a command: progress, warnings, Ctrl-C, errors, JSON, exit code.

    Args:
        name: The command.
        work: The work; returns the result as a JSON-compatible dictionary.
        as_json: Print that dictionary instead of text.
        events: How progress is told.

    Raises:
        typer.Exit: If the exit code is not 0.
    """
    try:
        with Console(events, quiet=as_json) as console:
            result = work(console)
            console.result(name, result)
        code = console.code
    except (OsteonError, KeyboardInterrupt) as error:
        raise typer.Exit(int(report_error(error, events))) from None
    if as_json:
        print_json(result)
    if code is not ExitCode.OK:
        raise typer.Exit(int(code))


def settings_of(kind: str, file: Path | None, overrides: list[str] | None, **named: object) -> Any:
    """Read settings from a file, ``--set`` and options of their own, which win.

    Args:
        kind: Name of the settings class.
        file: YAML file, or None.
        overrides: What ``--set`` gave.
        **named: Options by the name of their setting; None where not given.

    Returns:
        The settings.

    Raises:
        InputError: If the file is missing or not YAML.
        UsageError: If a name or value is wrong.
    """
    # Imported here: a help page does not wait for the settings of every command.
    import osteon.settings

    given = [f"{key}={value}" for key, value in named.items() if value is not None]
    chosen = getattr(osteon.settings, kind)
    return osteon.settings.load_settings(chosen, file, overrides=[*(overrides or []), *given])


def remap_of(option: str, items: list[str] | None) -> dict[int, str] | None:
    """Read what values of labels stand for.

    Args:
        option: Name of the option, for messages.
        items: What it gave, each ``VALUE=CLASS``.

    Returns:
        Value → name of the class; None if nothing was given.

    Raises:
        UsageError: If an item is not of that form, or a value is given twice.
    """
    if not items:
        return None
    out: dict[int, str] = {}
    for item in items:
        value, _, name = (part.strip() for part in item.partition("="))
        if not value.isdecimal() or not name:
            raise UsageError(
                f"'{item}' is not of the form VALUE=CLASS", where=option, mend="such as 255=bone"
            )
        if int(value) in out:
            raise UsageError(f"the value {int(value)} is given twice", where=option)
        out[int(value)] = name
    return out
