"""A patch of a scan of 4 GB adds less than 200 MB to the memory of a process, in every mode."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

SHAPE = (256, 4096, 4096)
LIMIT_MB = 200

PROBE = """
import json, resource, sys
from pathlib import Path
from osteon.datasets import Manifest, Part, ScanRow, open_pair, patch_source, validation_tiles
from osteon.intensity import Statistics
from osteon.labels import BONE_PORES
from osteon.settings import FitSettings

def peak():
    # On Linux ru_maxrss begins with the peak of the process that started this one, which can hide
    # all that is measured here; VmHWM is this program's own.
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(l.split()[1]) for l in status.open() if l.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

image, mask, mode = sys.argv[1:]
row = ScanRow(name="big", specimen="big", image=image, mask=mask)
pair = open_pair(Manifest(BONE_PORES, (row,)), row)
small = pair.image.read(slice(0, 1), slice(0, 1), slice(0, 1))  # what libraries take is not ours
settings = FitSettings.model_validate({
    "mode": mode, "augmentation": {"preset": "none"},
    "patches": {"size": 256, "slices": 9, "share": 0.5, "must_hold": "background"},
})
statistics = {"big": Statistics("zscore", 1, 0.0, 1.0, 0.0, 1.0, None, 1, "stated")}
part = [Part("big", pair.labelled)]
before = peak()
source = patch_source([pair], part, settings=settings, statistics=statistics, labels=BONE_PORES,
                      cache_bytes=int(40e6))
made, labels = source.item(0, len(source) // 2)
tiles = validation_tiles([pair], part, settings=settings, statistics=statistics, divisor=32,
                         depth_divisor=16)
tile = tiles.item(len(tiles) // 2)[0]
print(json.dumps({"added": (peak() - before) / 1024, "bytes": pair.image.nbytes,
                  "shape": made.shape, "labels": labels.shape, "tile": tile.shape}))
"""


def sparse(path: Path) -> Path:
    """Zeros that take no room on disk."""
    if path.suffix == ".zarr":
        zarr.create_array(path, shape=SHAPE, dtype="uint8", chunks=(32, 256, 256))
        return path
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": SHAPE}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + int(np.prod(SHAPE)))
    return path


@pytest.mark.parametrize("suffix", [".npy", ".zarr"])
@pytest.mark.parametrize(
    ("mode", "shape"),
    [("2D", [1, 256, 256]), ("2.5D", [9, 256, 256]), ("3D", [1, 32, 256, 256])],
)
def test_a_patch_of_a_large_scan(tmp_path: Path, mode: str, shape: list[int], suffix: str) -> None:
    image, mask = (sparse(tmp_path / f"{name}{suffix}") for name in ("image", "mask"))
    run = subprocess.run(
        [sys.executable, "-c", PROBE, str(image), str(mask), mode],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["bytes"] == 2**32
    assert found["shape"] == shape
    assert found["labels"] == shape[1:] if mode != "2.5D" else [256, 256]
    assert found["added"] < LIMIT_MB, found
