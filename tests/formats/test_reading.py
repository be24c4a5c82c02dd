"""Files that other programs make: byte order, units, compression, channels, geometry."""

from __future__ import annotations

import bz2
import gzip
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import zarr

from osteon.errors import InputError, OsteonWarning
from osteon.formats import detect_format, open_volume, open_writer
from osteon.formats.cache import cache_folder, clear_cache
from osteon.volume import Array, Volume

from .cases import GEOMETRY, make, reopen

SIZES = GEOMETRY.voxel_size


def itk_image(array: Array) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([s / 1000 for s in SIZES[::-1] if s])
    image.SetOrigin([v / 1000 for v in GEOMETRY.origin[::-1]])
    image.SetDirection(np.array(GEOMETRY.direction)[::-1, ::-1].ravel().tolist())
    return image


def check(volume: Volume, array: Array, *, tolerance: float = 1e-9) -> None:
    assert volume.dtype == array.dtype
    np.testing.assert_array_equal(volume.read(slice(None)), array)
    np.testing.assert_array_equal(
        volume.read(slice(2, 4), slice(1, 7), slice(3, 20)), array[2:4, 1:7, 3:20]
    )
    np.testing.assert_allclose(volume.geometry.voxel_size, SIZES, rtol=tolerance)  # type: ignore[arg-type]
    np.testing.assert_allclose(volume.geometry.origin, GEOMETRY.origin, rtol=tolerance)
    np.testing.assert_allclose(
        volume.geometry.direction, GEOMETRY.direction, atol=max(tolerance, 1e-9)
    )


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr", "a.mha", "a.mhd", "a.nii", "a.nii.gz"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_what_itk_writes(tmp_path: Path, name: str, compressed: bool, dtype: str) -> None:
    array = make(dtype).array
    sitk.WriteImage(itk_image(array), str(tmp_path / name), compressed)
    volume = open_volume(tmp_path / name)
    check(volume, array, tolerance=1e-6 if ".nii" in name else 1e-9)
    check(reopen(volume), array, tolerance=1e-6)
    entries = list(cache_folder().glob("*"))
    assert len(entries) == (1 if (compressed and name != "a.nii") or name == "a.nii.gz" else 0)


def test_big_endian_metaimage(tmp_path: Path) -> None:
    array = make("int16").array
    (tmp_path / "a.raw").write_bytes(array.astype(">i2").tobytes())
    (tmp_path / "a.mhd").write_text(
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = True\n"
        "DistanceUnits = um\nElementSpacing = 7.1 6.5 12.3\nDimSize = 23 37 5\n"
        "ElementType = MET_SHORT\nElementDataFile = a.raw\n"
    )
    volume = open_volume(tmp_path / "a.mhd")
    assert volume.geometry.voxel_size == SIZES
    np.testing.assert_array_equal(volume.read(slice(None)), array)
    assert volume.read(slice(None)).dtype.isnative


def test_metaimage_of_vectors_is_refused(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.zeros((2, 3, 4, 3), np.uint8), isVector=True)
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    with pytest.raises(InputError, match=r"3 channel"):
        open_volume(tmp_path / "a.mha")


@pytest.mark.parametrize(
    ("unit", "factor"), [("um", 1), ("µm", 1), ("mm", 1000), ("cm", 10000), (None, 1000)]
)
def test_nrrd_units(tmp_path: Path, unit: str | None, factor: float) -> None:
    header: dict[str, Any] = {
        "space": "right-anterior-superior",
        "space directions": np.diag([1.0, 2.0, 3.0]),
        "space origin": [4, 5, 6],
    }
    if unit is not None:
        header["space units"] = [unit.replace("µ", "u")] * 3
    path = tmp_path / "a.nrrd"
    nrrd.write(str(path), np.zeros((4, 3, 2), np.uint8), header)
    if unit == "µm":  # pynrrd writes ASCII alone
        path.write_bytes(path.read_bytes().replace(b'"um"', '"µm"'.encode()))
    geometry = open_volume(path).geometry
    assert geometry.voxel_size == (3 * factor, 2 * factor, factor)
    assert geometry.origin == (6 * factor, -5 * factor, -4 * factor)
    assert geometry.direction == ((1, 0, 0), (0, -1, 0), (0, 0, -1))


def test_nrrd_spacings_and_none(tmp_path: Path) -> None:
    nrrd.write(str(tmp_path / "a.nrrd"), np.zeros((4, 3, 2), np.uint8), {"spacings": [1, 2, 3]})
    assert open_volume(tmp_path / "a.nrrd").geometry.voxel_size == (3000, 2000, 1000)
    nrrd.write(str(tmp_path / "b.nrrd"), np.zeros((4, 3, 2), np.uint8))
    assert open_volume(tmp_path / "b.nrrd").geometry.voxel_size == (None, None, None)


@pytest.mark.parametrize("encoding", ["gzip", "bzip2"])
@pytest.mark.parametrize("endian", ["little", "big"])
def test_nrrd_by_pynrrd(tmp_path: Path, encoding: str, endian: str) -> None:
    array = make("uint16").array
    path = str(tmp_path / "a.nrrd")
    nrrd.write(path, array.T, {"encoding": encoding, "endian": endian})
    np.testing.assert_array_equal(open_volume(path).read(slice(None)), array)


def test_nrrd_ascii_is_refused(tmp_path: Path) -> None:
    nrrd.write(str(tmp_path / "a.nrrd"), np.zeros((4, 3, 2), np.uint8), {"encoding": "ascii"})
    with pytest.raises(InputError, match="ascii"):
        open_volume(tmp_path / "a.nrrd")


@pytest.mark.parametrize("unit", ["mm", "micron", "meter"])
@pytest.mark.parametrize("dtype", ["<i2", ">i2"])
def test_nifti_by_nibabel(tmp_path: Path, unit: str, dtype: str) -> None:
    array = make("int16").array
    affine = np.diag([-2.0, -3.0, 4.0, 1.0])
    affine[:3, 3] = (7, 8, 9)
    image: Any = nibabel.Nifti1Image(array.T.astype(dtype), affine)
    image.header.set_xyzt_units(unit)
    image.header.set_slope_inter(0.25, -100)
    image.to_filename(tmp_path / "a.nii")
    volume = open_volume(tmp_path / "a.nii")
    um = {"mm": 1000.0, "micron": 1.0, "meter": 1e6}[unit]
    assert volume.geometry.voxel_size == (4 * um, 3 * um, 2 * um)
    assert volume.geometry.origin == (9 * um, -8 * um, -7 * um)
    assert volume.geometry.direction == ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    loaded: Any = nibabel.load(tmp_path / "a.nii")
    stored = volume.read(slice(None))
    physical = stored * volume.intensity_scale + volume.intensity_offset
    np.testing.assert_allclose(physical, loaded.get_fdata().T)


def test_nifti_in_colour_or_time_is_refused(tmp_path: Path) -> None:
    nibabel.Nifti1Image(np.zeros((3, 4, 5, 2), np.uint8), np.eye(4)).to_filename(tmp_path / "a.nii")
    with pytest.raises(InputError, match="3 axes"):
        open_volume(tmp_path / "a.nii")
    rgb = np.zeros((3, 4, 5), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.Nifti1Image(rgb, np.eye(4)).to_filename(tmp_path / "b.nii")
    with pytest.raises(InputError, match="one real number"):
        open_volume(tmp_path / "b.nii")


@pytest.mark.parametrize("version", [2, 3])
def test_plain_zarr(tmp_path: Path, version: Any) -> None:
    array = make("int16").array
    store = zarr.create_array(
        tmp_path / "a.zarr", shape=array.shape, dtype=">i2", chunks=(2, 10, 10), zarr_format=version
    )
    store[:] = array
    volume = reopen(open_volume(tmp_path / "a.zarr"))
    assert (volume.chunks, volume.dtype) == ((2, 10, 10), np.int16)
    np.testing.assert_array_equal(volume.read(slice(1, 5), slice(9, 21)), array[1:5, 9:21])
    assert volume.read(slice(0, 1)).dtype.isnative


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_of_others(tmp_path: Path, version: str) -> None:
    array = make("uint8").array
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2 if version == "0.4" else 3)
    group.create_array("s0", data=array[np.newaxis, np.newaxis])
    axes = [{"name": n, "type": t} for n, t in (("t", "time"), ("c", "channel"))]
    axes += [{"name": n, "type": "space", "unit": "millimeter"} for n in "zyx"]
    steps = [
        {"type": "scale", "scale": [1, 1, 0.004, 0.003, 0.002]},
        {"type": "translation", "translation": [0, 0, 1, 2, 3]},
    ]
    whole = [{"type": "scale", "scale": [1, 1, 2, 2, 2]}]
    ome = {
        "version": version,
        "multiscales": [
            {
                "axes": axes,
                "datasets": [{"path": "s0", "coordinateTransformations": steps}],
                "coordinateTransformations": whole,
            }
        ],
    }
    group.attrs.update(ome if version == "0.4" else {"ome": ome})
    volume = open_volume(tmp_path / "a.zarr")
    np.testing.assert_allclose(volume.geometry.voxel_size, (8, 6, 4))  # type: ignore[arg-type]
    np.testing.assert_allclose(volume.geometry.origin, (2000, 4000, 6000))
    np.testing.assert_array_equal(volume.read(slice(None)), array)


def test_zarr_groups_and_channels_are_refused(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "a.zarr")
    group.create_array("image", data=np.zeros((3, 2, 2, 2), np.uint8))
    with pytest.raises(InputError, match="image"):
        open_volume(tmp_path / "a.zarr")
    with pytest.raises(InputError, match="3 axes"):
        open_volume(tmp_path / "a.zarr" / "image")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["bool", ">i4", "int64", "float16"])
def test_npy(tmp_path: Path, dtype: str, order: Any) -> None:
    array = (np.random.default_rng(0).random((5, 37, 23)) * 2).astype(dtype)
    np.save(tmp_path / "a.npy", np.asarray(array, order=order))
    volume = open_volume(tmp_path / "a.npy")
    got = volume.read(slice(1, 4), slice(3, 30), slice(2, 9))
    np.testing.assert_array_equal(got, array[1:4, 3:30, 2:9])
    assert (
        got.dtype
        == volume.dtype
        == ("uint8" if dtype == "bool" else np.dtype(dtype).newbyteorder("="))
    )
    assert got.flags.c_contiguous


def test_npy_of_objects_or_complex_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[{}]]), allow_pickle=True)
    with pytest.raises(InputError, match="Python objects"):
        open_volume(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.zeros((2, 3, 4), complex))
    with pytest.raises(InputError, match="complex"):
        open_volume(tmp_path / "b.npy")


def dicom(tmp_path: Path, **changes: Any) -> Path:
    volume = make("int16")
    with open_writer(tmp_path / "s", like=volume, dtype="int16", format="dicom") as writer:
        writer.write(0, volume.array)
    for number, file in enumerate(sorted((tmp_path / "s").glob("*.dcm"))):
        data = pydicom.dcmread(file)
        for name, value in changes.items():
            setattr(data, name, value(number, data))
        # Names must not matter.
        data.save_as(tmp_path / "s" / f"{9 - number}", enforce_file_format=True)
        file.unlink()
    return tmp_path / "s"


def test_dicom_is_sorted_by_position(tmp_path: Path) -> None:
    path = dicom(tmp_path, InstanceNumber=lambda n, d: 100 - n, RescaleType=lambda n, d: "HU")
    volume = open_volume(path)
    assert (detect_format(path), volume.intensity_unit) == ("dicom", "HU")
    check(volume, make("int16").array)


def test_dicom_two_series_are_listed(tmp_path: Path) -> None:
    path = dicom(
        tmp_path,
        SeriesInstanceUID=lambda n, d: f"1.2.{n % 2}",
        SeriesDescription=lambda n, d: ("scout", "bone")[n % 2],
    )
    with pytest.raises(InputError, match=r"2 DICOM series") as error:
        open_volume(path)
    assert "'bone' (2 files" in error.value.what
    assert "'scout' (3 files" in error.value.what


def test_dicom_copies_and_gaps(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a")
    (path / "copy").write_bytes((path / "7").read_bytes())
    with pytest.raises(InputError, match="same place"):
        open_volume(path)
    (path / "copy").unlink()
    (path / "7").unlink()
    with pytest.warns(OsteonWarning, match="uneven-slices"):
        open_volume(path)


def test_dicom_scales_that_differ_are_refused(tmp_path: Path) -> None:
    path = dicom(tmp_path, RescaleSlope=lambda n, d: n + 1)
    with pytest.raises(InputError, match="intensity scale"):
        open_volume(path)


def test_dicom_keeps_nothing_of_the_patient(tmp_path: Path) -> None:
    path = dicom(tmp_path, PatientName=lambda n, d: "Mustermann", KVP=lambda n, d: 70)
    said = open_volume(path).provenance
    assert float(said["KVP"]) == 70
    assert "Mustermann" not in str(said)


def test_gzip_members_one_after_the_other(tmp_path: Path) -> None:
    array = make("int16").array
    with open_writer(tmp_path / "a.nii", like=make("int16"), dtype="int16") as writer:
        writer.write(0, array)
    raw = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(raw[:5000]) + gzip.compress(raw[5000:]))
    np.testing.assert_array_equal(open_volume(tmp_path / "b.nii.gz").read(slice(None)), array)


def test_bzip2_in_many_pieces(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 4, (40, 200, 500), dtype=np.uint8)
    head = b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 500 200 40\nencoding: bzip2\n\n"
    half = array.nbytes // 2
    data = bz2.compress(array.tobytes()[:half]) + bz2.compress(array.tobytes()[half:])
    (tmp_path / "a.nrrd").write_bytes(head + data)
    np.testing.assert_array_equal(open_volume(tmp_path / "a.nrrd").read(slice(None)), array)


def test_the_cache_follows_the_file(tmp_path: Path) -> None:
    for value in (1, 2):
        array = np.full((3, 4, 5 + value), value, np.uint8)
        nrrd.write(str(tmp_path / "a.nrrd"), array.T)
        np.testing.assert_array_equal(open_volume(tmp_path / "a.nrrd").read(slice(None)), array)
    assert len(clear_cache()) == 2
    np.testing.assert_array_equal(open_volume(tmp_path / "a.nrrd").read(slice(None)), array)


def test_a_cache_that_lost_a_file_is_made_again(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(1, 9, (3, 300, 300), dtype=np.uint8)
    nrrd.write(str(tmp_path / "a.nrrd"), array.T)
    np.testing.assert_array_equal(open_volume(tmp_path / "a.nrrd").read(slice(None)), array)
    next(cache_folder().rglob("c/0/0/0")).unlink()
    np.testing.assert_array_equal(open_volume(tmp_path / "a.nrrd").read(slice(None)), array)


def test_content_counts_more_than_the_suffix(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", make("uint8").array)
    (tmp_path / "a.npy").rename(tmp_path / "a.nrrd")
    assert detect_format(tmp_path / "a.nrrd") == "npy"


READ_ELSEWHERE = """
import pickle, sys, hashlib
volume = pickle.load(open(sys.argv[1], "rb"))
print(hashlib.sha256(volume.read(slice(None)).tobytes()).hexdigest())
"""


def test_volumes_are_read_in_another_process(tmp_path: Path) -> None:
    import hashlib

    volume = make("uint8")
    for name in ("s", "a.tif", "a.zarr", "a.nrrd", "a.nii.gz", "a.dcm"):
        with open_writer(tmp_path / name, like=volume) as writer:
            writer.write(0, volume.array)
        opened = open_volume(tmp_path / name)
        opened.read(slice(0, 1))  # whatever is kept open must not travel
        (tmp_path / "volume.pickle").write_bytes(pickle.dumps(opened))
        if name not in ("a.tif", "a.nii.gz"):  # the others take the same way, in this process
            again = reopen(opened)
            np.testing.assert_array_equal(again.read(slice(None)), volume.array)
            continue
        command = [sys.executable, "-c", READ_ELSEWHERE, str(tmp_path / "volume.pickle")]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert printed.strip() == hashlib.sha256(volume.array.tobytes()).hexdigest()


@pytest.mark.parametrize("name", ["s", "a.tif", "a.zarr", "a.nrrd", "a.nii.gz", "a.dcm", "a.npy"])
def test_threads_read_the_same(tmp_path: Path, name: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from osteon.labels import BONE_PORES

    volume = make("uint8", (12, 40, 50))
    with open_writer(tmp_path / name, like=volume, labels=BONE_PORES) as writer:
        writer.write(0, volume.array)
    opened = open_volume(tmp_path / name)
    rng = np.random.default_rng(3)
    corners = [tuple(int(v) for v in rng.integers(0, (10, 30, 40))) for _ in range(60)]

    def read(corner: tuple[int, ...]) -> bool:
        z, y, x = (slice(a, a + n) for a, n in zip(corner, (2, 10, 10), strict=True))
        return bool(np.array_equal(opened.read(z, y, x), volume.array[z, y, x]))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, corners))
