"""The commands. Their options are the settings'; the work is in ``osteon.workflows``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from osteon import __version__
from osteon.cli.cache import cache_app
from osteon.cli.comparing import compare
from osteon.cli.conforming import conform_app
from osteon.cli.console import Console, Say, forgive_encoding, report_error
from osteon.cli.convert import model_convert as _model_convert  # noqa: F401 (registers itself)
from osteon.cli.datasets import dataset_app
from osteon.cli.evaluating import evaluate
from osteon.cli.gui import gui
from osteon.cli.measuring import measure
from osteon.cli.models import model_app
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
from osteon.cli.settings_help import FitCommand, MeasureCommand, PredictCommand
from osteon.cli.simulating import simulate_app
from osteon.cli.studying import study_app
from osteon.errors import ExitCode, Stopped
from osteon.tables.shipped import DEFAULT_MODEL

if TYPE_CHECKING:
    from osteon.workflows import FitRun, PredictionRun

app = typer.Typer(
    name="osteon",
    help="Segment bone in micro-CT scans by deep learning: fit, predict, evaluate and report.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(dataset_app, name="dataset")
app.add_typer(simulate_app, name="simulate")
app.add_typer(model_app, name="model")
app.add_typer(cache_app, name="cache")
app.add_typer(study_app, name="study")
app.add_typer(conform_app, name="conform")


def _version(value: bool) -> None:
    if value:
        print(f"osteon {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


@app.command(cls=FitCommand)
def fit(
    out: OutDir,
    dataset: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DATASET]",
            help="Dataset manifest (TOML); none with simulated slices alone (simulation.items).",
        ),
    ] = None,
    settings: SettingsFile = None,
    set_: Set = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a stopped run.")] = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    events: Events = Say.TEXT,
) -> None:
    """Fit a model to the scans and masks of a dataset → OUT/model.safetensors, OUT/report.html."""

    def work(console: Console) -> dict[str, Any]:
        from osteon.workflows import cluster

        goes_on = resume or cluster.continues(out)
        chosen = None
        if not goes_on or (resume and (settings is not None or set_ or seed is not None)):
            chosen = settings_of("FitSettings", settings, set_, seed=seed)
        # After the settings: a mistake in them is told without waiting for torch.
        from osteon.workflows import fitting, launching

        devices = fitting.devices_asked(out, chosen)
        try:
            with cluster.time_limit(console.reporter), launching.together(devices, sys.argv[1:]):
                run = fitting.fit(
                    dataset,
                    out=out,
                    settings=chosen,
                    resume=goes_on,
                    overwrite=overwrite and (resume or not goes_on),  # a requeued job goes on
                    reporter=console.reporter,
                )
        except Stopped:
            if launching.follows() or console.reporter.stop.reason != cluster.TIME_LIMIT:
                raise
            # While the scans were read: there is nothing yet to be kept.
            console.say(cluster.requeue())
            return {"run": None, "stopped": cluster.TIME_LIMIT}
        if launching.follows():
            return run.as_dict()
        _tell_end(console, run, dataset)
        return run.as_dict()

    from osteon.workflows import launching

    if launching.follows():  # another process of the same fit does the talking
        as_json, events = False, Say.NONE
    run_command("fit", work, as_json=as_json, events=events)


def _tell_end(console: Console, run: FitRun, dataset: Path | None) -> None:
    from osteon.workflows import cluster

    console.say(f"model:  {run.model}\nreport: {run.report}")
    if run.outcome.converged:
        console.say(f"ended early: {run.outcome.converged}")
    if run.outcome.stopped == cluster.TIME_LIMIT:
        console.say(cluster.requeue())
    elif run.outcome.stopped:
        console.say(f"stopped early ({run.outcome.stopped})")
        data = "" if dataset is None else f"{dataset} "
        console.say(f"go on by: osteon fit {data}--out {run.folder} --resume")
        if console.interrupted:
            console.code = ExitCode.INTERRUPTED


@app.command(cls=PredictCommand)
def predict(
    scans: Annotated[
        list[Path], typer.Argument(metavar="SCAN", help="Folders of slices, or files.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="Label volume; its suffix says the format (none: a folder of TIFF slices). With "
            "several scans: a folder.",
        ),
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            help="Model file (model.safetensors), the name of a model that comes with osteon, or "
            "the folder of a study (all its models). Several: the mean of their class "
            "probabilities.",
            show_default=DEFAULT_MODEL,
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(help="What runs the network: auto, torch, openvino or onnxruntime."),
    ] = None,
    speed: Annotated[
        str | None,
        typer.Option(help="normal, or fast: int8 on the CPU where labels stay the same."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory allowed, such as 2GiB.")] = None,
    voxel_size: Annotated[
        float | None,
        typer.Option(help="Voxel size of the scans in µm, in place of what their files say."),
    ] = None,
    resample: Annotated[
        bool,
        typer.Option(
            "--resample",
            help="Bring a scan outside of the model's voxel sizes (or thickness of bone in pixels) "
            "to the nearest inside; labels come back on the scan's grid.",
        ),
    ] = False,
    workers: Annotated[
        int, typer.Option(help="Processes of this machine that share the work; 0: this one alone.")
    ] = 0,
    dask: Annotated[
        str | None,
        typer.Option(
            help="Address of a Dask scheduler whose workers share the work (docs/prediction.md)."
        ),
    ] = None,
    set_: Set = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    events: Events = Say.TEXT,
) -> None:
    """Segment whole scans with a model."""

    def work(console: Console) -> dict[str, Any]:
        chosen = settings_of(
            "PredictSettings", None, set_,
            backend=backend, speed=speed, device=device, memory=memory, resample=resample or None,
        )  # fmt: skip
        from osteon.workflows import predicting
        from osteon.workflows.spreading import Workers

        runs = predicting.predict(
            scans,
            model=model,
            out=out,
            settings=chosen,
            voxel_size=voxel_size,
            workers=Workers(workers, dask) if workers or dask else None,
            overwrite=overwrite,
            reporter=console.reporter,
        )
        for run in runs:
            _tell_prediction(console, run)
        console.code = predicting.exit_code(runs)
        return {"scans": [run.as_dict() for run in runs]}

    run_command("predict", work, as_json=as_json, events=events)


def _tell_prediction(console: Console, run: PredictionRun) -> None:
    if run.earlier is not None:
        console.say(f"labels: {run.labels} (finished before)")
        return
    if run.predicted is None:
        console.say(f"failed: {run.scan}")
        return
    total = sum(run.predicted.voxels.values())
    shares = ", ".join(f"{k} {v / total:.1%}" for k, v in run.predicted.voxels.items())
    console.say(f"labels: {run.labels} ({shares}; {run.predicted.seconds:.1f} s)")
    for name, path in run.beside.items():
        console.say(f"{name}: {path}")
    if run.report is not None:
        console.say(f"report: {run.report}")


app.command("evaluate", cls=MeasureCommand)(evaluate)
app.command("measure", cls=MeasureCommand)(measure)
app.command()(compare)
app.command()(gui)


@app.command()
def demo(
    out: OutDir = Path("osteon-demo"),
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    events: Events = Say.TEXT,
) -> None:
    """Show the main job on simulated scans: simulate, fit, predict, evaluate, report."""

    def work(console: Console) -> dict[str, Any]:
        from osteon import workflows

        shown = workflows.demo(out, overwrite=overwrite, reporter=console.reporter)
        console.say(shown.evaluation.evaluation.format_table())
        console.say(f"report of the fit:        {shown.fit.report}")
        console.say(f"report of the evaluation: {shown.evaluation.report}")
        return {"fit": shown.fit.as_dict(), "evaluation": shown.evaluation.as_dict()}

    run_command("demo", work, as_json=as_json, events=events)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; the only place where errors become exit codes.

    Args:
        arguments: The words after ``osteon``; None: those of this process.
    """
    forgive_encoding()
    try:
        words = None if arguments is None else list(arguments)
        app(words, prog_name="osteon", standalone_mode=True)
    except Exception as error:
        sys.exit(int(report_error(error)))
