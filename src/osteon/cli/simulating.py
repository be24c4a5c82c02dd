"""The commands that simulate scans."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from osteon.cli.console import Console, Say
from osteon.cli.options import (
    AsJson,
    Events,
    OutDir,
    Overwrite,
    Set,
    run_command,
    settings_of,
)
from osteon.cli.settings_help import SimulateCommand

simulate_app = typer.Typer(no_args_is_help=True, help="Simulate micro-CT scans with exact labels.")


class Suite(StrEnum):
    """What a simulated dataset is."""

    SCAN = "scan"
    COHORT = "cohort"


def _simulate(kind: Suite, out: Path, set_: list[str] | None, **options: Any) -> None:
    index, overwrite = options["index"], options["overwrite"]

    def work(console: Console) -> dict[str, Any]:
        from osteon import workflows
        from osteon.workflows.record import count

        chosen = settings_of("SimulateSettings", None, set_, seed=options["seed"])
        if kind is Suite.SCAN:
            manifest = workflows.simulate_scan(
                out, settings=chosen, index=index, overwrite=overwrite, reporter=console.reporter
            )
        else:
            manifest = workflows.simulate_cohort(
                out, settings=chosen, overwrite=overwrite, reporter=console.reporter
            )
        console.say(f"{count(len(manifest.scans), 'scan')}, manifest: {manifest.path}")
        return {"manifest": str(manifest.path), "scans": [row.name for row in manifest.scans]}

    run_command("simulate", work, as_json=options["as_json"], events=options["events"])


@simulate_app.command("scan", cls=SimulateCommand)
def simulate_scan(
    out: OutDir,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    index: Annotated[int, typer.Option(help="Number of the scan under the seed.", min=0)] = 0,
    set_: Set = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    events: Events = Say.TEXT,
) -> None:
    """Simulate one scan with its labels."""
    _simulate(
        Suite.SCAN,
        out,
        set_,
        seed=seed,
        index=index,
        overwrite=overwrite,
        as_json=as_json,
        events=events,
    )


@simulate_app.command("cohort", cls=SimulateCommand)
def simulate_cohort(
    out: OutDir,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    set_: Set = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    events: Events = Say.TEXT,
) -> None:
    """Simulate scans of several made-up species, with labels and a manifest."""
    _simulate(
        Suite.COHORT,
        out,
        set_,
        seed=seed,
        index=0,
        overwrite=overwrite,
        as_json=as_json,
        events=events,
    )
