"""The classical rows: their parts against other libraries and cases worked by hand."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from skimage.morphology import closing, disk

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def classical():
    return importlib.import_module("classical")


def phantom(seed=0, size=96):
    """Slices of a ring of bone (radii 20 to 28) with a gap of 4 px, and their labels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - size / 2
    r = np.hypot(y, x)
    truth = np.where(r < 20, 2, np.where(r < 28, 1, 0)).astype(np.uint8)
    grey = np.array([30.0, 200.0, 100.0])[truth]
    grey[(np.abs(y) < 2) & (x > 0) & (truth == 1)] = 100.0
    image = np.clip(grey + rng.normal(0, 8, grey.shape), 0, 255).astype(np.uint8)
    return image, truth


@pytest.mark.parametrize("radius", [1, 3, 7])
def test_closing_is_that_of_scikit_image(classical, radius):
    mask = np.random.default_rng(radius).random((80, 70)) < 0.03
    padded = np.pad(mask, 2 * radius)
    expected = closing(padded, disk(radius))[2 * radius : -2 * radius, 2 * radius : -2 * radius]
    got = classical.closed(mask, radius=radius)
    np.testing.assert_array_equal(got, expected)
    assert got.sum() > mask.sum()


def test_closing_of_nothing_is_nothing(classical):
    assert not classical.closed(np.zeros((9, 9), bool), radius=3).any()


def test_upper_threshold_lies_between_marrow_and_bone(classical):
    values = [np.repeat(np.array([30, 100, 200], np.uint8), [900, 500, 300])[None]]
    assert 100 <= classical.bone_threshold(values, classes=3) < 200
    # The plain threshold parts the background from the rest.
    assert 30 <= classical.bone_threshold(values, classes=2) < 101


def test_phantom_needs_closing(classical):
    image, truth = phantom()
    scores = {}
    for radius in (0, 4):
        method = classical.Method("", classes=3, sigma=0.8, closing_radius=radius)
        labels = classical.segment([image], method)[0]
        scores[radius] = classical.iou(classical.confusion(truth, labels))
    # The gap lets the outside in until it is closed.
    assert scores[0][2] == 0.0
    assert scores[4].min() > 0.9


def test_confusion_and_iou_by_hand(classical):
    truth = np.array([[0, 0, 1, 1, 2]], np.uint8)
    labels = np.array([[0, 1, 1, 1, 1]], np.uint8)
    matrix = classical.confusion(truth, labels)
    assert matrix.tolist() == [[1, 1, 0], [0, 2, 0], [0, 1, 0]]
    np.testing.assert_allclose(classical.iou(matrix), [1 / 2, 2 / 4, 0.0])
    absent = classical.iou(classical.confusion(truth[:, :2], truth[:, :2]))
    np.testing.assert_array_equal(absent, [1.0, np.nan, np.nan])


def test_degraded_slices_are_seeded_and_differ(classical):
    degrade = importlib.import_module("degrade")
    image, _ = phantom()
    assert degrade.slice_seed("S6_LES_AP", 3) != degrade.slice_seed("S6_LES_ML", 3)
    for name, degradation in degrade.DEGRADATIONS.items():
        out = degradation(image, 7)
        assert (out.dtype, out.shape) == (np.uint8, image.shape)
        np.testing.assert_array_equal(out, degradation(image, 7))
        assert (out != image).any() == (name != "clean")
    noisy = degrade.noise(np.full((300, 300), 128, np.uint8), 1)
    assert noisy.std() == pytest.approx(degrade.NOISE_SD, rel=0.03)


def test_script_scores_series_and_writes_json(tmp_path):
    for series, seed in (("A", 1), ("B", 2)):
        image, truth = phantom(seed)
        for part, array in (("scan", image), ("mask", truth)):
            folder = tmp_path / series / part
            folder.mkdir(parents=True)
            tifffile.imwrite(folder / "0001.tif", array)
    out = tmp_path / "rows.json"
    command = [sys.executable, str(BENCHMARKS / "classical.py"), "--data", str(tmp_path)]
    command += ["--series", "A", "B", "--json", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = json.loads(out.read_text())
    assert len(rows) == done.stdout.count("\n") - 2 == 10
    clean = next(r for r in rows if r["slices"] == "clean" and r["closing_radius"] == 10)
    assert clean["mean_iou"] > 0.9
    assert f"{clean['mean_iou']:.3f}" in done.stdout


def test_missing_data_is_said_plainly(tmp_path):
    command = [sys.executable, str(BENCHMARKS / "classical.py"), "--data", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "there are no TIFF slices" in done.stderr
    assert "Traceback" not in done.stderr
