"""``osteon evaluate``."""

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
from osteon.errors import UsageError

Truth = Annotated[Path, typer.Option("--truth", help="True labels; or a dataset manifest (TOML).")]
Labels = Annotated[
    Path,
    typer.Option(
        "--labels",
        help="Labels to evaluate; with a manifest, a folder of label volumes named after the "
        "scans.",
    ),
]
Out = Annotated[Path | None, typer.Option("--out", help="Folder for tables and report.")]
Scan = Annotated[
    Path | None,
    typer.Option("--scan", help="The scan: shown in the report, and labelled by Otsu."),
]
Slices = Annotated[str | None, typer.Option("--slices", help="Only these slices, as first:last+1.")]
Remap = Annotated[
    list[str] | None,
    typer.Option("--remap", help="What a value of the truth means.", metavar="VALUE=CLASS"),
]
LabelsRemap = Annotated[
    list[str] | None,
    typer.Option("--labels-remap", help="The same for the labels.", metavar="VALUE=CLASS"),
]
Contiguous = Annotated[
    bool | None,
    typer.Option(
        "--contiguous/--not-contiguous",
        help="Whether neighbouring slices are neighbours in space (default: what the manifest "
        "says, or yes). If not, surface and topology are measured within slices.",
        show_default=False,
    ),
]
Tolerance = Annotated[
    float | None,
    typer.Option(
        "--tolerance",
        help="Within how many µm surfaces count as the same (default: one voxel).",
        min=0.0,
        show_default=False,
    ),
]
OnlyOverlap = Annotated[
    bool,
    typer.Option("--only-overlap", help="Leave out surface, topology and measures: faster."),
]
Measures = Annotated[
    bool | None,
    typer.Option(
        "--measures/--no-measures",
        help="Compare measures of bone (BV/TV, Tb.Th …), beside a tuned Otsu threshold where "
        "the scan is known (default: where up to 2 GiB of memory do).",
        show_default=False,
    ),
]


def evaluate(
    truth: Truth,
    labels: Labels,
    out: Out = None,
    scan: Scan = None,
    slices: Slices = None,
    remap: Remap = None,
    labels_remap: LabelsRemap = None,
    contiguous: Contiguous = None,
    tolerance: Tolerance = None,
    only_overlap: OnlyOverlap = False,
    measures: Measures = None,
    settings: SettingsFile = None,
    set_: Set = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    events: Events = Say.TEXT,
) -> None:
    """Compare labels with the truth: overlap, surface, topology, measures; tables, a report."""

    def work(console: Console) -> dict[str, Any]:
        from osteon import workflows

        options = workflows.EvaluateOptions(
            slices=_range(slices),
            remap=remap_of("--remap", remap),
            labels_remap=remap_of("--labels-remap", labels_remap),
            scan=scan,
            contiguous=contiguous,
            only_overlap=only_overlap,
            tolerance_um=tolerance,
            measures=measures,
            measuring=settings_of("MeasureSettings", settings, set_),
        )
        run = workflows.evaluate(
            truth,
            labels,
            out=out,
            options=options,
            overwrite=overwrite,
            reporter=console.reporter,
        )
        console.say(run.evaluation.format_table())
        if run.report is not None:
            console.say(f"report: {run.report}")
        return run.as_dict()

    run_command("evaluate", work, as_json=as_json, events=events)


def _range(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, _, last = (part.strip() for part in text.partition(":"))
    if not (first.isdecimal() and last.isdecimal() and int(first) < int(last)):
        raise UsageError(
            f"'{text}' is not a range of slices",
            where="--slices",
            mend="give the first slice and the one after the last, such as 96:128",
        )
    return int(first), int(last)
