"""What a model says it was fitted to: voxel sizes and grey values of the scans it learned from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from osteon.datasets import Manifest
from osteon.errors import UsageError
from osteon.events import Reporter
from osteon.intensity.quantiles import LEVELS
from osteon.model_file import HALF_MAXIMUM
from osteon.settings import FitSettings, load_settings
from osteon.training import FitFolder
from osteon.workflows.fit_data import Prepared, complete, examine, open_data
from osteon.workflows.fitting import _model_spec, fit

from .processes import write_dataset

SMALL = ("network.encoder=tu-lcnet_035", "network.decoder_channels=[16,16,8,8,8]")


def prepared(dataset: Path, settings: FitSettings) -> Prepared:
    opened = open_data(dataset, settings)
    examined = examine(opened, settings, Reporter())
    return complete(opened, examined, settings, Reporter())


def zscored_quantiles(folder: Path) -> list[float]:
    """The recipe, written anew: mean 0 and SD 1 over all voxels but 0; of all voxels, but 0."""
    scan = np.stack([tifffile.imread(path) for path in sorted(folder.glob("*.tif"))])
    values = scan[scan > 0].astype(np.float64)
    return [float(v) for v in np.percentile((values - values.mean()) / values.std(), LEVELS)]


@pytest.mark.parametrize(("mode", "sizes"), [("2D", (10.0, 20.0)), ("2.5D", (10.0, 90.0))])
def test_a_model_remembers_what_it_learned_from(
    mode: str, sizes: tuple[float, float], tmp_path: Path
) -> None:
    dataset = write_dataset(tmp_path)
    manifest = Manifest.load(dataset)
    rows = [
        row.model_copy(update={"voxel_size_um": size})
        for row, size in zip(manifest.scans, ((90.0, 10.0, 10.0), (30.0, 20.0, 20.0)), strict=True)
    ]
    Manifest(manifest.labels, tuple(rows), dataset).save(dataset, overwrite=True)
    settings = load_settings(
        FitSettings, overrides=[*SMALL, f"mode={mode}", "validation.method=none"]
    )
    spec = _model_spec(prepared(dataset, settings), settings, FitFolder(tmp_path / "run"))
    assert spec.ranges.voxel_size_um == sizes  # in 2D those within the slice
    assert spec.ranges.dtypes == ("uint8",)
    grey = spec.ranges.intensities
    assert grey is not None
    expected = np.array([zscored_quantiles(tmp_path / name / "scan") for name in ("a", "b")])
    assert (grey.levels, grey.scans) == (LEVELS, 2)
    np.testing.assert_allclose(grey.low, expected.min(0), atol=1e-5)
    np.testing.assert_allclose(grey.high, expected.max(0), atol=1e-5)


def test_only_scans_that_are_learned_from_count_and_simulated_slices_are_not_known(
    tmp_path: Path,
) -> None:
    dataset = write_dataset(tmp_path)
    held = load_settings(
        FitSettings,
        overrides=[*SMALL, "validation.method=specimens", "validation.specimens=[b]"],
    )
    data = prepared(dataset, held)
    grey = _model_spec(data, held, FitFolder(tmp_path / "run")).ranges.intensities
    assert grey is not None
    assert grey.scans == 1
    np.testing.assert_allclose(grey.low, zscored_quantiles(tmp_path / "a" / "scan"), atol=1e-5)
    mixed = load_settings(
        FitSettings, overrides=[*SMALL, "simulation.items=10", "normalisation.recipe=edges"]
    )
    spec = _model_spec(data, mixed, FitFolder(tmp_path / "run"))
    assert spec.ranges.intensities is None


@pytest.mark.parametrize(("asked", "expected"), [("network", None), ("half-maximum", HALF_MAXIMUM)])
def test_a_model_remembers_the_surface_that_was_asked_for(
    asked: str, expected: str | None, tmp_path: Path
) -> None:
    dataset = write_dataset(tmp_path)
    overrides = [*SMALL, "validation.method=none", f"surface={asked}"]
    settings = load_settings(FitSettings, overrides=overrides)
    spec = _model_spec(prepared(dataset, settings), settings, FitFolder(tmp_path / "run"))
    assert spec.surface == expected
    assert load_settings(FitSettings, overrides=overrides[:-1]).surface == "network"


def test_there_must_be_bone_whose_surface_is_moved(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path)
    text = dataset.read_text(encoding="utf-8").replace('"bone"', '"tooth"')
    dataset.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"no class 'bone'.*tooth"):
        fit(
            dataset,
            out=tmp_path / "run",
            settings=load_settings(
                FitSettings,
                overrides=[*SMALL, "validation.method=none", "surface=half-maximum"],
            ),
        )
    assert not (tmp_path / "run" / "run.json").exists()
