"""``osteon cache``: what it shows and clears is what lies on the disk."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import nrrd
import numpy as np
import pytest

from osteon.formats import open_volume

from .calling import call, refused


@pytest.fixture(autouse=True)
def _filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two copies, one of them used ten days ago and its source gone."""
    monkeypatch.setenv("OSTEON_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("OSTEON_CACHE_SIZE", "3.5GB")
    for name in ("old", "new"):
        array = np.random.default_rng(0).integers(0, 256, (2, 100, 300), dtype=np.uint8)
        nrrd.write(str(tmp_path / f"{name}.nrrd"), array.T)
        open_volume(tmp_path / f"{name}.nrrd").read(slice(None))
        if name == "old":
            (used,) = (tmp_path / "cache").rglob("used")
            os.utime(used, (time.time() - 10 * 86400,) * 2)
            (tmp_path / "old.nrrd").unlink()


def on_disk(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("voxels.zarr/**/*") if p.is_file())


def test_show(tmp_path: Path) -> None:
    shown = call("cache", "show")
    assert shown.code == 0
    lines = shown.out.splitlines()
    assert re.fullmatch(rf" *6\d\.\d kB .* {tmp_path}/new\.nrrd", lines[1])
    assert lines[2].endswith("old.nrrd  (the source is gone)")
    assert "of at most 3.5 GB in " in lines[3]
    found = call("cache", "show", "--json").json
    assert found["bytes"] == on_disk(tmp_path / "cache")
    assert found["bound_bytes"] == 3_500_000_000
    assert [entry["source_exists"] for entry in found["entries"]] == [True, False]


def test_clear(tmp_path: Path) -> None:
    kept = open_volume(tmp_path / "new.nrrd")
    kept.read(slice(0, 1))
    before = on_disk(tmp_path / "cache")
    assert call("cache", "clear", "--older-than", 11).out.startswith("freed 0 B: 0 copies")
    old = call("cache", "clear", "--older-than", 9, "--json").json
    assert old["freed_bytes"] == before - on_disk(tmp_path / "cache") > 60_000
    again = call("cache", "clear")
    assert again.out.splitlines()[1] == "kept: 1 copy that a running command uses"
    del kept
    assert re.match(r"freed 6\d\.\d kB: 1 copy removed\n$", call("cache", "clear").out)
    assert on_disk(tmp_path / "cache") == 0


def test_a_wrong_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTEON_CACHE_SIZE", "plenty")
    refused(call("cache", "show"), 2, "'plenty' is not an amount", "OSTEON_CACHE_SIZE")
