"""A prediction in int8 that is killed goes on with the same network, to the same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from osteon.labels import BONE_PORES
from osteon.model_file import Model, ModelSpec, save_model
from osteon.networks import NetworkSpec, build_network
from osteon.prediction import work_area

from .processes import slow_osteon

for library in ("openvino", "nncf", "onnx"):
    pytest.importorskip(library)

DEPTH = 17  # prime
#: Use int8 whatever it brings.
ANYWAY = """
from osteon.prediction import quick
from osteon.prediction.worth import Worth
Worth.pays = property(lambda self: True)
quick.AGREEMENT = quick.SPEED_UP = 0.0
"""


def begin(folder: Path, out: str, *words: str) -> subprocess.Popen[bytes]:
    command = [
        "predict", "scan.tif", "--model", "model.safetensors", "--out", out, "--backend",
        "openvino", "--set", "report=no", "--set", "threads=1", *words,
    ]  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-c", slow_osteon(0.25, ANYWAY), *command],
        cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def finish(process: subprocess.Popen[bytes]) -> None:
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said.decode()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_in_mid_way_in_int8(tmp_path: Path) -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    scan = rng.integers(1, 255, (DEPTH, 61, 97), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "scan.tif", scan, photometric="minisblack")
    network = NetworkSpec("unet", "tu-lcnet_035", 1, 3, (16, 16, 8, 8, 8))
    spec = ModelSpec("small", network, BONE_PORES, "zscore", 1)
    save_model(tmp_path / "model.safetensors", Model(spec, build_network(network).state_dict()))
    finish(begin(tmp_path, "full.npy"))
    finish(begin(tmp_path, "whole.npy", "--speed", "fast"))
    expected = (tmp_path / "whole.npy").read_bytes()
    # Random weights are near ties everywhere: int8 shows in the labels.
    assert expected != (tmp_path / "full.npy").read_bytes()

    area = work_area(tmp_path / "killed.npy")
    process = begin(tmp_path, "killed.npy", "--speed", "fast")
    until = time.monotonic() + 600
    while len(list(area.glob("labels-*.z"))) < 3:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    finished = len(list(area.glob("labels-*.z")))
    assert 3 <= finished < DEPTH
    journal = json.loads((area / "journal.json").read_text())
    quantised = (area / "int8.bin").read_bytes()
    assert journal["kept"]["fast"]["used"]
    assert len(quantised) > 1000

    again = begin(tmp_path, "killed.npy", "--speed", "fast")
    _, said = again.communicate(timeout=600)
    assert again.returncode == 0, said.decode()
    assert "slices were finished before" in said.decode()
    assert (tmp_path / "killed.npy").read_bytes() == expected
    record = json.loads((tmp_path / "killed.npy.osteon.json").read_text())
    assert record["fast"]["used"]
    assert record["fast"]["crc32"] == journal["kept"]["fast"]["crc32"]
    assert not area.exists()
