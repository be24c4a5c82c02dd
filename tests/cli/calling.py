"""Calls of the command line within the test process, and data sets to call it on."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from osteon.cli import main

#: A fit of seconds; one thread, so that another process comes to the same weights.
QUICK = (
    "network.decoder_channels=[16,16,8,8,8]",
    "patches.size=32",
    "patches.per_slice=1",
    "training.batch_size=4",
    "training.epochs=2",
    "training.workers=0",
    "training.threads=1",
    "training.precision=fp32",
)


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def call(*words: object) -> Ran:
    """Run ``osteon WORDS …`` in this process."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main([str(word) for word in words])
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Ran(code, out.getvalue(), err.getvalue())


def setting(*items: str) -> list[str]:
    return [word for item in items for word in ("--set", item)]


def refused(ran: Ran, code: int, *parts: str) -> None:
    """Check that a command ended with a message for its user: code, words, no traceback."""
    assert ran.code == code, ran.err
    message = ran.err[ran.err.index("error: ") :]
    assert "Traceback" not in ran.err
    assert ".." not in message.replace("...", "").replace("../", "")
    for part in parts:
        assert part in message


def write_slices(folder: Path, array: np.ndarray) -> Path:
    """Write TIFF slices by a writer that is not osteon's."""
    folder.mkdir(parents=True)
    for z, page in enumerate(array):
        tifffile.imwrite(folder / f"{z:04d}.tif", page)
    return folder


def phantom(seed: int, *, shape: tuple[int, int, int] = (6, 40, 48)) -> tuple[Any, Any]:
    """A leaning tube of bone around pores, and its labels."""
    rng = np.random.default_rng(seed)
    z, y, x = np.indices(shape)
    radius = np.hypot(y - shape[1] * 0.45 - z, x - shape[2] * 0.55)
    labels = np.zeros(shape, np.uint8)
    labels[radius < 14] = 1
    labels[radius < 6] = 2
    image = np.choose(labels, [50, 200, 90]) + rng.normal(0, 6, shape)
    return np.clip(image, 1, 255).astype(np.uint8), labels


def write_cohort(folder: Path, *, scans: int = 2) -> Path:
    """Write ``a/scan``, ``a/mask``, ``b/scan`` … and their manifest."""
    for seed, name in enumerate("abcd"[:scans]):
        image, labels = phantom(seed)
        write_slices(folder / name / "scan", image)
        write_slices(folder / name / "mask", labels)
    manifest = folder / "dataset.toml"
    assert call("dataset", "new", folder, "--out", manifest).code == 0
    return manifest


def everything(folder: Path) -> dict[str, bytes]:
    """All files below a folder with their content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
