"""``osteon model convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from osteon.cli.console import Console, Say
from osteon.cli.models import describe, model_app
from osteon.cli.options import AsJson, Overwrite, run_command


@model_app.command("convert")
def model_convert(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Model file: osteon's .safetensors or the original's .pth; or the name of a model "
            "that comes with osteon.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="Target: .safetensors (osteon's), .pth (for the original's programs) or .onnx.",
        ),
    ],
    classes: Annotated[
        str | None,
        typer.Option(
            "--classes",
            help="New names of the classes, in order of their values: the original's files have "
            "none.",
            metavar="NAME,NAME…",
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write a model in another format; its weights stay as they are."""

    def work(console: Console) -> dict[str, Any]:
        from osteon.workflows.converting import convert

        done = convert(
            model,
            out=out,
            classes=None if classes is None else classes.split(","),
            overwrite=overwrite,
        )
        console.say(describe(done.model))
        console.say(f"written:        {done.out}")
        return done.as_dict()

    run_command("model convert", work, as_json=as_json, events=Say.TEXT)
