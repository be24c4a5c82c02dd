"""``osteon conform``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from osteon.cli.console import Console, Say
from osteon.cli.options import AsJson, Events, Overwrite, run_command

conform_app = typer.Typer(
    help="Whether every backend, precision, tiling and thread count here gives the same labels.",
    invoke_without_command=True,
)


@conform_app.callback()
def conform(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", help="The file (JSON).")] = Path("conformity.json"),
    model: Annotated[
        str | None,
        typer.Option(
            "--model", help="Model file or name; without: bone-pores, which osteon ships."
        ),
    ] = None,
    no_training: Annotated[
        bool, typer.Option("--no-training", help="Leave out the two fits with one seed.")
    ] = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    events: Events = Say.TEXT,
) -> None:
    """Label a fixed simulated scan in every way this machine can; a few minutes."""
    if context.invoked_subcommand is not None:
        return

    def work(console: Console) -> dict[str, Any]:
        from osteon.workflows.conforming import conform as run
        from osteon.workflows.conforming_table import compare_conformity

        record = run(
            model,
            out=out,
            training=not no_training,
            overwrite=overwrite,
            reporter=console.reporter,
        )
        console.say(compare_conformity([out]).markdown())
        console.say(f"written: {out}")
        return record

    run_command("conform", work, as_json=as_json, events=events)


@conform_app.command("compare")
def conform_compare(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE …", help="Files that `osteon conform` wrote.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for conformity.csv, .md and report.html.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Put the files of several machines side by side; each is named after its file."""

    def work(console: Console) -> dict[str, Any]:
        from osteon.workflows.conforming_table import compare_conformity

        table = compare_conformity(files, out=out, overwrite=overwrite)
        console.say(table.markdown())
        return {
            "rows": list(table.rows),
            "notes": list(table.notes),
            "conforms": table.conforms,
        }

    run_command("conform", work, as_json=as_json, events=Say.TEXT)
