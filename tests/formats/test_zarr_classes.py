"""Class probabilities as OME-Zarr: re-read by zarr alone, and by what the format asks for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from osteon.errors import InputError, OutputError, UsageError
from osteon.formats import open_volume
from osteon.formats.zarr_classes import ClassWriter
from osteon.labels import BONE_PORES
from osteon.volume import Geometry

SHAPE = (19, 31, 270)


def written(path: Path, geometry: Geometry, **options: bool) -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 256, (3, *SHAPE), dtype=np.uint8)
    writer = ClassWriter(path, shape=SHAPE, labels=BONE_PORES, geometry=geometry, **options)
    for z in range(SHAPE[0]):
        writer.write(z, values[:, z])
    assert not path.exists() or options
    writer.close()
    return values


def test_it_comes_back_and_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "p.ome.zarr"
    values = written(path, Geometry((20.0, 10.0, 10.0), origin=(1.0, 2.0, 3.0)))
    group = zarr.open_group(path, mode="r")
    np.testing.assert_array_equal(group["0"][:], values)
    ome = group.attrs["ome"]
    assert ome["version"] == "0.5"
    (image,) = ome["multiscales"]
    assert [a["name"] for a in image["axes"]] == ["c", "z", "y", "x"]
    assert image["axes"][0] == {"name": "c", "type": "channel"}
    scale, shift = image["datasets"][0]["coordinateTransformations"]
    assert scale == {"type": "scale", "scale": [1.0, 20.0, 10.0, 10.0]}
    assert shift == {"type": "translation", "translation": [0.0, 1.0, 2.0, 3.0]}
    channels = ome["omero"]["channels"]
    assert [c["label"] for c in channels] == ["background", "bone", "pores"]
    assert all(len(c["color"]) == 6 and int(c["color"], 16) >= 0 for c in channels)
    assert [p.name for p in tmp_path.iterdir()] == ["p.ome.zarr"]


def test_it_is_not_taken_for_a_scan(tmp_path: Path) -> None:
    written(tmp_path / "p.ome.zarr", Geometry())
    with pytest.raises(InputError, match="3 entries along 'c'"):
        open_volume(tmp_path / "p.ome.zarr")


def test_what_is_there_is_kept_or_replaced_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "p.ome.zarr"
    written(path, Geometry())
    with pytest.raises(OutputError, match="exists already"):
        written(path, Geometry())
    written(path, Geometry(), overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["p.ome.zarr"]


def test_what_is_not_whole_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "p.ome.zarr"
    writer = ClassWriter(path, shape=SHAPE, labels=BONE_PORES, geometry=Geometry())
    writer.write(0, np.zeros((3, *SHAPE[1:]), np.uint8))
    with pytest.raises(UsageError, match="slice 1 is next, not 2"):
        writer.write(2, np.zeros((3, *SHAPE[1:]), np.uint8))
    with pytest.raises(UsageError, match="18 slices were not written"):
        writer.close()
    assert list(tmp_path.iterdir()) == []
