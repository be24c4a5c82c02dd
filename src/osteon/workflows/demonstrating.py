"""``osteon demo``: the main job on simulated data, from scans to a report."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from osteon.datasets import Manifest
from osteon.events import Reporter
from osteon.settings import FitSettings, SimulateSettings, load_settings
from osteon.workflows.evaluating import EvaluationRun, evaluate
from osteon.workflows.fitting import FitRun, fit
from osteon.workflows.predicting import predict
from osteon.workflows.simulating import simulate_cohort

#: Scans of the demonstration; the last is kept aside and never seen by the fit.
SCANS = 6
SIZE, SLICES = 160, 48
#: Few scans and few minutes: bones that are alike, or nothing could be learned of them.
KINDS = ("vertebra", "end", "shaft")
#: Small and quick, so that it shows the way in minutes without a GPU; not the paper's settings.
SETTINGS = (
    "training.max_minutes=2.5",
    "training.epochs=200",
    "training.batch_size=8",
    "patches.size=128",
    "patches.per_slice=1",
    "loss=jaccard-ce",
    "optimiser=adamw",
    "optimiser.learning_rate=0.003",
    "schedule=one-cycle",
    "network.decoder_channels=[128, 64, 32, 16, 16]",
    "validation.max_slices=8",
)


@dataclass(frozen=True)
class Demonstration:
    """What the demonstration made.

    Attributes:
        folder: All of it.
        fit: The fit.
        evaluation: The labels of the unseen scan against its truth.
    """

    folder: Path
    fit: FitRun
    evaluation: EvaluationRun


def demo(
    out: str | Path = "osteon-demo", *, overwrite: bool = False, reporter: Reporter | None = None
) -> Demonstration:
    """Simulate a cohort, fit, predict a scan that the fit never saw, evaluate, report.

    Takes a few minutes on two cores.

    Args:
        out: Folder for everything.
        overwrite: Replace an earlier demonstration.
        reporter: Told of the progress.

    Returns:
        What was made.

    Raises:
        OsteonError: As the stages it calls.
    """
    reporter = reporter or Reporter()
    folder = Path(out)
    scans = SimulateSettings(scans=SCANS, species=5, kinds=KINDS, size=SIZE, slices=SLICES)
    reporter.message("demo", f"1/4 simulating {SCANS} micro-CT scans of {scans.species} species")
    cohort = simulate_cohort(
        folder / "cohort", settings=scans, overwrite=overwrite, reporter=reporter
    )
    _part(cohort, folder / "fit.toml", slice(0, SCANS - 1))
    unseen = _part(cohort, folder / "test.toml", slice(SCANS - 1, SCANS))
    reporter.message("demo", f"2/4 fitting a network to {SCANS - 1} of them")
    run = fit(
        folder / "fit.toml",
        out=folder / "run",
        settings=load_settings(FitSettings, overrides=SETTINGS),
        overwrite=overwrite,
        reporter=reporter,
    )
    row = unseen.scans[0]
    reporter.message("demo", f"3/4 segmenting {row.name}, which the fit never saw")
    predict(
        [unseen.resolve(row.image)],
        model=run.model,
        out=folder / "labels" / row.name,
        overwrite=overwrite,
        reporter=reporter,
    )
    reporter.message("demo", "4/4 evaluating against the true labels")
    judged = evaluate(
        folder / "test.toml",
        folder / "labels",
        out=folder / "evaluation",
        overwrite=overwrite,
        reporter=reporter,
    )
    return Demonstration(folder, run, judged)


def _part(cohort: Manifest, path: Path, rows: slice) -> Manifest:
    return replace(cohort, scans=cohort.scans[rows]).save(path, overwrite=True)
