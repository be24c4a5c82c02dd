"""The real series of vertebrae: choose on S1–S5, score S6 once a row, beside classical rows.

    python benchmarks/vertebra.py cv --data DIR --work DIR --variant NAME [--folds S1 S2 ...]
    python benchmarks/vertebra.py fit --data DIR --work DIR --variant NAME
    python benchmarks/vertebra.py score --data DIR --work DIR --run RUN [--run RUN ...]
    python benchmarks/vertebra.py picture --data DIR --work DIR --run RUN --report FILE.png

Labels of these series come from a threshold, so a score is agreement with that procedure.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

sys.path.insert(0, str(Path(__file__).resolve().parent))
import classical
import degrade
from osteon import workflows
from osteon.datasets import Manifest
from osteon.events import Event, Reporter
from osteon.settings import FitSettings, load_settings
from panels import save_panels

FITTED, HELD_OUT = ("S1", "S2", "S3", "S4", "S5"), "S6"
#: What all variants share: few patches, so small batches and a warm-up; see docs/results.md.
QUICK = (
    "training.batch_size=8",
    "loss=jaccard-ce",
    "optimiser=adamw",
    "optimiser.learning_rate=0.003",
    "schedule=one-cycle",
    "network.decoder_channels=[128, 64, 32, 16, 16]",
)
#: Equal patches for choices by cross-validation, whatever the load of the machine.
CV = (*QUICK, "patches.per_slice=2", "training.epochs=5", "validation.max_slices=4")
FINAL = (
    *QUICK,
    "validation.method=none",
    "patches.per_slice=4",
    "normalisation.recipe=percentile",
    "augmentation.preset=geometric",
)
#: Networks that are compared at equal compute: as many floating-point operations as the first
#: takes for this many patches; with the epochs of one patch a slice that this makes (80 slices).
EQUAL_PATCHES, EQUAL_SLICES = 400, 80
NETWORKS = {
    "unet": ("unet", "resnet18"),
    "unetplusplus": ("unetplusplus", "resnet18"),
    "deeplabv3plus": ("deeplabv3plus", "resnet18"),
    "segformer": ("segformer", "mit_b0"),
}
PRESETS = ("geometric", "strong")
PERCENTILE, GEOMETRIC = "normalisation.recipe=percentile", "augmentation.preset=geometric"
VARIANTS: dict[str, tuple[str, ...]] = {
    "cv-zscore": CV,
    "cv-percentile": (*CV, PERCENTILE),
    "cv-percentile-geometric": (*CV, PERCENTILE, GEOMETRIC),
    # Nine, so that a busy machine does not make it more than ten.
    "10-minutes": (*FINAL, "training.max_minutes=9", "training.epochs=100"),
    "50-minutes": (*FINAL, "training.max_minutes=50", "training.epochs=1000"),
}


def equal_compute(
    network: str, preset: str, *, slices: int = EQUAL_SLICES, measured_once: bool = False
) -> tuple[str, ...]:
    """Settings of one network and augmentation, with as many patches as equal compute allows.

    Args:
        network: a name of ``NETWORKS``.
        preset: the augmentation.
        slices: how many slices are fitted to.
        measured_once: all patches in one epoch, so that it is measured at the end alone;
            otherwise one patch of each slice an epoch.

    """
    from osteon.networks import NetworkSpec, network_costs

    def flops(name: str) -> int:
        return network_costs(NetworkSpec(*NETWORKS[name], 1, 3), (1, 1, 256, 256)).flops

    architecture, encoder = NETWORKS[network]
    rounds = round(EQUAL_PATCHES * flops("unet") / flops(network) / slices)
    per_slice, epochs = (rounds, 1) if measured_once else (1, rounds)
    kept = [item for item in FINAL if not item.startswith(("network.", "patches.", "augment"))]
    return (
        *kept,
        f"network.architecture={architecture}",
        f"network.encoder={encoder}",
        f"augmentation.preset={preset}",
        f"patches.per_slice={per_slice}",
        f"training.epochs={epochs}",
    )


def settings_of(variant: str, extra: Sequence[str] = ()) -> tuple[str, ...]:
    """Settings of a variant: one of the table, or ``equal-NETWORK-PRESET``."""
    if variant.startswith("equal-"):
        _, network, preset = variant.split("-")
        return (*equal_compute(network, preset), *extra)
    return (*VARIANTS[variant], *extra)


def fold_settings(variant: str, kept_back: Sequence[str], extra: Sequence[str]) -> list[str]:
    """Settings of a variant with some specimens kept back, as many patches as without."""
    if variant.startswith("equal-"):
        _, network, preset = variant.split("-")
        slices = EQUAL_SLICES * (len(FITTED) - len(kept_back)) // len(FITTED)
        chosen = [*equal_compute(network, preset, slices=slices, measured_once=True), *extra]
    else:
        chosen = [*settings_of(variant), "validation.max_slices=4", *extra]
    chosen = [item for item in chosen if item != "validation.method=none"]
    return [*chosen, f"validation.specimens=[{','.join(kept_back)}]"]


def say(event: Event) -> None:
    if event.kind == "message":
        print(event.stage, event.message, flush=True)


def manifests(data: Path, work: Path) -> tuple[Manifest, Manifest]:
    """Write the manifests of S1–S5 and of S6."""
    work.mkdir(parents=True, exist_ok=True)
    both = workflows.new_dataset(
        data,
        out=work / "all.toml",
        specimen_regex=r"(S\d)_",
        contiguous=False,
        overwrite=True,
    )
    kept = tuple(row for row in both.scans if row.specimen != HELD_OUT)
    rest = tuple(row for row in both.scans if row.specimen == HELD_OUT)
    return (
        replace(both, scans=kept).save(work / "s1-s5.toml", overwrite=True),
        replace(both, scans=rest).save(work / "s6.toml", overwrite=True),
    )


def cross_validate(
    data: Path, work: Path, variant: str, folds: Sequence[str], extra: Sequence[str]
) -> None:
    """Fit with each specimen of S1–S5, or each group as ``S1,S2``, kept back in turn."""
    fitting, _ = manifests(data, work)
    rows = []
    for fold in folds:
        settings = load_settings(
            FitSettings, overrides=fold_settings(variant, fold.split(","), extra)
        )
        run = workflows.fit(
            str(fitting.path),
            out=work / f"{variant}-{fold.replace(',', '-')}",
            settings=settings,
            overwrite=True,
            reporter=Reporter(say),
        )
        last = run.outcome.history[-1]
        rows.append((fold, last.val_mean_iou, *last.val_iou, run.outcome.seconds))
        print(f"| {variant} | {fold} | " + " | ".join(f"{v:.3f}" for v in rows[-1][1:]) + " |")
    means = np.mean([row[1:] for row in rows], axis=0)
    print(f"| {variant} | mean | " + " | ".join(f"{v:.3f}" for v in means) + " |", flush=True)


def fit(data: Path, work: Path, variant: str, out: str | None, extra: Sequence[str]) -> None:
    """Fit to all of S1–S5."""
    fitting, _ = manifests(data, work)
    folder = work / (out or variant)
    resume = (folder / "settings.yaml").exists()
    run = workflows.fit(
        str(fitting.path),
        out=folder,
        settings=None
        if resume
        else load_settings(FitSettings, overrides=settings_of(variant, extra)),
        resume=resume,
        reporter=Reporter(say),
    )
    print(run.as_dict(), run.outcome.plan)


def degraded(data: Path, work: Path, kind: str) -> Path:
    """Write the held-out series with one degradation; the same slices for every row."""
    folder = work / "degraded" / kind
    for series in classical.HELD_OUT_SERIES:
        target = folder / series
        if target.exists():
            continue
        target.mkdir(parents=True)
        for number, path in enumerate(sorted((data / series / "scan").iterdir())):
            image = tifffile.imread(path)
            worse = degrade.DEGRADATIONS[kind](image, degrade.slice_seed(series, number))
            tifffile.imwrite(target / path.name, worse)
    return folder


def score(data: Path, work: Path, runs: Sequence[Path], report: Path | None) -> None:
    """Predict and evaluate S6, clean and degraded, by each run; print the table."""
    _, held_out = manifests(data, work)
    rows: list[dict[str, Any]] = classical.rows_of(
        data, classical.HELD_OUT_SERIES, classical.METHODS
    )
    for run in runs:
        for kind in degrade.DEGRADATIONS:
            scans = degraded(data, work, kind)
            with tempfile.TemporaryDirectory(dir=work) as labels:
                workflows.predict(
                    [scans / series for series in classical.HELD_OUT_SERIES],
                    model=run / "model.safetensors",
                    out=labels,
                    reporter=Reporter(say),
                )
                keep = report / run.name if report and kind == "clean" else None
                found = workflows.evaluate(
                    str(held_out.path), labels, out=keep, overwrite=True
                ).evaluation.summary()
            classes = found["iou"]
            assert isinstance(classes, dict)
            rows.append(
                {"method": run.name, "slices": kind, "mean_iou": found["mean_iou"], **classes}
            )
    print(classical.table(rows))
    (work / "scores.json").write_text(json.dumps(rows, indent=1))


def picture(data: Path, work: Path, run: Path, target: Path) -> None:
    """Draw one slice of S6, clean and noisy: scan, truth, network, threshold."""
    from osteon.formats import open_volume
    from osteon.labels import BONE_PORES
    from osteon.reports import slice_overlay, slice_picture

    series, number = "S6_LES_AP", 5
    _, truth = classical.read_series(data / series)
    rows = []
    for kind in ("clean", "noise"):
        folder = degraded(data, work, kind) / series
        worse = [tifffile.imread(path) for path in sorted(folder.iterdir())]
        with tempfile.TemporaryDirectory(dir=work) as out:
            workflows.predict([folder], model=run / "model.safetensors", out=Path(out) / "labels")
            found = open_volume(Path(out) / "labels").read(slice(number, number + 1))[0]
        otsu = classical.segment(worse, classical.UPPER_OTSU)[number]
        panels = [slice_picture(worse[number])]
        panels += [
            slice_overlay(worse[number], labels, scheme=BONE_PORES)
            for labels in (truth[number], found, otsu)
        ]
        rows.append([panel[::2, ::2] for panel in panels])
    save_panels(rows, ("scan", "truth", "network", "three-class Otsu"), target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=["cv", "fit", "score", "picture"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    equal = [f"equal-{network}-{preset}" for network in NETWORKS for preset in PRESETS]
    parser.add_argument("--variant", choices=[*VARIANTS, *equal], default="10-minutes")
    parser.add_argument("--set", action="append", default=[], help="a further setting")
    parser.add_argument("--folds", nargs="+", default=list(FITTED))
    parser.add_argument("--out")
    parser.add_argument("--run", type=Path, action="append", default=[])
    parser.add_argument("--report", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.task == "cv":
        cross_validate(args.data, args.work, args.variant, args.folds, args.set)
    elif args.task == "fit":
        fit(args.data, args.work, args.variant, args.out, args.set)
    elif args.task == "picture":
        picture(args.data, args.work, args.run[0], args.report)
    else:
        score(args.data, args.work, args.run, args.report)


if __name__ == "__main__":
    main()
