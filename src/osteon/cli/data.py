"""The commands about datasets, simulations and models."""

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
    SettingsFile,
    run_command,
    settings_of,
)
from osteon.cli.settings_help import SimulateCommand
from osteon.errors import ExitCode

dataset_app = typer.Typer(no_args_is_help=True, help="Make and examine dataset manifests.")
simulate_app = typer.Typer(no_args_is_help=True, help="Simulate micro-CT scans with exact labels.")
model_app = typer.Typer(no_args_is_help=True, help="Look at models and what they are made of.")


class Suite(StrEnum):
    """What a simulated dataset is."""

    SCAN = "scan"
    COHORT = "cohort"


@dataset_app.command("new")
def dataset_new(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder with <name>/scan and <name>/mask.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Manifest to write (TOML).")],
    specimen: Annotated[
        str | None,
        typer.Option(
            "--specimen",
            help="Regular expression whose first group, found in a scan's name, is the specimen.",
            metavar="REGEX",
        ),
    ] = None,
    not_contiguous: Annotated[
        bool,
        typer.Option("--not-contiguous", help="Neighbouring slices are not neighbours in space."),
    ] = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    events: Events = Say.TEXT,
) -> None:
    """Make a manifest of the scans and masks below a folder."""

    def work(console: Console) -> dict[str, Any]:
        from osteon import workflows
        from osteon.workflows.record import count

        manifest = workflows.new_dataset(
            folder,
            out=out,
            specimen_regex=specimen,
            contiguous=not not_contiguous,
            overwrite=overwrite,
        )
        specimens = sorted({row.specimen for row in manifest.scans})
        scans = count(len(manifest.scans), "scan")
        console.say(f"{out}: {scans} of {count(len(specimens), 'specimen')}")
        console.say(f"next: osteon dataset check {out}")
        return {"manifest": str(out), "scans": len(manifest.scans), "specimens": specimens}

    run_command("dataset new", work, as_json=as_json, events=events)


@dataset_app.command("check")
def dataset_check(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Dataset manifest (TOML).")],
    settings: SettingsFile = None,
    set_: Set = None,
    as_json: AsJson = False,
    events: Events = Say.TEXT,
) -> None:
    """Examine a dataset for what would spoil a fit; exits with 3 if there are errors."""

    def work(console: Console) -> dict[str, Any]:
        from osteon import workflows
        from osteon.workflows.record import count

        chosen = settings_of("FitSettings", settings, set_)
        findings = workflows.check_dataset(dataset, settings=chosen, reporter=console.reporter)
        for finding in findings:
            console.say(f"{finding.severity}: {finding.text} [{finding.name}]")
            console.say(f"  where: {finding.where}")
            if finding.mend:
                console.say(f"  mend:  {finding.mend}")
        errors = sum(f.severity == "error" for f in findings)
        warnings = sum(f.severity == "warning" for f in findings)
        console.say(f"{count(errors, 'error')}, {count(warnings, 'warning')}")
        if errors:
            console.code = ExitCode.INPUT
        return {"findings": [f.as_dict() for f in findings], "errors": errors}

    run_command("dataset check", work, as_json=as_json, events=events)


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


@model_app.command("show")
def model_show(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Model file.")],
    as_json: AsJson = False,
) -> None:
    """Say what a model is, what it was fitted to and how well it scored."""

    def work(console: Console) -> dict[str, Any]:
        from osteon.cli.models import describe
        from osteon.model_file import load_model

        loaded = load_model(model)
        console.say(describe(loaded))
        return loaded.spec.as_dict()

    run_command("model show", work, as_json=as_json, events=Say.TEXT)


@model_app.command("list")
def model_list(as_json: AsJson = False) -> None:
    """List the architectures, encoders, losses and other choices."""

    def work(console: Console) -> dict[str, Any]:
        from osteon.cli.models import choices

        tables = choices()
        for title, rows in tables.items():
            console.say(f"{title}:")
            for name, text in rows.items():
                console.say(f"  {name:<28}{text}")
        return tables

    run_command("model list", work, as_json=as_json, events=Say.TEXT)
