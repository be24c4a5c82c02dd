"""Slices labelled at once get the labels of the whole scan, and say where the model is in doubt."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy

import osteon
from osteon.errors import UsageError
from osteon.events import Reporter, StopToken
from osteon.formats import open_volume, open_writer
from osteon.intensity import statistics
from osteon.model_file import Model, TrainingRanges, load_model, save_model
from osteon.prediction import PredictionStopped, looking, work_area
from osteon.prediction.features import look
from osteon.settings import PredictSettings
from osteon.tables.shipped import find_model
from osteon.volume import ArrayVolume, Geometry
from osteon.workflows.looks_kept import KeptLooks
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


def test_a_slice_is_resampled_as_the_whole_scan(scan: Path, tmp_path: Path) -> None:
    shipped = load_model(find_model("bone-pores"))
    ranges = TrainingRanges((60.0, 60.0))
    spec = replace(shipped.spec, feature_px=None, ranges=ranges)
    save_model(tmp_path / "model.safetensors", Model(spec, shipped.weights))
    words: dict[str, Any] = {
        "model": tmp_path / "model.safetensors",
        "settings": SETTINGS.model_copy(update={"resample": True}),
    }
    [run] = osteon.predict([scan], out=tmp_path / "labels.npy", **words)
    assert run.predicted is not None
    assert run.predicted.resampled == (4, 53, 53)  # from voxels of 20 µm
    whole = open_volume(tmp_path / "labels.npy").read(slice(None))
    [found] = SlicePredictor(scan, **words).run(slice(1, 2))
    np.testing.assert_array_equal(found.labels, whole[1])


def test_what_was_stopped_is_gone_on_with(
    scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = SlicePredictor(scan, settings=SETTINGS)
    wanted = {one.z: one for one in predictor.run(slice(0, 4), uncertainty=True)}
    stop = StopToken()
    keep = tmp_path / "work" / "tube.slices"
    got = []

    def until_two() -> None:
        reporter = Reporter(stop=stop)
        for one in predictor.run(slice(1, 4), uncertainty=True, keep=keep, reporter=reporter):
            got.append(one.z)
            if len(got) == 2:
                stop.request()

    with pytest.raises(PredictionStopped, match="stopped after 2 of 3 slices"):
        until_two()
    assert got == [1, 2]
    assert work_area(keep).is_dir()
    made: list[slice] = []
    whole = SlicePredictor._made

    def spy(self: SlicePredictor, part: slice, *, uncertainty: bool) -> Any:
        made.append(part)
        return whole(self, part, uncertainty=uncertainty)

    monkeypatch.setattr(SlicePredictor, "_made", spy)
    found = {one.z: one for one in predictor.run(slice(0, 4), uncertainty=True, keep=keep)}
    # The slice during which it was stopped was finished, too.
    assert made == [slice(0, 1)]
    assert sorted(found) == [0, 1, 2, 3]
    for z, one in found.items():
        np.testing.assert_array_equal(one.labels, wanted[z].labels)
        assert one.uncertainty is not None
        np.testing.assert_allclose(one.uncertainty, wanted[z].uncertainty, atol=0.5 / 255 + 1e-6)
    assert not work_area(keep).exists()


def test_what_was_seen_of_a_scan_is_kept_until_it_changes(
    scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSTEON_CACHE_DIR", str(tmp_path / "cache"))
    copy = tmp_path / "tube.nrrd"
    copy.write_bytes(scan.read_bytes())
    volume = open_volume(copy)
    stats = statistics(volume, "edges")
    seen = look(volume, stats)
    calls: list[str] = []
    monkeypatch.setattr(looking, "statistics", lambda *a, **k: calls.append("s") or stats)
    monkeypatch.setattr(looking, "look", lambda *a, **k: calls.append("f") or seen)
    for _ in range(2):
        kept = KeptLooks(copy)
        assert kept.statistics(volume, "edges", reporter=Reporter()) == stats
        assert kept.features(volume, stats) == seen
    assert calls == ["s", "f"]
    os.utime(copy, ns=(1, 1))
    KeptLooks(copy).statistics(volume, "edges", reporter=Reporter())
    assert calls == ["s", "f", "s"]
    KeptLooks(copy).path.write_text("damaged")
    KeptLooks(copy).statistics(volume, "edges", reporter=Reporter())
    assert calls == ["s", "f", "s", "s"]


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
