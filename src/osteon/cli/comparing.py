"""``osteon compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from osteon.cli.console import Console, Say
from osteon.cli.options import AsJson, Overwrite, run_command


def compare(
    evaluations: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN|DIR …",
            help="Folders that `osteon evaluate --out` wrote, or run folders that hold one as "
            "evaluation/; NAME=DIR gives a name. Each is compared with those before it.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for tables and report.")],
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Compare models on the same scans, paired by scan; tables and a report."""

    def work(console: Console) -> dict[str, Any]:
        from osteon.workflows import comparing

        run = comparing.compare(evaluations, out=out, overwrite=overwrite)
        for line in (*run.comparison.sentences(), *run.comparison.notes()):
            console.say(line)
        console.say(f"report: {run.report}")
        return run.as_dict()

    run_command("compare", work, as_json=as_json, events=Say.TEXT)
