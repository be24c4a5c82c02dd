"""Every row of the table of formats: it loads, explains itself, and brings back what it wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from osteon.errors import InputError, OutputError, UsageError
from osteon.formats import detect_format, open_volume, open_writer
from osteon.formats.base import Format
from osteon.labels import BONE_PORES
from osteon.registry import Row
from osteon.tables.formats import FORMATS
from osteon.volume import Access, ArrayVolume, Geometry

ROWS = list(FORMATS)
WRITABLE = [row for row in ROWS if row.capabilities["write"]]
CASES = [
    (row, suffix)
    for row in WRITABLE
    for suffix in (cast("tuple[str, ...]", row.capabilities["suffixes"]) or ("",))
]
GEOMETRY = Geometry((30.0, 20.0, 10.0), (1.0, 2.0, 3.0))
LABELS = np.random.default_rng(0).integers(0, 3, (7, 21, 33), dtype=np.uint8)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTEON_CACHE_DIR", str(tmp_path / "cache"))


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_a_row_is_whole(row: Row, tmp_path: Path) -> None:
    loaded = cast(Format, FORMATS.load(row.name))
    assert all(callable(getattr(loaded, name)) for name in ("matches", "open", "create"))
    assert len(row.help) > 3
    assert set(row.capabilities) == {"suffixes", "folder", "write", "lossless", "any_order"}
    for suffix in cast("tuple[str, ...]", row.capabilities["suffixes"]):
        assert suffix == suffix.lower()
        assert suffix.startswith(".")
    assert row.capabilities["lossless"] or not row.capabilities["write"]
    (tmp_path / "noise").write_bytes(b"\x01\x02\x03" * 999)
    (tmp_path / "empty").mkdir()
    assert not loaded.matches(tmp_path / "noise")
    assert not loaded.matches(tmp_path / "empty")
    with pytest.raises(InputError):
        loaded.open(tmp_path / "noise")


@pytest.mark.parametrize(("row", "suffix"), CASES, ids=lambda v: getattr(v, "name", v))
def test_what_is_written_comes_back(row: Row, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"labels{suffix}"
    scan = ArrayVolume(LABELS, GEOMETRY)
    with open_writer(path, like=scan, labels=BONE_PORES) as writer:
        assert (writer.shape, writer.dtype) == (LABELS.shape, LABELS.dtype)
        blocks = [0, 3, 6]
        for start in reversed(blocks) if row.capabilities["any_order"] else blocks:
            writer.write(start, LABELS[start : start + 3])
    assert detect_format(path) == row.name
    volume = open_volume(path)
    assert (volume.shape, volume.dtype) == (LABELS.shape, LABELS.dtype)
    np.testing.assert_array_equal(volume.read(slice(None)), LABELS)
    np.testing.assert_array_equal(
        volume.read(slice(2, 5), slice(20, 21), slice(0, 9)), LABELS[2:5, 20:21, :9]
    )
    np.testing.assert_allclose(cast(Any, volume.geometry.voxel_size), (30.0, 20.0, 10.0))
    np.testing.assert_allclose(volume.geometry.origin, (1.0, 2.0, 3.0), rtol=1e-6)
    assert volume.labels == BONE_PORES
    assert volume.access is not Access.SEQUENTIAL
    assert all(c >= 1 for c in volume.chunks)
    assert path.is_dir() == row.capabilities["folder"]


@pytest.mark.parametrize(("row", "suffix"), CASES, ids=lambda v: getattr(v, "name", v))
def test_order_and_overwriting(row: Row, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"labels{suffix}"
    scan = ArrayVolume(LABELS, GEOMETRY)
    writer = open_writer(path, like=scan)
    if row.capabilities["any_order"]:
        writer.write(3, LABELS[3:])
        writer.write(0, LABELS[:3])
    else:
        with pytest.raises(UsageError):
            writer.write(3, LABELS[3:])
        writer.write(0, LABELS)
    assert not path.exists()
    writer.close()
    with pytest.raises(OutputError):
        open_writer(path, like=scan)


@pytest.mark.parametrize(("row", "suffix"), CASES, ids=lambda v: getattr(v, "name", v))
def test_reads_outside_are_refused(row: Row, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"labels{suffix}"
    with open_writer(path, like=ArrayVolume(LABELS, GEOMETRY)) as writer:
        writer.write(0, LABELS)
    volume = open_volume(path)
    assert volume.read(slice(2, 2)).shape == (0, 21, 33)
    for z in (slice(0, 8), slice(-1, 3), slice(0, 6, 2)):
        with pytest.raises(UsageError):
            volume.read(z)
