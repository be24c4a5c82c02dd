from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from osteon.datasets import Manifest, Pair, ScanRow, open_pair
from osteon.labels import BONE_PORES


def write_slices(folder: Path, array: np.ndarray, *, first: int = 0) -> str:
    """Write a folder of TIFF slices by a writer that is not osteon's."""
    folder.mkdir(parents=True)
    for z, page in enumerate(array):
        tifffile.imwrite(folder / f"{first + z:04d}.tif", page)
    return str(folder)


def phantom(seed: int = 0, *, shape: tuple[int, int, int] = (6, 40, 48)) -> tuple[Any, Any]:
    """An off-centre bone with a pore, and its exact labels; no flip maps it onto itself."""
    rng = np.random.default_rng(seed)
    depth, height, width = shape
    z, y, x = np.mgrid[:depth, :height, :width].astype(float)
    radius = np.hypot(y - 0.38 * height - 1.5 * z, (x - 0.6 * width) * 0.8)
    labels = np.zeros(shape, np.uint8)
    labels[radius < 0.26 * height] = 1
    labels[radius < 0.13 * height] = 2
    image = np.choose(labels, [60, 190, 90]) + rng.normal(0, 5, shape)
    return np.clip(image, 1, 255).astype(np.uint8), labels


@pytest.fixture
def pair(tmp_path: Path) -> Callable[..., Pair]:
    """Write image and mask, and open them by a row with more entries."""

    def make(image: np.ndarray, mask: np.ndarray | None = None, **entries: Any) -> Pair:
        base = tmp_path / f"scan{len(list(tmp_path.iterdir()))}"
        row = {"name": "one", "specimen": "one", "image": write_slices(base / "scan", image)}
        if mask is not None:
            row["mask"] = write_slices(base / "mask", mask, first=entries.pop("mask_first", 0))
        made = ScanRow.model_validate(row | entries)
        return open_pair(Manifest(BONE_PORES, (made,)), made)

    return make
