"""Commands whose help page lists the settings, from the settings' own descriptions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand

if TYPE_CHECKING:
    from pydantic import BaseModel


class _Command(TyperCommand):
    """Prints the settings below the options; they are imported when the page is asked for."""

    settings = ""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help page."""
        super().format_help(ctx, formatter)
        import osteon.settings

        print_settings(getattr(osteon.settings, self.settings))


class FitCommand(_Command):
    """A command with the settings of a fit."""

    settings = "FitSettings"


class PredictCommand(_Command):
    """A command with the settings of a prediction."""

    settings = "PredictSettings"


class MeasureCommand(_Command):
    """A command with the settings of a measurement."""

    settings = "MeasureSettings"


class SimulateCommand(_Command):
    """A command with the settings of a simulation."""

    settings = "SimulateSettings"


def print_settings(kind: type[BaseModel]) -> None:
    """Print the settings of a class: name and default on a line, what it is below.

    Args:
        kind: The settings class.
    """
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    from osteon.settings import settings_help

    console = Console(highlight=False)
    console.print(" Settings, with their defaults: --set NAME=VALUE, or a YAML file\n")
    group = None
    for name, default, text in settings_help(kind):
        own, dot, _ = name.partition(".")
        if group not in (None, own if dot else name):
            console.print()
        group = own
        console.print(Text.assemble("  ", (name, "bold cyan"), f" = {default}"))
        if text:
            console.print(Padding(Text(text), (0, 2, 0, 6)))
    console.print()
