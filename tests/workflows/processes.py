"""Fits as processes of their own, and a small dataset to call them on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tifffile
from safetensors.torch import load_file

from osteon import workflows
from osteon.model_file import weights_digest

#: Seconds, on a busy machine.
PATIENCE = 600
#: A fit of ten steps of a small network; one thread, so that each process comes to the same bytes.
QUICK = (
    "network.encoder=tu-lcnet_035",
    "network.decoder_channels=[16,16,8,8,8]",
    "patches.size=32",
    "patches.per_slice=2",
    "training.batch_size=4",
    "training.epochs=4",
    "training.workers=0",
    "training.threads=1",
    "training.precision=fp32",
)


@dataclass(frozen=True)
class Ended:
    """What a command did."""

    code: int
    out: str
    err: str


def write_dataset(folder: Path) -> Path:
    """Two scans of 4 slices, of two specimens."""
    z, y, x = np.indices((4, 40, 48))
    radius = np.hypot(y - 20 - z, x - 24)
    labels = np.zeros(radius.shape, np.uint8)
    labels[radius < 14] = 1
    labels[radius < 6] = 2
    for seed, scan in enumerate(("a", "b")):
        noise = np.random.default_rng(seed).normal(0, 6, labels.shape)
        image = np.clip(np.choose(labels, [50, 200, 90]) + noise, 1, 255).astype(np.uint8)
        for name, array in (("scan", image), ("mask", labels)):
            (folder / scan / name).mkdir(parents=True)
            for index, page in enumerate(array):
                tifffile.imwrite(folder / scan / name / f"{index:03d}.tif", page)
    workflows.new_dataset(folder, out=folder / "dataset.toml")
    return folder / "dataset.toml"


def words(dataset: Path, out: Path, *choices: str) -> list[str]:
    """The words of ``osteon fit`` with quick settings."""
    chosen = [word for item in (*QUICK, *choices) for word in ("--set", item)]
    return ["fit", str(dataset), "--out", str(out), *chosen]


def begin(arguments: list[str], **environment: str) -> subprocess.Popen[str]:
    """Start ``osteon …`` as the leader of a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "osteon", *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def end(process: subprocess.Popen[str]) -> Ended:
    """Wait for it."""
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return Ended(process.returncode, out, err)


def osteon(arguments: list[str], **environment: str) -> Ended:
    """Run ``osteon …`` to its end."""
    return end(begin(arguments, **environment))


def wait_for_step(process: subprocess.Popen[str], step: int) -> None:
    """Read events (``--events jsonl``) until so many steps are done."""
    if process.stderr is None:
        raise ValueError("standard error is not piped")
    for line in process.stderr:
        event = json.loads(line)
        if event["stage"] == "fit" and event["kind"] == "progress" and event["step"] >= step:
            return
    raise AssertionError("the fit ended before it was to be interrupted")


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a file is there."""
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"{path} did not appear: {end(process)}")
        time.sleep(0.02)


def left_over(out: Path) -> list[int]:
    """Processes that still have to do with a run, by their command line."""
    own = psutil.Process().pid
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if process.pid != own and any(str(out) in word for word in process.info["cmdline"] or ()):
            found.append(process.pid)
    return found


def record(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "run.json").read_text())
    return found


def steps(out: Path) -> list[int]:
    rows = (out / "log.csv").read_text().splitlines()
    column = rows[0].split(",").index("step")
    return [int(row.split(",")[column]) for row in rows[1:]]


def digest(out: Path) -> str:
    return weights_digest(load_file(out / "model.safetensors"))


def slow_osteon(pause_s: float, before: str = "") -> str:
    """Python that is ``osteon`` but puts each slice on the disk by itself, with a pause.

    Args:
        pause_s: The pause in seconds: time to kill it in.
        before: Python that is run first.
    """
    return f"""{before}
import sys, time
from osteon.prediction import keeping, store
keeping.BLOCK_VOXELS = 1
put = store.Store.put
def slowly(self, *words, **named):
    put(self, *words, **named)
    time.sleep({pause_s})
store.Store.put = slowly
from osteon.cli import main
main(sys.argv[1:])
"""
