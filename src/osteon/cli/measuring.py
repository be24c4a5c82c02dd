"""``osteon measure``."""

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
    remap_of,
    run_command,
    settings_of,
)


def measure(
    labels: Annotated[Path, typer.Option("--labels", help="Label volume.")],
    scan: Annotated[
        Path | None,
        typer.Option("--scan", help="The scan, for TMD where its intensities are mgHA/cm³."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for tables, compartments and maps.")
    ] = None,
    compartments: Annotated[
        Path | None,
        typer.Option(
            "--compartments",
            help="File of compartments (1 cortical, 2 trabecular), such as one that was written "
            "before and edited.",
        ),
    ] = None,
    voxel_size: Annotated[
        float | None,
        typer.Option(help="Voxel size in µm, in place of what the file says.", min=1e-3),
    ] = None,
    maps: Annotated[
        bool, typer.Option("--maps", help="Also write maps of local thickness.")
    ] = False,
    remap: Annotated[
        list[str] | None,
        typer.Option("--remap", help="What a value of the labels means.", metavar="VALUE=CLASS"),
    ] = None,
    settings: SettingsFile = None,
    set_: Set = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    events: Events = Say.TEXT,
) -> None:
    """Measure bones: BV/TV, Tb.Th, Tb.Sp, Ct.Th, areas …; a table, a row a bone."""

    def work(console: Console) -> dict[str, Any]:
        chosen = settings_of("MeasureSettings", settings, set_)
        from osteon.workflows import measuring

        run = measuring.measure(
            labels,
            out=out,
            settings=chosen,
            options=measuring.MeasureOptions(
                scan=scan,
                compartments=compartments,
                voxel_size=voxel_size,
                remap=remap_of("--remap", remap),
                maps=maps,
            ),
            overwrite=overwrite,
            reporter=console.reporter,
        )
        console.say(run.format_table())
        for path in run.files:
            console.say(f"written: {path}")
        return run.as_dict()

    run_command("measure", work, as_json=as_json, events=events)
