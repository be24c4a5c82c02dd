"""Full reports of a model and of Otsu's threshold on a vertebra, bone-qim3d and a simulated scan.

    python benchmarks/reports.py --data DATA --out DIR [--fitted RUN/model.safetensors]

DATA holds ``vertebra`` and ``bone-qim3d``. For each of S6 (areas only: its slices are no neighbours
in space), bone-qim3d and one simulated scan the labels of ``bone-pores`` and of Otsu's threshold,
tuned on the truth of the very scan, are written to ``DIR/labels`` and evaluated as ``osteon
evaluate`` does: ``DIR/<scan>-<labels>/report.html``. ``--fitted`` names a model fitted to S1 to S5;
it labels S6 alone. A table of all is printed as markdown. What is there is not made again.

Nothing may be chosen by S6 and bone-qim3d: these reports show what was scored before
(docs/zero-shot-log.csv, docs/results.md). Pictures of the reports in docs/images:

    chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1200,3200
        --screenshot=report.png file://DIR/bone-qim3d-bone-pores/report.html       (one line)
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from osteon import workflows
from osteon.datasets import Manifest, ScanRow, open_pair
from osteon.evaluation.baseline import otsu_labels, tuned_otsu
from osteon.events import Reporter
from osteon.formats import open_writer
from osteon.labels import BONE_PORES
from osteon.settings import MeasureSettings, PredictSettings, SimulateSettings

SHIPPED, OTSU = "bone-pores", "otsu"
VERTEBRA, QIM, SIMULATED = "vertebra-s6", "bone-qim3d", "simulated"
SERIES = ("S6_LES_AP", "S6_LES_ML")
#: One scan with cortex and trabeculae, under a seed that no fit and no test has.
SIMULATION = SimulateSettings(scans=1, size=144, slices=64, seed=606_700, kinds=("end",))
#: Rows of the table: metric, its class, heading.
COLUMNS = (
    ("iou", "mean", "mean IoU"),
    ("iou", "bone", "bone"),
    ("nsd", "bone", "surface Dice"),
    ("tt-ar_error", "bone", "Tt.Ar"),
    ("b-ar_error", "bone", "B.Ar"),
    ("bv-tv_error", "bone", "BV/TV"),
    ("tb-th_error", "bone", "Tb.Th"),
    ("tb-sp_error", "bone", "Tb.Sp"),
    ("ct-th_error", "bone", "Ct.Th"),
)


@dataclass(frozen=True)
class Group:
    """Scans that share a report.

    Attributes:
        name: Name of the report's folder.
        manifest: The scans and their truth.
        labelled: By what they are labelled: names of models, files of models, ``otsu``.
    """

    name: str
    manifest: Manifest
    labelled: Sequence[str]


def groups(data: Path, out: Path, fitted: Path | None) -> list[Group]:
    """Say which scans are labelled by what."""
    series = [
        ScanRow(
            name=name,
            image=str(data / "vertebra" / name / "scan"),
            mask=str(data / "vertebra" / name / "mask"),
            specimen="S6",
            contiguous=False,
        )
        for name in SERIES
    ]
    cube = ScanRow(
        name=QIM,
        image=str(data / QIM / "scan.tif"),
        mask=str(data / QIM / "mask.tif"),
        specimen=QIM,
    )
    if not (out / SIMULATED / "dataset.toml").exists():
        workflows.simulate_cohort(out / SIMULATED, settings=SIMULATION)
    both = (SHIPPED, OTSU)
    more = both if fitted is None else (str(fitted), *both)
    return [
        Group(VERTEBRA, _saved(series, out / f"{VERTEBRA}.toml"), more),
        Group(QIM, _saved([cube], out / f"{QIM}.toml"), both),
        Group(SIMULATED, Manifest.load(out / SIMULATED / "dataset.toml"), both),
    ]


def _saved(rows: list[ScanRow], path: Path) -> Manifest:
    return Manifest(BONE_PORES, tuple(rows), path).save(path, overwrite=True)


def title(model: str) -> str:
    """Name a model by its run, or as it is called."""
    return Path(model).parent.name if model.endswith(".safetensors") else model


def label(manifest: Manifest, by: str, folder: Path) -> None:
    """Label all scans of a manifest that are not labelled yet."""
    for row in manifest.scans:
        path = folder / f"{row.name}.tif"
        if path.exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        if by != OTSU:
            settings = PredictSettings(contiguous="yes" if row.contiguous else "no")
            workflows.predict([manifest.resolve(row.image)], model=by, out=path, settings=settings)
            continue
        pair = open_pair(manifest, row)
        truth = pair.labels
        if truth is None:
            raise ValueError(f"{row.name} has no mask")
        otsu = tuned_otsu(pair.image, lambda z, t=truth: t.read(slice(z, z + 1))[0])
        print(f"{row.name}: {otsu}")
        values = otsu_labels(pair.image, otsu, reporter=Reporter())
        with open_writer(path, like=pair.image, dtype=np.dtype("uint8"), labels=BONE_PORES) as w:
            w.write(0, values)


def row(group: Group, by: str, table: list[dict[str, Any]]) -> str:
    """A row of the table: means over the scans of a report."""
    cells = [group.name, title(by)]
    for metric, name, _ in COLUMNS:
        found = [
            r["value"]
            for r in table
            if r["metric"] == metric
            and r["class"] == name
            and r["scan"] in {s.name for s in group.manifest.scans}
            and r["value"] is not None
        ]
        if not found:
            cells.append("–")
        else:
            value = float(np.mean(found))
            cells.append(f"{value:+.1%}" if metric.endswith("_error") else f"{value:.3f}")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--fitted", type=Path, help="model fitted to S1 to S5")
    given = parser.parse_args()
    out = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for group in groups(given.data.resolve(), out, given.fitted):
        for by in group.labelled:
            labels = out / "labels" / f"{group.name}-{title(by)}"
            folder = out / f"{group.name}-{title(by)}"
            label(group.manifest, by, labels)
            record = folder / "evaluation.json"
            if not record.exists():
                workflows.evaluate(
                    group.manifest.path,
                    labels,
                    out=folder,
                    options=workflows.EvaluateOptions(measures=True, measuring=MeasureSettings()),
                )
            table = json.loads(record.read_text(encoding="utf-8"))["rows"]
            rows.append(row(group, by, table))
    print("| scans | labels | " + " | ".join(head for *_, head in COLUMNS) + " |")
    print("| --- | --- |" + " --- |" * len(COLUMNS))
    print("\n".join(rows))


if __name__ == "__main__":
    main()
