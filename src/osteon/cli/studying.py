"""``osteon study``: cross-validation, grids and variants of settings as one resumable study."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from osteon.cli.console import Console, Say
from osteon.cli.options import AsJson, Events, Overwrite, run_command

study_app = typer.Typer(
    help="Cross-validation, grids and variants of settings, run and reported.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="Study file (YAML).")]


class Protocol(StrEnum):
    """The paper's studies."""

    CV = "cv"
    BENCHMARK = "benchmark"


@study_app.command("new")
def study_new(
    protocol: Annotated[
        Protocol,
        typer.Argument(
            help="cv: 5 folds by specimen × 3 seeds; benchmark: 30 fits over 5 architectures × 2 "
            "encoders × 3 patch sizes."
        ),
    ],
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Dataset manifest (TOML).")],
    out: Annotated[Path, typer.Option("--out", help="The study file.")] = Path("study.yaml"),
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write a study file with one of the protocols of Lee et al. 2026, to be edited."""

    def work(console: Console) -> dict[str, Any]:
        from osteon.studies.protocols import new_study

        written = new_study(protocol.value, dataset, out=out, overwrite=overwrite)
        console.say(f"study file: {written}\nwhat it will take: osteon study plan {written}")
        return {"study": str(written)}

    run_command("study", work, as_json=as_json, events=Say.TEXT)


@study_app.command("plan")
def study_plan(study: StudyFile, as_json: AsJson = False) -> None:
    """Print the runs of a study, the hours and the disk that they will take."""

    def work(console: Console) -> dict[str, Any]:
        from osteon.studies.planning import plan_study

        plan = plan_study(study)
        for run in plan.runs:
            epochs = run.settings.training.epochs
            console.say(f"{run.name}  {epochs} epochs")
        for line in plan.sentences():
            console.say(line)
        return {
            "runs": [run.as_dict() for run in plan.runs],
            "seconds": plan.seconds,
            "disk_bytes": plan.disk_bytes,
            "notes": list(plan.notes),
        }

    run_command("study", work, as_json=as_json, events=Say.TEXT)


@study_app.command("run")
def study_run(
    study: StudyFile,
    out: Annotated[Path, typer.Option("--out", help="Folder of the study.")],
    workers: Annotated[int, typer.Option("--workers", help="Runs at a time.", min=1)] = 1,
    dask: Annotated[
        str | None,
        typer.Option(
            "--dask",
            help="Address of a Dask scheduler whose workers see the same files; runs go there.",
        ),
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try failed runs again.")] = False,
    as_json: AsJson = False,
    events: Events = Say.TEXT,
) -> None:
    """Run what is not finished of a study; give the same command again to go on."""

    def work(console: Console) -> dict[str, Any]:
        from osteon.studies.executor import DaskExecutor, LocalExecutor
        from osteon.studies.planning import plan_study
        from osteon.studies.running import run_study

        plan = plan_study(study)
        for line in plan.sentences(workers=workers):
            console.reporter.message("study", line)
        run = run_study(
            plan,
            out=out,
            executor=DaskExecutor(dask, workers) if dask else LocalExecutor(workers),
            retry=retry,
            reporter=console.reporter,
        )
        counts = {s: list(run.status.values()).count(s) for s in sorted(set(run.status.values()))}
        console.say(", ".join(f"{n} {status}" for status, n in counts.items()))
        for name, why in run.failures.items():
            console.say(f"failed: {name}: {why}")
        if counts.get("finished"):
            console.say(f"look at them by: osteon study report {out}")
        console.code = run.exit_code
        return run.as_dict()

    run_command("study", work, as_json=as_json, events=events)


@study_app.command("report")
def study_report(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of a study.")],
    as_json: AsJson = False,
) -> None:
    """Write tables and a report of the runs that are finished → FOLDER/report.html."""

    def work(console: Console) -> dict[str, Any]:
        from osteon.studies.reporting import report_study

        report = report_study(folder)
        console.say(f"report: {report}\ntables: {folder / 'tables'}")
        return {"report": str(report), "tables": str(folder / "tables")}

    run_command("study", work, as_json=as_json, events=Say.TEXT)
