"""TIFF stacks that other programs make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from osteon.errors import InputError, OsteonWarning
from osteon.formats import open_volume
from osteon.volume import Access

from .cases import make, reopen

TIFFS: dict[str, dict[str, Any]] = {
    "plain": {},
    "big": {"bigtiff": True},
    "imagej": {"imagej": True},
    "ome": {"ome": True},
    "zlib": {"compression": "zlib"},
    "predictor": {"compression": "zlib", "predictor": True},
    "lzw": {"compression": "lzw"},
    "tiles": {"tile": (16, 32)},
    "tiles zlib": {"tile": (16, 16), "compression": "zlib"},
    "strips": {"rowsperstrip": 5, "compression": "zlib"},
    "big-endian": {"byteorder": ">"},
    "big-endian zlib": {"byteorder": ">", "compression": "zlib"},
}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("kind", TIFFS)
def test_tiff_by_tifffile(tmp_path: Path, kind: str, dtype: str) -> None:
    array = make(dtype, (6, 37, 43)).array
    path = tmp_path / "a.tif"
    options = dict(TIFFS[kind])
    if "imagej" in options and dtype == "int16":
        pytest.skip("ImageJ has no signed type")
    metadata = {"axes": "ZYX"}
    tifffile.imwrite(path, array, photometric="minisblack", metadata=metadata, **options)
    for volume in (open_volume(path), reopen(open_volume(path))):
        assert volume.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(volume.read(slice(None)), array)
        part = volume.read(slice(2, 5), slice(3, 29), slice(15, 40))
        np.testing.assert_array_equal(part, array[2:5, 3:29, 15:40])
        assert part.dtype.isnative


def test_tiff_written_page_by_page_is_read_in_parts(tmp_path: Path) -> None:
    array = make("uint16").array
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for page in array:
            writer.write(page, metadata=None, photometric="minisblack")
    volume = open_volume(tmp_path / "a.tif")
    assert volume.access is Access.RANDOM
    np.testing.assert_array_equal(
        volume.read(slice(1, 4), slice(2, 30), slice(4, 20)), array[1:4, 2:30, 4:20]
    )


@pytest.mark.parametrize(
    ("unit", "um"),
    [("micron", 1.0), ("um", 1.0), ("\\u00B5m", 1.0), ("mm", 1000.0), ("pixel", None)],
)
def test_imagej_units(tmp_path: Path, unit: str, um: float | None) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.zeros((3, 4, 5), np.uint8),
        imagej=True,
        resolution=(1 / 0.5, 1 / 0.25),
        metadata={"axes": "ZYX", "spacing": 2.0, "unit": unit},
    )
    expected = (None,) * 3 if um is None else (2 * um, 0.25 * um, 0.5 * um)
    assert open_volume(tmp_path / "a.tif").geometry.voxel_size == expected


def test_ome_units_default_to_micrometres(tmp_path: Path) -> None:
    metadata = {
        "axes": "ZYX", "PhysicalSizeX": 5.0, "PhysicalSizeY": 0.006, "PhysicalSizeYUnit": "mm",
    }  # fmt: skip
    tifffile.imwrite(tmp_path / "a.ome.tif", np.zeros((3, 4, 5), np.uint8), metadata=metadata)
    assert open_volume(tmp_path / "a.ome.tif").geometry.voxel_size == (None, 6.0, 5.0)


@pytest.mark.parametrize(("axes", "word"), [("CYX", "channels"), ("TYX", "time points")])
@pytest.mark.parametrize("kind", [{"imagej": True}, {"ome": True}])
def test_channels_and_time_are_refused(
    tmp_path: Path, axes: str, word: str, kind: dict[str, bool]
) -> None:
    array = np.zeros((3, 4, 5), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", array, metadata={"axes": axes}, **kind)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=f"3 {word}"):
        open_volume(tmp_path / "a.tif")


def test_pages_of_two_sizes_are_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(np.zeros((4, 5), np.uint8), metadata=None)
        writer.write(np.zeros((4, 6), np.uint8), metadata=None)
    with pytest.raises(InputError, match="different sizes"):
        open_volume(tmp_path / "a.tif")


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_rgb_pages_of_grey(tmp_path: Path, planar: str) -> None:
    grey = make("uint8").array
    axis = -1 if planar == "contig" else 1
    rgb = np.stack([grey] * 3, axis=axis)
    tifffile.imwrite(tmp_path / "a.tif", rgb, photometric="rgb", planarconfig=planar)
    volume = open_volume(tmp_path / "a.tif")
    assert volume.shape == grey.shape
    np.testing.assert_array_equal(volume.read(slice(None)), grey)


def test_white_is_zero_is_told(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.eye(4, dtype=np.uint8), photometric="miniswhite")
    with pytest.warns(OsteonWarning, match="white-is-zero"):
        volume = open_volume(tmp_path / "a.tif")
    np.testing.assert_array_equal(volume.read(slice(None))[0], np.eye(4))
