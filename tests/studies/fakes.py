"""A study whose runs are a small script in place of a fit, and a dataset for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import yaml

from osteon.datasets import new_manifest
from osteon.studies.executor import PYTHON

#: Writes what a fit writes. Arguments: the run folder, the word "go" or "on". It counts how often
#: it was called; a file FAIL beside the runs makes it fail, SLOW makes it last until STOP comes.
_SCRIPT = """
import json, os, pathlib, sys, time
run = pathlib.Path(sys.argv[1]); run.mkdir(parents=True, exist_ok=True)
top = run.parent.parent.parent
with open(top / "calls.txt", "a") as file:
    print(run.name, sys.argv[2], file=file)
(run / "settings.yaml").write_text("{}")
def record(status):
    part = run / "part"
    part.write_text(json.dumps({"schema": 1, "kind": "fit", "status": status}))
    os.replace(part, run / "run.json")
record("running")
if (top / f"FAIL-{run.name}").exists():
    print(json.dumps({"kind": "error", "message": "no bone"}), file=sys.stderr)
    sys.exit(3)
kill = top / f"KILL-{run.name}"
if kill.exists():
    kill.unlink()
    os.kill(os.getpid(), 9)
while (top / "SLOW").exists():
    time.sleep(0.05)
    if (run / "STOP").exists():
        record("stopped"); sys.exit(0)
(run / "log.csv").write_text("epoch,val_mean_iou\\n1,0.9\\n")
record("finished")
"""


def command(dataset: Path, settings: Path, folder: Path) -> tuple[Sequence[str], Sequence[str]]:
    """The commands of a fake fit."""
    words = [PYTHON, "-c", _SCRIPT, str(folder)]
    return [*words, "go"], [*words, "on"]


def write_dataset(folder: Path, specimens: int) -> Path:
    """Scans of two slices with 32 × 32 pixels, one a specimen."""
    for index in range(specimens):
        for name in ("scan", "mask"):
            place = folder / f"s{index}" / name
            place.mkdir(parents=True)
            for z in range(2):
                page = np.full((32, 32), 1 if name == "mask" else 100 + index, np.uint8)
                tifffile.imwrite(place / f"{z}.tif", page)
    new_manifest(folder).save(folder / "dataset.toml")
    return folder / "dataset.toml"


def write_study(folder: Path, entries: Mapping[str, Any]) -> Path:
    """A study file of the dataset beside it."""
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({"schema": 1, "dataset": "dataset.toml", **entries}))
    return path


def calls(folder: Path) -> list[str]:
    """Which runs were started, in order, and whether they went on."""
    path = folder / "calls.txt"
    return path.read_text().splitlines() if path.exists() else []
