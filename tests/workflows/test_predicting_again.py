"""The same command again: what is finished counts as done, wherever the first one was killed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile

from osteon.errors import ExitCode, OsteonError, OutputError, UsageError
from osteon.labels import BONE_PORES
from osteon.model_file import Model, ModelSpec
from osteon.networks import NetworkSpec
from osteon.prediction import Store, work_area
from osteon.settings import PredictSettings
from osteon.workflows import predicting
from osteon.workflows.predicting_backend import Opened

QUICK = PredictSettings(report=False)


NETWORK = NetworkSpec("unet", "resnet18", 1, 3, (16, 16, 8, 8, 8))
MODEL = Model(ModelSpec("test", NETWORK, BONE_PORES, "zscore", 1), {})


@dataclass
class FakeBackend:
    """Labels by thresholds, and counts its inputs."""

    bytes_per_pixel: int = 100
    description: str = "fake"
    seen: list[tuple[int, ...]] = field(default_factory=list)

    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        self.seen.append(batch.shape)
        image = batch[:, 0]
        return np.stack([0 * image, image + 0.5, 2 * image - 0.2], 1)

    def labels(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        return self.run(batch).argmax(1).astype(np.uint8)


def noise(shape: tuple[int, int, int], seed: int) -> npt.NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(1, 60_000, shape).astype(np.uint16)


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> FakeBackend:
    fake = FakeBackend()
    monkeypatch.setattr(predicting, "open_models", lambda names: [MODEL])

    def opened(models: object, settings: PredictSettings, *_: object, **__: object) -> Opened:
        return Opened(fake, settings, "it is a fake", None)

    monkeypatch.setattr(predicting, "open_picked", opened)
    return fake


def scan(folder: Path, name: str, seed: int) -> Path:
    path = folder / f"{name}.tif"
    tifffile.imwrite(path, noise((5, 41, 53), seed), photometric="minisblack")
    return path


def dies(*args: object, **kwargs: object) -> None:
    raise Killed


def test_finished_scans_are_done_and_the_rest_is_predicted(
    tmp_path: Path, backend: FakeBackend
) -> None:
    a, out = scan(tmp_path, "a", 1), tmp_path / "out"
    b = tmp_path / "b.tif"
    b.write_bytes(b"damaged")
    first = predicting.predict([a, b], out=out, settings=QUICK)
    assert [run.error is None for run in first] == [True, False]
    before = {p.name: p.stat().st_mtime_ns for p in (out / "a").iterdir()}
    scan(tmp_path, "b", 2)
    backend.seen.clear()
    again = predicting.predict([a, b], out=out, settings=QUICK)
    assert predicting.exit_code(again) == ExitCode.OK
    assert [run.as_dict()["finished_before"] for run in again] == [True, False]
    assert again[0].as_dict()["voxels"] == first[0].as_dict()["voxels"]
    assert {p.name: p.stat().st_mtime_ns for p in (out / "a").iterdir()} == before
    calls = len(backend.seen)
    assert calls > 0
    third = predicting.predict([a, b], out=out, settings=QUICK)
    assert all(run.earlier is not None for run in third)
    assert len(backend.seen) == calls


def test_a_scan_that_memory_is_refused_for_keeps_no_other_from_its_labels(
    tmp_path: Path, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, out = scan(tmp_path, "a", 1), scan(tmp_path, "b", 2), tmp_path / "out"
    one = predicting._one

    def refused(path: Path, *args: Any) -> Any:
        if path == a:
            raise MemoryError("Unable to allocate 64.0 MiB")
        return one(path, *args)

    monkeypatch.setattr(predicting, "_one", refused)
    first, second = predicting.predict([a, b], out=out, settings=QUICK)
    assert "not enough memory: Unable to allocate 64.0 MiB" in str(first.error)
    assert str(a) in str(first.error)
    assert second.error is None
    assert predicting.exit_code([first, second]) == ExitCode.PARTIAL
    with pytest.raises(OsteonError) as caught:
        predicting.predict([a], out=tmp_path / "alone.tif", settings=QUICK)
    assert caught.value.exit_code == ExitCode.MEMORY


def test_other_settings_or_changed_labels_are_not_done(
    tmp_path: Path, backend: FakeBackend
) -> None:
    a, out = scan(tmp_path, "a", 1), tmp_path / "labels.tif"
    predicting.predict([a], out=out, settings=QUICK)
    other = PredictSettings(report=False, contiguous="no")
    with pytest.raises(OutputError, match="exists already"):
        predicting.predict([a], out=out, settings=other)
    tifffile.imwrite(out, np.zeros((5, 41, 53), np.uint8), photometric="minisblack")
    with pytest.raises(OutputError, match="exists already"):
        predicting.predict([a], out=out, settings=QUICK)


@pytest.mark.parametrize("where", ["_record", "discard"])
@pytest.mark.parametrize("name", ["labels.tif", "labels"])
def test_killed_after_the_last_rename(
    where: str, name: str, tmp_path: Path, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, out = scan(tmp_path, "a", 1), tmp_path / "out" / name
    with monkeypatch.context() as patch:
        patch.setattr(*((predicting, where) if where == "_record" else (Store, where)), dies)
        with pytest.raises(Killed):
            predicting.predict([a], out=out, settings=QUICK)
    assert out.exists()
    assert work_area(out).is_dir()
    backend.seen.clear()
    (run,) = predicting.predict([a], out=out, settings=QUICK)
    assert run.labels == out
    assert (run.earlier is None) == (where == "_record")
    assert backend.seen == []  # nothing is run again
    assert {p.name for p in out.parent.iterdir()} == {name, f"{name}.osteon.json"}


def test_what_somebody_put_there_meanwhile_is_kept(
    tmp_path: Path, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, out = scan(tmp_path, "a", 1), tmp_path / "labels.tif"
    with monkeypatch.context() as patch:
        patch.setattr(predicting, "_record", dies)
        with pytest.raises(Killed):
            predicting.predict([a], out=out, settings=QUICK)
    tifffile.imwrite(out, np.zeros((5, 41, 53), np.uint8), photometric="minisblack")
    mine = out.read_bytes()
    with pytest.raises(OutputError, match="not what the prediction would write"):
        predicting.predict([a], out=out, settings=QUICK)
    assert out.read_bytes() == mine
    with pytest.raises(UsageError, match="had another settings"):
        predicting.predict([a], out=out, settings=PredictSettings(contiguous="no"))


def test_resampling_is_asked_for_by_a_setting(tmp_path: Path, backend: FakeBackend) -> None:
    a = scan(tmp_path, "a", 1)
    asked = PredictSettings(report=False, resample=True)
    with pytest.raises(UsageError, match="does not say what voxel sizes"):
        predicting.predict([a], out=tmp_path / "labels.tif", settings=asked, voxel_size=10.0)
    assert not work_area(tmp_path / "labels.tif").exists()
