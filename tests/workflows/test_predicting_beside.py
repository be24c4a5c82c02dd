"""Probabilities and uncertainty beside the labels: written with them, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from osteon.errors import OutputError
from osteon.formats import open_volume
from osteon.prediction import work_area
from osteon.settings import PredictSettings
from osteon.workflows import predicting
from osteon.workflows.predicting_again import record_path
from osteon.workflows.record import read_json

from .test_predicting_again import FakeBackend, Killed, dies, scan

# The fixture is used by its name.
from .test_predicting_again import backend as backend

BOTH = PredictSettings(report=False, probabilities=True, uncertainty=True)
NAMES = ["labels.npy.probabilities.ome.zarr", "labels.npy.uncertainty.ome.zarr"]


def predict(folder: Path, **more: object) -> predicting.PredictionRun:
    (run,) = predicting.predict(
        [folder / "a.tif"],
        out=folder / "labels.npy",
        settings=BOTH,
        **more,  # type: ignore[arg-type]
    )
    return run


def contents(folder: Path) -> list[bytes]:
    odds = zarr.open_group(folder / NAMES[0], mode="r")["0"][:]
    doubt = open_volume(folder / NAMES[1]).read(slice(None))
    return [odds.tobytes(), doubt.tobytes(), (folder / "labels.npy").read_bytes()]


def test_they_are_written_and_told(tmp_path: Path, backend: FakeBackend) -> None:
    path = scan(tmp_path, "a", 1)
    run = predict(tmp_path)
    assert [p.name for p in run.beside.values()] == NAMES
    odds = zarr.open_group(tmp_path / NAMES[0], mode="r")["0"][:]
    labels = np.load(tmp_path / "labels.npy")
    assert odds.shape == (3, *open_volume(path).shape)
    best = np.sort(odds, 0)
    clear = best[-1] > best[-2]
    np.testing.assert_array_equal(odds.argmax(0)[clear], labels[clear])
    assert np.abs(odds.astype(int).sum(0) - 255).max() <= 1
    doubt = open_volume(tmp_path / NAMES[1])
    assert doubt.intensity_scale == pytest.approx(1 / 255)
    found = read_json(record_path(tmp_path / "labels.npy"))
    assert found["probabilities"].endswith(NAMES[0])
    assert len(found["beside_files"]) == 2
    # The labels are those that are given alone.
    (alone,) = predicting.predict(
        [path], out=tmp_path / "alone.npy", settings=PredictSettings(report=False)
    )
    assert alone.beside == {}
    np.testing.assert_array_equal(np.load(tmp_path / "alone.npy"), labels)


def test_the_same_command_again_is_done_unless_one_of_them_is_gone(
    tmp_path: Path, backend: FakeBackend
) -> None:
    scan(tmp_path, "a", 1)
    predict(tmp_path)
    assert predict(tmp_path).earlier is not None
    array = tmp_path / NAMES[1] / "0" / "zarr.json"
    array.rename(array.with_name("gone"))
    with pytest.raises(OutputError, match="exists already"):
        predict(tmp_path)
    assert predict(tmp_path, overwrite=True).earlier is None


def test_what_others_wrote_is_not_replaced(tmp_path: Path, backend: FakeBackend) -> None:
    scan(tmp_path, "a", 1)
    (tmp_path / NAMES[0]).mkdir()
    (tmp_path / NAMES[0] / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        predict(tmp_path)
    assert backend.seen == []  # told before the work
    assert not work_area(tmp_path / "labels.npy").exists()


@pytest.mark.parametrize("moment", ["labels", "record"])
def test_killed_while_they_are_put_in_place(
    moment: str, tmp_path: Path, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan(tmp_path, "a", 1)
    predict(tmp_path)
    expected = contents(tmp_path)
    aside = tmp_path / "aside"
    aside.mkdir()
    for path in tmp_path.glob("labels.npy*"):
        path.rename(aside / path.name)
    with monkeypatch.context() as patched:
        if moment == "labels":  # probabilities and uncertainty are in place, the labels are not
            patched.setattr("osteon.prediction.engine._write", dies)
        else:
            patched.setattr(predicting, "_record", dies)
        with pytest.raises(Killed):
            predict(tmp_path)
    assert (tmp_path / NAMES[0]).exists()
    assert (tmp_path / "labels.npy").exists() == (moment == "record")
    assert isinstance(predict(tmp_path).beside, dict)
    assert contents(tmp_path) == expected
    assert not work_area(tmp_path / "labels.npy").exists()
