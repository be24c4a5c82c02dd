"""Skipping air outlives SIGKILL, to the same bytes, and is the same on Dask workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from torch.nn import functional

from osteon import workflows
from osteon.formats import open_volume
from osteon.intensity import normalise, statistics
from osteon.labels import BONE_PORES
from osteon.model_file import Model, ModelSpec, save_model
from osteon.networks import NetworkSpec, build_network
from osteon.prediction import Store, work_area
from osteon.settings import PredictSettings, load_settings
from osteon.workflows.spreading import Workers

from .processes import slow_osteon

#: Half of the slices are air, the first of them too, and most of the others.
SHAPE, THERE = (53, 160, 176), slice(8, 33)
AIR, MARROW, BONE, NOISE = 5_000, 12_000, 40_000, 300
NETWORK = NetworkSpec("unet", "tu-lcnet_035", 1, 3, (16, 16, 8, 8, 8))
CHOICES = ("precision=fp32", "device=cpu", "threads=1", "report=no")
#: Of learning, from the corner of slices where the shaft is: enough to call air background.
STEPS, SIDE = 80, 96
PATIENCE = 600  # seconds, on a busy machine


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shaft in a scan of air, and a small network that has learned to tell it from air."""
    made = tmp_path_factory.mktemp("air")
    z, y, x = np.indices(SHAPE)
    radius = np.hypot(y - 45, x - 40)
    there = (z >= THERE.start) & (z < THERE.stop)
    truth = np.where(there & (radius < 30), np.where(radius < 18, 2, 1), 0)
    grey = np.choose(truth, [AIR, BONE, MARROW])
    grey = grey + np.random.default_rng(1).normal(0, NOISE, SHAPE)
    scan = np.clip(grey, 1, 65_000).astype(np.uint16)
    tifffile.imwrite(made / "scan.tif", scan, photometric="minisblack")
    volume = open_volume(made / "scan.tif")
    images = normalise(volume.read(slice(None)), statistics(volume, "zscore"))
    spec = ModelSpec("shaft", NETWORK, BONE_PORES, "zscore", 1)
    model = Model(spec, learned(images[:, None], truth))
    save_model(made / "model.safetensors", model)
    return made


def learned(images: Any, truth: Any) -> dict[str, torch.Tensor]:
    """Weights of the network after some steps on slices of bone and of air."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = build_network(NETWORK)
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        part = np.s_[rng.choice(SHAPE[0], 4, replace=False), ..., :SIDE, :SIDE]
        logits = network(torch.from_numpy(np.ascontiguousarray(images[part])))
        loss = functional.cross_entropy(logits, torch.from_numpy(truth[part]).long())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return dict(network.state_dict())


def predict(folder: Path, out: str, **more: Any) -> tuple[Any, dict[str, Any]]:
    """Predict in this process; labels, and what is told of air."""
    settings = load_settings(PredictSettings, overrides=["backend=torch", *CHOICES])
    workflows.predict(
        [folder / "scan.tif"], model=folder / "model.safetensors", out=folder / out,
        settings=settings, **more,
    )  # fmt: skip
    return np.load(folder / out), air_of(folder / out)


def air_of(out: Path) -> dict[str, Any]:
    record = json.loads(out.with_name(f"{out.name}.osteon.json").read_text())
    found: dict[str, Any] = record["air"]
    return found


@pytest.fixture(scope="module")
def alone(folder: Path) -> tuple[Any, dict[str, Any]]:
    labels, air = predict(folder, "alone.npy")
    assert air["skip"], air["why"]
    assert air["skipped"] > 0.4
    assert 0.02 < np.mean(labels != 0) < 0.2  # the shaft, or most of it
    return labels, air


def begin(folder: Path, out: str) -> subprocess.Popen[str]:
    words = ["predict", "scan.tif", "--model", "model.safetensors", "--out", out]
    words += ["--backend", "torch", "--events", "jsonl"]
    for choice in CHOICES:
        words += ["--set", choice]
    return subprocess.Popen(
        [sys.executable, "-c", slow_osteon(0.1), *words],
        cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def told(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert process.stderr is not None
    for line in process.stderr:
        yield json.loads(line)
    raise AssertionError("the prediction ended before it was to be killed")


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.timeout(4 * PATIENCE)
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_killed_in_the_audit_and_while_air_is_skipped(
    folder: Path, alone: tuple[Any, dict[str, Any]]
) -> None:
    out = folder / "killed.npy"
    area = work_area(out)
    process = begin(folder, out.name)
    next(event for event in told(process) if event["stage"] == "audit")
    kill(process)
    assert "air" not in json.loads((area / "journal.json").read_text())["kept"]
    assert not list(area.glob("labels-*.z"))

    process = begin(folder, out.name)
    until = time.monotonic() + PATIENCE
    while len(list(area.glob("labels-*.z"))) < THERE.start + 3:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    kill(process)
    journal = json.loads((area / "journal.json").read_text())
    assert journal["kept"]["air"]["skip"]
    finished = list(area.glob("labels-*.z"))
    assert len(finished) < SHAPE[0]
    with Store(area, shape=SHAPE, identity=journal["identity"]) as store:
        assert sum(note["air"] for note in store.notes()) > 0  # some of it was not run
    before = {path.name: path.stat().st_mtime_ns for path in finished}

    process = begin(folder, out.name)
    messages = []
    for event in told(process):
        messages.append(str(event.get("message", "")))
        if "slices were finished before" in messages[-1]:
            break
    now = {path.name: path.stat().st_mtime_ns for path in area.glob("labels-*.z")}
    assert {name: now[name] for name in before} == before
    assert not any(message.startswith("air is") for message in messages)  # not audited again
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert out.read_bytes() == (folder / "alone.npy").read_bytes()
    assert air_of(out) == alone[1]


@pytest.mark.slow
@pytest.mark.timeout(2 * PATIENCE)
def test_workers_skip_the_same(folder: Path, alone: tuple[Any, dict[str, Any]]) -> None:
    pytest.importorskip("distributed")
    labels, air = predict(folder, "two.npy", workers=Workers(2))
    np.testing.assert_array_equal(labels, alone[0])
    assert air == alone[1]
