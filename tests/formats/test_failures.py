"""Damaged input, full disks, crashes: each with its own error, and nothing left behind."""

from __future__ import annotations

import contextlib
import errno
import gzip
import io
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from osteon.errors import ExitCode, InputError, OsteonError, OutputError, UsageError
from osteon.formats import detect_format, open_volume, open_writer
from osteon.formats.cache import cache_folder
from osteon.labels import BONE_PORES
from osteon.volume import ArrayVolume

from .cases import make

resource: Any = pytest.importorskip("resource")  # a limit on the size of files: not on Windows
NAMES = ("scan", "a.tif", "a.zarr", "a.nrrd", "a.nhdr", "a.mha", "a.mhd", "a.nii", "a.nii.gz",
         "a.dcm", "a.npy")  # fmt: skip
SCAN = make("uint8", (6, 60, 70))


def write(path: Path, **more: Any) -> Path:
    with open_writer(path, like=SCAN, **more) as writer:
        writer.write(0, SCAN.array)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def told(error: pytest.ExceptionInfo[Any], path: Path) -> None:
    assert str(path) in str(error.value.where)
    assert error.value.mend


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_crash_leaves_the_target_as_it_was(tmp_path: Path, name: str, overwrite: bool) -> None:
    if overwrite:
        write(tmp_path / name)
    before = contents(tmp_path)

    def crash() -> None:
        with open_writer(tmp_path / name, like=SCAN, overwrite=overwrite) as writer:
            writer.write(0, SCAN.array[:3])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        crash()
    assert contents(tmp_path) == before
    assert len(list(tmp_path.iterdir())) == len({p.split("/")[0] for p in before})


@pytest.mark.parametrize("name", NAMES)
def test_overwriting_is_asked_for(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)
    before = contents(tmp_path)
    with pytest.raises(OutputError, match="exists already") as error:
        write(tmp_path / name)
    told(error, tmp_path)
    assert contents(tmp_path) == before
    assert error.value.exit_code is ExitCode.OUTPUT
    other = ArrayVolume(255 - SCAN.array, SCAN.geometry)
    with open_writer(tmp_path / name, like=other, overwrite=True, labels=BONE_PORES) as writer:
        writer.write(0, other.array)
    np.testing.assert_array_equal(open_volume(tmp_path / name).read(slice(None)), other.array)
    assert not list(tmp_path.glob(".*"))


def test_old_class_names_do_not_stay_with_a_new_volume(tmp_path: Path) -> None:
    write(tmp_path / "a.nii", labels=BONE_PORES)
    write(tmp_path / "a.nii", overwrite=True)
    assert open_volume(tmp_path / "a.nii").labels is None


def test_a_folder_of_someone_else_is_never_replaced(tmp_path: Path) -> None:
    write(tmp_path / "scan")
    (tmp_path / "scan" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="did not write"):
        write(tmp_path / "scan", overwrite=True)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "0.tif").write_bytes(b"mine")
    with pytest.raises(OutputError, match="did not write"):
        write(tmp_path / "home", overwrite=True)
    assert (tmp_path / "home" / "0.tif").read_bytes() == b"mine"


def test_the_scan_is_not_replaced_by_its_labels(tmp_path: Path) -> None:
    scan = open_volume(write(tmp_path / "a.nrrd"))
    with pytest.raises(OutputError, match="made from"):
        open_writer(tmp_path / "a.nrrd", like=scan, overwrite=True)


@pytest.mark.parametrize("name", NAMES)
def test_missing_slices_are_an_error(tmp_path: Path, name: str) -> None:
    writer = open_writer(tmp_path / name, like=SCAN)
    writer.write(0, SCAN.array[:4])
    with pytest.raises(OutputError, match="2 of 6 slices"):
        writer.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.tif", "a.nrrd", "a.dcm", "a.nii.gz"])
def test_order_type_and_shape_are_checked(tmp_path: Path, name: str) -> None:
    with open_writer(tmp_path / name, like=SCAN) as writer:
        with pytest.raises(UsageError, match="ascending"):
            writer.write(2, SCAN.array[2:])
        with pytest.raises(UsageError, match="does not fit"):
            writer.write(0, SCAN.array.astype("uint16"))
        with pytest.raises(UsageError, match="does not fit"):
            writer.write(0, SCAN.array[:, :-1])
        writer.write(0, SCAN.array)


@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    scan = ArrayVolume(rng.integers(0, 255, (4, 300, 300), dtype=np.uint8))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill() -> None:
        with open_writer(tmp_path / name, like=scan) as writer:
            writer.write(0, scan.array)

    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
    try:
        with pytest.raises(OutputError, match="full") as error:
            fill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    told(error, tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["scan", "a.zarr", "a.nrrd"])
def test_a_place_that_is_not_writable(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError) as error:
        open_writer(tmp_path / "file" / name, like=SCAN)
    told(error, tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OutputError, match="not writable"):
        open_writer(tmp_path / "new" / name, like=SCAN)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.xyz", "S1_5.2um"])
def test_suffixes_that_are_not_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as error:
        open_writer(tmp_path / name, like=SCAN)
    told(error, tmp_path / name)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".gif"])
def test_slice_suffixes_that_are_not_written(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(UsageError):
        open_writer(tmp_path / "s", like=SCAN, slice_suffix=suffix)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("name", "dtype", "suffix"),
    [("s", "float32", ".png"), ("s", "uint16", ".bmp"), ("a.dcm", "float32", ".tif"),
     ("a.tif", "int64", ".tif"), ("a.nii", "float16", ".tif"), ("a.npy", "complex64", ".tif")],
)  # fmt: skip
def test_types_that_do_not_fit(tmp_path: Path, name: str, dtype: str, suffix: str) -> None:
    with pytest.raises(UsageError, match=dtype):
        open_writer(tmp_path / name, like=SCAN, dtype=dtype, slice_suffix=suffix)
    assert not list(tmp_path.iterdir())


def test_left_handed_axes_do_not_fit_into_dicom(tmp_path: Path) -> None:
    scan = make("uint8")
    turned = ((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    scan.geometry = type(scan.geometry)((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), turned)
    with pytest.raises(UsageError, match="left-handed"):
        open_writer(tmp_path / "a.dcm", like=scan)


@pytest.mark.parametrize("part", [0.0, 0.02, 0.5, 0.999])
@pytest.mark.parametrize("name", ["a.tif", "a.nrrd", "a.mha", "a.nii", "a.nii.gz", "a.npy"])
def test_truncated_files(tmp_path: Path, name: str, part: float) -> None:
    path = write(tmp_path / name)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(InputError) as error:
        open_volume(path).read(slice(None))
    told(error, path)
    assert not cache_folder().exists() or not list(cache_folder().iterdir())


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.97])
@pytest.mark.parametrize("kind", ["zlib", None, "ome", "imagej"])
def test_truncated_stacks(tmp_path: Path, kind: str | None, part: float) -> None:
    buffer = io.BytesIO()
    options: dict[str, Any] = {kind: True} if kind in ("ome", "imagej") else {"compression": kind}
    tifffile.imwrite(buffer, SCAN.array, photometric="minisblack", **options)
    (tmp_path / "a.tif").write_bytes(buffer.getvalue()[: int(len(buffer.getvalue()) * part)])
    with pytest.raises(InputError) as error:
        open_volume(tmp_path / "a.tif").read(slice(None))
    told(error, tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", [".tif", ".png", ".bmp"])
@pytest.mark.parametrize("labels", [None, BONE_PORES])
@pytest.mark.parametrize("part", [0.0, 0.01, 0.6, 0.98])
def test_truncated_slices(tmp_path: Path, suffix: str, labels: Any, part: float) -> None:
    folder = write(tmp_path / "s", slice_suffix=suffix, labels=labels)
    file = folder / f"0003{suffix}"
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(InputError) as error:
        open_volume(folder).read(slice(None))
    told(error, file)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_truncated_dicom(tmp_path: Path, part: float) -> None:
    file = write(tmp_path / "a.dcm") / "0003.dcm"
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(InputError) as error:
        open_volume(tmp_path / "a.dcm").read(slice(None))
    told(error, tmp_path)


def test_damaged_zarr(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zarr")
    chunk = next(p for p in path.rglob("c/0/0/0"))
    chunk.write_bytes(chunk.read_bytes()[:50])
    with pytest.raises(InputError):
        open_volume(path).read(slice(None))
    (path / "zarr.json").write_text("{")
    with pytest.raises(InputError):
        open_volume(path)


def test_a_wrong_checksum_leaves_no_cache(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii.gz")
    data = bytearray(path.read_bytes())
    data[-6] ^= 1  # in the CRC of the gzip trailer
    path.write_bytes(data)
    with pytest.raises(InputError):
        open_volume(path).read(slice(0, 1))
    assert not list(cache_folder().iterdir())


def test_a_full_disk_in_the_cache(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scan = ArrayVolume(rng.integers(0, 255, (4, 300, 300), dtype=np.uint8))
    with open_writer(tmp_path / "a.nii.gz", like=scan) as writer:
        writer.write(0, scan.array)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OutputError, match="full") as error:
            open_volume(tmp_path / "a.nii.gz").read(slice(0, 1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "OSTEON_CACHE_DIR" in str(error.value.mend)
    assert not list(cache_folder().iterdir())
    np.testing.assert_array_equal(open_volume(tmp_path / "a.nii.gz").read(slice(None)), scan.array)


def test_missing_empty_and_unknown(tmp_path: Path) -> None:
    (tmp_path / "femur_12").mkdir()
    with pytest.raises(InputError, match="no such") as error:
        open_volume(tmp_path / "femur_21")
    assert "femur_12" in str(error.value.mend)
    with pytest.raises(InputError, match="empty") as error:
        open_volume(tmp_path / "femur_12")
    told(error, tmp_path / "femur_12")
    (tmp_path / "a.tif").write_bytes(b"")
    (tmp_path / "a.doc").write_bytes(b"hello")
    (tmp_path / "a.nii").write_bytes(b"hello" * 200)
    for name, says in (("a.tif", "empty"), ("a.doc", "unknown"), ("a.nii", "NIfTI")):
        with pytest.raises(InputError, match=says):
            detect_format(tmp_path / name)
    with pytest.raises(InputError, match="no such"):
        open_volume(tmp_path / "nothing.nrrd", format="nrrd")
    with pytest.raises(UsageError, match="did you mean nrrd"):
        open_volume(tmp_path / "a.tif", format="nrd")


def test_a_detached_header_without_its_data(tmp_path: Path) -> None:
    for name in ("a.nhdr", "b.mhd"):
        path = write(tmp_path / name)
        os.unlink(path.with_suffix(".raw"))
        with pytest.raises(InputError, match="not there") as error:
            open_volume(path)
        told(error, path)


def test_xml_entities_are_not_read(tmp_path: Path) -> None:
    xml = (
        '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]>'
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">&a;</OME>'
    )
    tifffile.imwrite(
        tmp_path / "a.ome.tif", SCAN.array[0], description=xml, metadata=None, ome=False
    )
    with pytest.raises(InputError):
        open_volume(tmp_path / "a.ome.tif")


def test_a_name_that_says_gzip_and_is_not(tmp_path: Path) -> None:
    write(tmp_path / "a.nii")
    (tmp_path / "a.nii").rename(tmp_path / "b.nii.gz")
    with pytest.raises(InputError):
        open_volume(tmp_path / "b.nii.gz").read(slice(None))
    (tmp_path / "c.nii.gz").write_bytes(gzip.compress(b"no nifti"))
    with pytest.raises(InputError):
        open_volume(tmp_path / "c.nii.gz")


@pytest.mark.filterwarnings("ignore::osteon.errors.OsteonWarning")
@pytest.mark.parametrize("name", [*NAMES, "png", "bmp"])
def test_changed_bytes_never_give_a_traceback(tmp_path: Path, name: str) -> None:
    scan = ArrayVolume(np.random.default_rng(0).integers(0, 3, (3, 20, 30), dtype=np.uint8))
    suffix = f".{name}" if name in ("png", "bmp") else ".tif"
    with open_writer(tmp_path / name, like=scan, labels=BONE_PORES, slice_suffix=suffix) as writer:
        writer.write(0, scan.array)
    rng = random.Random(name)
    files = sorted(p for p in tmp_path.rglob("*") if p.is_file())
    for _ in range(80):
        file = rng.choice(files)
        original = file.read_bytes()
        data = bytearray(original)
        for _ in range(rng.choice((1, 2, 8))):
            data[rng.randrange(min(len(data), rng.choice((64, 600, 1 << 30))))] = rng.randrange(256)
        file.write_bytes(data)
        with contextlib.suppress(OsteonError):
            volume = open_volume(tmp_path / name)
            if volume.nbytes < 1 << 20:
                volume.read(slice(None))
        file.write_bytes(original)
    np.testing.assert_array_equal(open_volume(tmp_path / name).read(slice(None)), scan.array)
