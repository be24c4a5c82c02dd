"""Predictions that workers share: the same labels, whoever dies."""

from __future__ import annotations

import os
import platform
import signal
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile
import zarr

from osteon import workflows
from osteon.errors import InputError, UsageError
from osteon.events import Event, Reporter
from osteon.formats import open_volume
from osteon.labels import BONE_PORES
from osteon.model_file import Model, ModelSpec, save_model
from osteon.networks import NetworkSpec, build_network
from osteon.prediction import PredictionStopped, Store, work_area
from osteon.settings import PredictSettings, load_settings
from osteon.workflows.spreading import Task, Workers, divided, label_part

pytest.importorskip("distributed")
DEPTH = 31  # prime: parts are of unequal length


@pytest.mark.parametrize(
    ("missing", "workers"),
    [([slice(0, 31)], 2), ([slice(0, 3), slice(9, 10), slice(12, 200)], 5), ([slice(4, 5)], 8)],
)
def test_parts_are_what_was_missing(missing: list[slice], workers: int) -> None:
    parts = divided(missing, workers)
    assert [z for part in parts for z in range(part.start, part.stop)] == [
        z for gap in missing for z in range(gap.start, gap.stop)
    ]
    assert len(parts) <= 6 * workers + len(missing)


@pytest.mark.parametrize(("count", "address"), [(0, None), (-1, None), (2, "tcp://a:1")])
def test_workers_are_here_or_there(count: int, address: str | None) -> None:
    with pytest.raises(UsageError, match="either"):
        Workers(count, address)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan and a small random 2.5D model, whose slices need their neighbours."""
    made = tmp_path_factory.mktemp("spread")
    rng = np.random.default_rng(0)
    tifffile.imwrite(made / "scan.tif", rng.integers(0, 255, (DEPTH, 70, 90), dtype=np.uint8))
    network = NetworkSpec(
        architecture="unet",
        encoder="tu-lcnet_035",
        in_channels=3,
        classes=3,
        decoder_channels=(16, 16, 8, 8, 8),
    )
    spec = ModelSpec("small", network, BONE_PORES, "zscore", 1, mode="2.5D")
    save_model(made / "small.safetensors", Model(spec, build_network(network).state_dict()))
    return made


def settings() -> PredictSettings:
    return load_settings(
        PredictSettings, overrides=["precision=fp32", "device=cpu", "report=no", "threads=1"]
    )


def predict(folder: Path, out: str, **more: object) -> np.ndarray:
    workflows.predict(
        [folder / "scan.tif"],
        model=folder / "small.safetensors",
        out=folder / out,
        settings=settings(),
        **more,  # type: ignore[arg-type]
    )
    assert not work_area(folder / out).exists()
    return open_volume(folder / out).read(slice(None))


@pytest.fixture(scope="module")
def alone(folder: Path) -> np.ndarray:
    return predict(folder, "alone.npy")


@pytest.mark.slow
def test_two_workers_of_which_one_is_killed_give_the_same_labels(
    folder: Path, alone: np.ndarray
) -> None:
    killed: list[int] = []

    def kill_a_worker() -> None:
        """Once the first part is there: a worker is one with the network in memory."""
        area, me = work_area(folder / "two.npy"), psutil.Process()
        until = time.monotonic() + 200
        while time.monotonic() < until and not list(area.glob("labels-*.z")):
            time.sleep(0.01)
        workers = [p for p in me.children(recursive=True) if "spawn_main" in " ".join(p.cmdline())]
        victim = max(workers, key=lambda p: p.memory_info().rss)
        os.kill(victim.pid, signal.SIGKILL)
        killed.append(victim.pid)

    killer = threading.Thread(target=kill_a_worker)
    killer.start()
    try:
        labels = predict(folder, "two.npy", workers=Workers(2))
    finally:
        killer.join()
    assert killed
    np.testing.assert_array_equal(labels, alone)


def test_a_stop_keeps_what_workers_have_finished(folder: Path, alone: np.ndarray) -> None:
    def stop(event: Event) -> None:
        if event.kind == "progress" and event.stage == "predict" and event.step:
            reporter.stop.request("enough")

    reporter = Reporter(stop)
    with pytest.raises(PredictionStopped):
        predict(folder, "stopped.npy", workers=Workers(1), reporter=reporter)
    area = work_area(folder / "stopped.npy")
    assert list(area.glob("labels-*.z"))
    np.testing.assert_array_equal(predict(folder, "stopped.npy"), alone)  # goes on alone


def test_a_worker_gives_probabilities_and_three_axes_as_the_command_alone(
    folder: Path, tmp_path: Path
) -> None:
    network = NetworkSpec(
        architecture="unet",
        encoder="tu-lcnet_035",
        in_channels=1,
        classes=3,
        decoder_channels=(16, 16, 8, 8, 8),
    )
    spec = ModelSpec("flat", network, BONE_PORES, "zscore", 1)
    save_model(tmp_path / "flat.safetensors", Model(spec, build_network(network).state_dict()))
    asked = {"axes": 3, "probabilities": True, "uncertainty": True, "contiguous": "yes"}
    chosen = settings().model_copy(update=asked)
    found = []
    for name, workers in (("one.npy", Workers(1)), ("none.npy", None)):
        (run,) = workflows.predict(
            [folder / "scan.tif"],
            model=tmp_path / "flat.safetensors",
            out=tmp_path / name,
            settings=chosen,
            workers=workers,
        )
        odds = zarr.open_group(run.beside["probabilities"], mode="r")["0"][:]
        doubt = open_volume(run.beside["uncertainty"]).read(slice(None))
        found.append(np.concatenate([np.load(tmp_path / name)[np.newaxis], odds, doubt[None]]))
    np.testing.assert_array_equal(*found)
    assert found[0].shape == (5, DEPTH, 70, 90)


@pytest.mark.parametrize(
    ("lacking", "what"),
    [("area", "folder that the labels"), ("scan.tif", "scan"), ("m.safetensors", "model file m.")],
)
def test_a_worker_without_the_files_says_which_and_where(
    lacking: str, what: str, tmp_path: Path
) -> None:
    for name in ("area", "scan.tif", "m.safetensors"):
        if name != lacking:
            (tmp_path / name).mkdir()
    task = Task(
        tmp_path / "scan.tif", None, (tmp_path / "m.safetensors",), settings(), tmp_path / "area",
        {}, "", (0, 1),
    )  # fmt: skip
    with pytest.raises(InputError, match=f"does not see the {what}") as caught:
        label_part(task)
    assert platform.node() in caught.value.what
    assert caught.value.where == str(tmp_path / lacking)
    assert "under the same path" in (caught.value.mend or "")


def test_a_part_of_a_prediction_that_was_begun_anew_is_not_written(tmp_path: Path) -> None:
    shape = (4, 8, 8)
    with Store(tmp_path / "area", shape=shape, identity={"model": 1}) as store:
        part = Store.joined(store.folder, shape=shape, identity={"model": 1})
        part.put(0, [b"x"], note={})
        assert store.finished() == [slice(0, 1)]
    with Store(tmp_path / "area", shape=shape, identity={"model": 2}, restart=True) as store:
        with pytest.raises(UsageError, match="has ended"):
            part.put(1, [b"x"], note={})
        with pytest.raises(UsageError, match="has ended"):
            Store.joined(store.folder, shape=shape, identity={"model": 1})
        assert store.finished() == []


def test_slices_that_two_workers_finished_are_given_once(tmp_path: Path) -> None:
    import zlib

    planes = [zlib.compress(bytes([z]) * 6) for z in range(5)]
    with Store(tmp_path / "area", shape=(5, 2, 3), identity={}) as store:
        store.put(0, planes[:3], note={})
        store.put(1, planes[1:], note={})
        store.put(2, planes[2:3], note={})
        given = [(z, int(plane[0, 0, 0])) for z, plane in store.slices()]
        assert given == [(z, z) for z in range(5)]
        assert store.missing() == []
        store.discard()


def test_a_scheduler_that_is_not_there(folder: Path) -> None:
    with pytest.raises(UsageError, match="cannot be reached"):
        predict(folder, "none.npy", workers=Workers(address="tcp://127.0.0.1:1"))
