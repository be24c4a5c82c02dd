"""Slices labelled at once get the labels of the whole scan, and say where the model is in doubt."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy

import osteon
from osteon.errors import UsageError
from osteon.formats import open_volume, open_writer
from osteon.settings import PredictSettings
from osteon.volume import ArrayVolume, Geometry
from osteon.workflows.slicewise import SlicePredictor, normalised_entropy, spread_slices

SETTINGS = PredictSettings(backend="torch", report=False)


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tube of thick bone: the model sees it reduced, and the labels come back."""
    _, y, x = np.indices((4, 160, 160))
    radius = np.hypot(y - 80, x - 80)
    rng = np.random.default_rng(1)
    grey = np.where(radius < 70, np.where(radius < 20, 60, 180), 30) + rng.normal(
        0, 5, radius.shape
    )
    path = tmp_path_factory.mktemp("scan") / "tube.nrrd"
    volume = ArrayVolume(grey.clip(0, 255).astype(np.uint8), Geometry((20.0,) * 3))
    with open_writer(path, like=volume, dtype=np.uint8) as writer:
        writer.write(0, volume.array)
    return path


def test_a_slice_has_the_labels_of_the_whole_scan(scan: Path, tmp_path: Path) -> None:
    [run] = osteon.predict([scan], out=tmp_path / "labels.npy", settings=SETTINGS)
    assert run.predicted is not None
    assert run.predicted.scale is not None
    assert run.predicted.scale.factor > 1  # the case that is worth a test
    whole = open_volume(tmp_path / "labels.npy").read(slice(None))
    predictor = SlicePredictor(scan, settings=SETTINGS)
    for sure in (False, True):
        found = list(predictor.run(slice(1, 3), uncertainty=sure))
        assert [one.z for one in found] == [1, 2]
        for one in found:
            np.testing.assert_array_equal(one.labels, whole[one.z])
            assert math.isnan(one.doubt) is not sure
    doubt = found[0].uncertainty
    assert doubt is not None
    assert doubt.shape == (160, 160)
    assert 0 <= doubt.min() < doubt.max() <= 1
    with pytest.raises(UsageError, match="no slices 3 to 4 in a scan of 4"):
        list(predictor.run(slice(3, 5)))


def test_uncertainty_is_the_entropy_of_the_softmax() -> None:
    logits = np.random.default_rng(0).normal(0, 4, (3, 50)).astype(np.float32)
    logits[:, 0] = [90, -90, 0]
    logits[:, 1] = 7
    wanted = entropy(softmax(logits, axis=0), axis=0) / np.log(3)
    found = normalised_entropy(logits)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert (found[0], found[1]) == (pytest.approx(0), pytest.approx(1))


def test_slices_are_spread_evenly() -> None:
    assert spread_slices(8, 2) == [2, 6]
    assert spread_slices(9, 3) == [1, 4, 7]
    assert spread_slices(3, 10) == [0, 1, 2]
