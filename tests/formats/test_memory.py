"""Reading one 256² patch of 4 GB adds less than 200 MB, in every lazy format."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import tifffile
import zarr

from osteon.formats import open_volume, open_writer
from osteon.volume import ArrayVolume

MB = 1 << 20
SIDE = 4096
DEPTH = 256  # slices of 16 MB: 4 GB of uint8
SHAPE = (DEPTH, SIDE, SIDE)
LIMIT_MB = 200

PROBE = """
import json, resource, sys
from pathlib import Path
from osteon.formats import open_volume
from osteon.tables.formats import FORMATS

def peak():
    # On Linux ru_maxrss begins with the peak of the process that started this one, which can hide
    # all that is measured here; VmHWM is this program's own.
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(l.split()[1]) for l in status.open() if l.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

import zarr  # what the libraries take is not the read's
FORMATS.load(sys.argv[2])
before = peak()
volume = open_volume(sys.argv[1])
z, y, x = (n // 2 for n in volume.shape)
block = volume.read(slice(z, z + 1), slice(y, y + 256), slice(x, x + 256))
after = peak()
print(json.dumps({"added": (after - before) / 1024, "bytes": volume.nbytes,
                  "shape": block.shape, "sum": int(block.sum())}))
"""


def sparse(path: Path, header: bytes, size: int) -> Path:
    """Write a header and as many zeros as make the file whole, which take no room on disk."""
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + size)
    return path


def header_of(path: Path, like_shape: tuple[int, int, int], dtype: str = "uint8") -> bytes:
    """Return the header that osteon writes before a volume of zeros of that shape."""
    volume = ArrayVolume(np.broadcast_to(np.zeros(1, dtype), like_shape))
    writer = open_writer(path, like=volume, dtype=dtype)
    writer._file.flush()  # type: ignore[attr-defined]
    header = writer._parts[0][0].read_bytes()  # type: ignore[attr-defined]
    writer.abort()
    return header


def big(kind: str, folder: Path) -> Path:
    size = SIDE * SIDE * DEPTH
    if kind in ("nrrd", "metaimage", "npy", "nifti"):
        name = {"nrrd": "a.nrrd", "metaimage": "a.mha", "npy": "a.npy", "nifti": "a.nii"}[kind]
        return sparse(folder / name, header_of(folder / name, SHAPE), size)
    if kind == "tiff":
        with tifffile.TiffWriter(folder / "a.tif", bigtiff=True) as writer:
            writer.write(None, shape=SHAPE, dtype="uint8", photometric="minisblack")
        return folder / "a.tif"
    if kind == "slices":
        tifffile.imwrite(folder / "one", None, shape=SHAPE[1:], dtype="uint8")
        header = (folder / "one").read_bytes()[:4096]
        (folder / "s").mkdir()
        for n in range(DEPTH):
            sparse(folder / "s" / f"{n:04d}.tif", header, SIDE * SIDE)
        return folder / "s"
    if kind == "zarr":
        zarr.create_array(folder / "a.zarr", shape=SHAPE, dtype="uint8", chunks=(16, 256, 256))
        return folder / "a.zarr"
    with open_writer(folder / "one", like=ArrayVolume(np.zeros((1, 2, 2), "uint8")),
                     format="dicom") as writer:  # fmt: skip
        writer.write(0, np.zeros((1, 2, 2), "uint8"))
    data = pydicom.dcmread(folder / "one" / "0000.dcm")
    (folder / "d").mkdir()
    for n in range(DEPTH):
        data.Rows = data.Columns = SIDE
        data.InstanceNumber = n
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = f"1.2.{n}"
        data.PixelData = b"\0\0"
        data.save_as(folder / "d" / f"{n}.dcm", enforce_file_format=True)
        raw = (folder / "d" / f"{n}.dcm").read_bytes()
        # The element of the pixels is last: its length (4 bytes) and two bytes of pixels.
        head = raw[:-6] + (SIDE * SIDE).to_bytes(4, "little")
        sparse(folder / "d" / f"{n}.dcm", head, SIDE * SIDE)
    return folder / "d"


def probe(path: Path, kind: str) -> dict[str, float]:
    command = [sys.executable, "-c", PROBE, str(path), kind]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    result: dict[str, float] = json.loads(printed)
    return result


@pytest.mark.parametrize(
    "kind", ["slices", "tiff", "zarr", "nrrd", "metaimage", "nifti", "dicom", "npy"]
)
def test_a_patch_of_4_gb(kind: str, tmp_path: Path) -> None:
    result = probe(big(kind, tmp_path), kind)
    assert result["bytes"] == SIDE * SIDE * DEPTH
    assert result["shape"] == [1, 256, 256]
    assert result["added"] < LIMIT_MB


@pytest.mark.skipif(sys.platform == "win32", reason="os.truncate is not sparse there")
def test_a_patch_of_compressed_tiff(tmp_path: Path) -> None:
    page = np.zeros((SIDE, SIDE), np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for _ in range(20):
            writer.write(page, compression="zlib", metadata=None, rowsperstrip=64)
    assert probe(tmp_path / "a.tif", "tiff")["added"] < LIMIT_MB


def test_the_cache_is_built_in_little_memory(tmp_path: Path) -> None:
    shape = (32, 2048, 4096)  # 256 MB, which gzip makes a quarter of a megabyte
    page = np.zeros(shape[1:], np.uint8)
    like = ArrayVolume(np.broadcast_to(np.zeros(1, np.uint8), shape))
    with open_writer(tmp_path / "a.nii.gz", like=like) as writer:
        for z in range(shape[0]):
            writer.write(z, page[np.newaxis])
    assert nibabel.load(tmp_path / "a.nii.gz").shape == shape[::-1]
    result = probe(tmp_path / "a.nii.gz", "nifti")
    assert result["bytes"] == 256 * MB
    assert result["added"] < LIMIT_MB


def test_the_measure_notices_a_whole_scan(tmp_path: Path) -> None:
    path = sparse(tmp_path / "a.npy", header_of(tmp_path / "a.npy", (20, SIDE, SIDE)), 20 * SIDE**2)
    whole = PROBE.replace("slice(z, z + 1), slice(y, y + 256), slice(x, x + 256)", "slice(None)")
    command = [sys.executable, "-c", whole, str(path), "npy"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert json.loads(printed)["added"] > 300
    assert open_volume(path).shape == (20, SIDE, SIDE)
