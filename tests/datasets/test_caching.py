"""Pairs are read from copies on disk where that pays, with the same voxels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from osteon.datasets import Manifest, open_pairs
from osteon.datasets.caching import cached_pair
from osteon.datasets.masks import MaskVolume, ResizedVolume
from osteon.formats.cache import CachedVolume, clear_cache, entries
from osteon.formats.cache import volumes as cache_volumes

MANIFEST = """
schema = 1
[[scans]]
name = "a"
image = "a.tif"
mask = "mask.tif"
specimen = "a"
contiguous = true
remap = {{ 0 = "background", 255 = "bone" }}
{more}
"""


@pytest.fixture
def arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    monkeypatch.setenv("OSTEON_CACHE_DIR", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    image = rng.integers(1, 200, (3, 60, 50), dtype=np.uint16)
    mask = (rng.random((3, 60, 50)) < 0.5).astype(np.uint8) * 255
    for name, array in (("a.tif", image), ("mask.tif", mask)):
        tifffile.imwrite(tmp_path / name, array, compression="lzw", photometric="minisblack")
    return image, mask


@pytest.mark.parametrize("more", ["", "voxel_size_um = 8.0"])
def test_image_and_mask_are_copied(tmp_path: Path, arrays: tuple[Any, Any], more: str) -> None:
    image, mask = arrays
    (tmp_path / "dataset.toml").write_text(MANIFEST.format(more=more))
    (pair,) = open_pairs(Manifest.load(tmp_path / "dataset.toml"))
    fast = cached_pair(pair, choice="on", memory_bytes=0)
    inner = fast.image.inner if isinstance(fast.image, ResizedVolume) else fast.image
    assert isinstance(inner, CachedVolume)
    assert isinstance(fast.labels, MaskVolume)
    assert isinstance(fast.labels.mask, CachedVolume)
    assert len(entries()) == 2
    assert fast.image.geometry == pair.image.geometry
    np.testing.assert_array_equal(fast.image.read(slice(None)), image)
    np.testing.assert_array_equal(fast.labels.read(slice(1, 3)), (mask == 255)[1:3])


@pytest.mark.parametrize(("spare", "copied"), [(0, 0), (-1, 2)])
def test_both_must_fit_into_memory(
    tmp_path: Path,
    arrays: tuple[Any, Any],
    monkeypatch: pytest.MonkeyPatch,
    spare: int,
    copied: int,
) -> None:
    (tmp_path / "dataset.toml").write_text(MANIFEST.format(more=""))
    (pair,) = open_pairs(Manifest.load(tmp_path / "dataset.toml"))
    monkeypatch.setattr(cache_volumes, "gain", lambda volume: 10.0)
    voxels = 3 * 60 * 50
    cached_pair(pair, choice="auto", memory_bytes=3 * voxels + spare)  # 2 bytes grey, 1 of labels
    assert len(clear_cache()) == copied
