"""The main job on real scans, which are not part of the project: skipped where they are absent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from osteon import workflows
from osteon.datasets import Manifest, ScanRow
from osteon.formats import open_volume
from osteon.labels import BONE_PORES
from osteon.settings import FitSettings, load_settings
from osteon.volume import Slab
from osteon.workflows.evaluating import EvaluateOptions

#: The first 88 slices are fitted to; 8 are left out; the last 32 measure it.
DEPTH, GAP, LAST = 128, 8, 32
SETTINGS = (
    "validation.method=slabs",
    f"validation.share={LAST / DEPTH}",
    f"validation.gap={GAP}",
    "validation.max_slices=4",
    "patches.size=64",
    "patches.per_slice=1",
    "training.batch_size=8",
    "training.epochs=6",
    "training.workers=0",
    "training.precision=fp32",
    "network.decoder_channels=[64, 32, 16, 16, 16]",
    "loss=jaccard-ce",
    "optimiser=adamw",
    "optimiser.learning_rate=0.003",
    "schedule=one-cycle",
)


@pytest.fixture(scope="module")
def bone(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of the one volume."""
    folder = real_data / "bone-qim3d"
    row = ScanRow(
        name="bone",
        image=str(folder / "scan.tif"),
        mask=str(folder / "mask.tif"),
        specimen="bone",
    )
    path = tmp_path_factory.mktemp("bone") / "dataset.toml"
    Manifest(BONE_PORES, (row,)).save(path)
    return path


def test_fit_and_predict_slabs_of_a_real_bone(bone: Path, tmp_path: Path) -> None:
    run = workflows.fit(
        bone, out=tmp_path / "run", settings=load_settings(FitSettings, overrides=SETTINGS)
    )
    (training,), (validation,) = run.split.training, run.split.validation
    assert training.slices == tuple(range(DEPTH - LAST - GAP))
    assert set(validation.slices) <= set(range(DEPTH - LAST, DEPTH))
    assert "optimistic" in run.report.read_text(encoding="utf-8")
    scan = Path(Manifest.load(bone).scans[0].image)
    workflows.predict([scan], model=run.model, out=tmp_path / "labels.tif")
    judged = workflows.evaluate(
        bone,
        tmp_path / "labels.tif",
        out=tmp_path / "evaluation",
        options=EvaluateOptions(slices=(DEPTH - LAST, DEPTH)),
    )
    scores = judged.evaluation.summary()
    # The contrast is so high that even so short a fit must find the bone; a constant label
    # volume scores below 0.3 in the mean.
    assert float(str(scores["bone_iou"])) > 0.85
    assert float(str(scores["mean_iou"])) > 0.6
    labels = Slab(open_volume(tmp_path / "labels.tif"), slice(DEPTH - LAST, DEPTH))
    assert set(np.unique(labels.read(slice(None)))) <= {0, 1, 2}


def test_the_doctor_on_real_vertebrae(real_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "dataset.toml"
    manifest = workflows.new_dataset(
        real_data / "vertebra", out=path, specimen_regex=r"(S\d)_", contiguous=False
    )
    assert {row.specimen for row in manifest.scans} == {f"S{n}" for n in range(1, 7)}
    two = replace(manifest, scans=manifest.scans[:2])
    two.save(path, overwrite=True)
    findings = workflows.check_dataset(path)
    errors = [f.name for f in findings if f.severity == "error"]
    # S1's two planes are one specimen: a fit by specimen cannot keep one back.
    assert errors == ["cannot-split"]
