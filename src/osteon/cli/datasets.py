"""The commands about datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from osteon.cli.console import Console, Say
from osteon.cli.options import (
    AsJson,
    Events,
    Overwrite,
    Set,
    SettingsFile,
    run_command,
    settings_of,
)
from osteon.errors import ExitCode

dataset_app = typer.Typer(no_args_is_help=True, help="Make and examine dataset manifests.")


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
    """Examine a dataset for what would spoil a fit; exits with 3 if there are errors.

    The settings are those of `osteon fit`; memory and time are estimated for them.
    """

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


@dataset_app.command("preview")
def dataset_preview(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Dataset manifest (TOML).")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Picture (.png) or page (.html) to write; default: DATASET-preview.png here.",
        ),
    ] = None,
    settings: SettingsFile = None,
    set_: Set = None,
    count: Annotated[int, typer.Option("--count", help="How many patches to show.")] = 12,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    events: Events = Say.TEXT,
) -> None:
    """Show patches with labels before and after augmentation, as a fit would see them.

    The settings are those of `osteon fit`, such as --set augmentation.preset=strong.
    """

    def work(console: Console) -> dict[str, Any]:
        from osteon import workflows
        from osteon.workflows.record import count as counted

        target = out or Path(f"{dataset.stem}-preview.png")
        made = workflows.preview_dataset(
            dataset,
            out=target,
            settings=settings_of("FitSettings", settings, set_),
            count=count,
            overwrite=overwrite,
            reporter=console.reporter,
        )
        scans = len({row.scan for row in made.rows})
        patches = "1 patch" if len(made.rows) == 1 else f"{len(made.rows)} patches"
        console.say(f"{made.path}: {patches} of {counted(scans, 'scan')}")
        return made.as_dict()

    run_command("dataset preview", work, as_json=as_json, events=events)
