"""What is written is re-read by another library: equal voxels, spacing, origin, direction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import nibabel
import nrrd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import tifffile
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader

from osteon.formats import open_volume, open_writer
from osteon.labels import BONE_PORES
from osteon.volume import UNKNOWN_SIZE, Array, ArrayVolume, Geometry

from .cases import GEOMETRY, make

ALL = ("uint8", "int8", "uint16", "int16", "uint32", "float32", "float64")
SMALL = ("uint8", "uint16", "int16", "float32")
SPACING_MM = np.array(GEOMETRY.voxel_size[::-1], dtype=float) / 1000
ORIGIN_MM = np.array(GEOMETRY.origin[::-1]) / 1000
DIRECTION = np.array(GEOMETRY.direction)[::-1, ::-1]


def write(path: Path, volume: ArrayVolume, **more: Any) -> Path:
    array = volume.array
    with open_writer(path, like=volume, dtype=array.dtype, **more) as writer:
        writer.write(0, array[:2])
        writer.write(2, array[2:])
    return path


def check_itk(image: sitk.Image, array: Array, *, tolerance: float = 1e-12) -> None:
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), array)
    assert sitk.GetArrayFromImage(image).dtype == array.dtype
    np.testing.assert_allclose(image.GetSpacing(), SPACING_MM, rtol=tolerance)
    np.testing.assert_allclose(image.GetOrigin(), ORIGIN_MM, rtol=tolerance, atol=tolerance)
    turn = np.array(image.GetDirection()).reshape(3, 3)
    np.testing.assert_allclose(turn, DIRECTION, atol=max(tolerance, 1e-9))


def check_own(path: Path, array: Array, *, tolerance: float = 1e-12) -> None:
    volume = open_volume(path)
    assert volume.dtype == array.dtype
    np.testing.assert_array_equal(volume.read(slice(None)), array)
    part = volume.read(slice(1, 4), slice(5, 30), slice(2, 17))
    np.testing.assert_array_equal(part, array[1:4, 5:30, 2:17])
    got = volume.geometry
    np.testing.assert_allclose(got.voxel_size, GEOMETRY.voxel_size, rtol=1e-12)  # type: ignore[arg-type]
    np.testing.assert_allclose(got.origin, GEOMETRY.origin, rtol=tolerance)
    np.testing.assert_allclose(got.direction, GEOMETRY.direction, atol=max(tolerance, 1e-9))


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr", ".mha", ".mhd"])
def test_itk_formats(tmp_path: Path, suffix: str, dtype: str) -> None:
    volume = make(dtype)
    path = write(tmp_path / f"scan{suffix}", volume)
    check_itk(sitk.ReadImage(str(path)), volume.array)
    check_own(path, volume.array)


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti(tmp_path: Path, suffix: str, dtype: str) -> None:
    volume = make(dtype)
    path = write(tmp_path / f"scan{suffix}", volume)
    check_itk(sitk.ReadImage(str(path)), volume.array, tolerance=1e-6)  # NIfTI-1 keeps float32
    image: Any = nibabel.load(path)
    np.testing.assert_array_equal(np.asanyarray(image.dataobj).T, volume.array)
    to_ras = np.diag([-1, -1, 1])
    np.testing.assert_allclose(
        image.affine[:3, :3], to_ras @ (DIRECTION * SPACING_MM), rtol=1e-6, atol=1e-9
    )
    np.testing.assert_allclose(image.affine[:3, 3], to_ras @ ORIGIN_MM, rtol=1e-6)
    assert image.header.get_xyzt_units()[0] == "mm"
    check_own(path, volume.array, tolerance=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_dicom(tmp_path: Path, dtype: str) -> None:
    volume = make(dtype)
    path = write(tmp_path / "scan.dcm", volume)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(path)))
    image = reader.Execute()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), volume.array)
    np.testing.assert_allclose(image.GetSpacing(), SPACING_MM, rtol=1e-6)
    np.testing.assert_allclose(image.GetOrigin(), ORIGIN_MM, rtol=1e-9)
    np.testing.assert_allclose(np.array(image.GetDirection()).reshape(3, 3), DIRECTION, atol=1e-6)
    check_own(path, volume.array, tolerance=1e-9)


@pytest.mark.parametrize("labels", [None, BONE_PORES])
@pytest.mark.parametrize("dtype", ALL)
def test_tiff(tmp_path: Path, dtype: str, labels: Any) -> None:
    volume = make(dtype)
    path = write(tmp_path / "scan.tif", volume, labels=labels)
    np.testing.assert_array_equal(tifffile.imread(path), volume.array)
    with tifffile.TiffFile(path) as tif:
        assert tif.is_ome
        assert tif.series[0].axes == "ZYX"
        pixels = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]["Pixels"]
        sizes = [pixels[f"PhysicalSize{a}"] for a in "ZYX"]
        assert sizes == list(GEOMETRY.voxel_size)
        assert {pixels[f"PhysicalSize{a}Unit"] for a in "ZYX"} == {"µm"}
        top, bottom = tif.pages[0].tags["XResolution"].value
        assert top / bottom == pytest.approx(1e4 / 7.1, rel=1e-6)
    np.testing.assert_array_equal(iio.imread(path, plugin="tifffile", index=None), volume.array)
    check_own(path, volume.array)


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [(".tif", d) for d in SMALL] + [(".png", "uint8"), (".png", "uint16"), (".bmp", "uint8")],
)
def test_slices(tmp_path: Path, suffix: str, dtype: str) -> None:
    volume = make(dtype)
    path = write(tmp_path / "scan", volume, slice_suffix=suffix)
    files = sorted(path.glob(f"*{suffix}"))
    assert [f.stem for f in files] == ["0000", "0001", "0002", "0003", "0004"]
    again = [sitk.GetArrayFromImage(sitk.ReadImage(str(f))) for f in files]
    if suffix == ".bmp":  # ITK shows the palette of greys as three channels
        assert all(np.array_equal(a[..., 0], a[..., k]) for a in again for k in (1, 2))
        again = [a[..., 0] for a in again]
    np.testing.assert_array_equal(np.stack(again), volume.array)
    stated = json.loads((path / "osteon-volume.json").read_text())
    assert stated["voxel_size_um"] == list(GEOMETRY.voxel_size)
    check_own(path, volume.array)


@pytest.mark.parametrize("dtype", ALL)
def test_npy(tmp_path: Path, dtype: str) -> None:
    volume = make(dtype)
    path = write(tmp_path / "scan.npy", volume)
    np.testing.assert_array_equal(np.load(path, allow_pickle=False), volume.array)
    check_own(path, volume.array)


@pytest.mark.parametrize("dtype", ALL)
def test_zarr(tmp_path: Path, dtype: str) -> None:
    volume = make(dtype)
    path = write(tmp_path / "scan.zarr", volume)
    array: Any = zarr.open(path, mode="r")["0"]
    np.testing.assert_array_equal(array[:], volume.array)
    location: Any = parse_url(path)
    node = next(iter(Reader(location)()))
    np.testing.assert_array_equal(np.asarray(node.data[0]), volume.array)
    assert [a["name"] for a in node.metadata["axes"]] == ["z", "y", "x"]
    assert {a["unit"] for a in node.metadata["axes"]} == {"micrometer"}
    scale, shift = node.metadata["coordinateTransformations"][0]
    assert scale["scale"] == list(GEOMETRY.voxel_size)
    assert shift["translation"] == list(GEOMETRY.origin)
    check_own(path, volume.array)


def test_nrrd_header_by_pynrrd(tmp_path: Path) -> None:
    volume = make("uint16")
    data, header = nrrd.read(str(write(tmp_path / "scan.nrrd", volume)))
    np.testing.assert_array_equal(data.T, volume.array)
    assert header["space"] == "left-posterior-superior"
    np.testing.assert_allclose(header["space directions"].T, DIRECTION * SPACING_MM, rtol=1e-12)
    np.testing.assert_allclose(header["space origin"], ORIGIN_MM, rtol=1e-12)


FORMATS = ("scan", "scan.tif", "scan.zarr", "scan.nrrd", "scan.mha", "scan.nii", "scan.dcm",
           "scan.npy", "scan.nii.gz", "scan.nhdr", "scan.mhd")  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_class_names_and_colours_survive(tmp_path: Path, name: str) -> None:
    array = np.random.default_rng(0).integers(0, 3, (5, 9, 7), dtype=np.uint8)
    path = write(tmp_path / name, ArrayVolume(array, GEOMETRY), labels=BONE_PORES)
    volume = open_volume(path)
    assert volume.labels == BONE_PORES
    np.testing.assert_array_equal(volume.read(slice(None)), array)


def test_classes_as_other_programs_look_for_them(tmp_path: Path) -> None:
    volume = ArrayVolume(np.zeros((5, 9, 7), np.uint8), GEOMETRY)
    header = nrrd.read_header(str(write(tmp_path / "a.nrrd", volume, labels=BONE_PORES)))
    assert (header["Segment0_Name"], header["Segment0_LabelValue"]) == ("bone", "1")
    colour = [float(v) for v in header["Segment0_Color"].split()]
    np.testing.assert_allclose(colour, np.array([230, 159, 0]) / 255, atol=1e-5)
    store: Any = zarr.open(write(tmp_path / "a.zarr", volume, labels=BONE_PORES), mode="r")
    label = store.attrs["ome"]["image-label"]
    assert {"label-value": 2, "rgba": [86, 180, 233, 255]} in label["colors"]
    assert {"label-value": 2, "name": "pores"} in label["properties"]


@pytest.mark.parametrize("name", FORMATS)
def test_an_unknown_voxel_size_stays_unknown(tmp_path: Path, name: str) -> None:
    volume = ArrayVolume(make("uint8").array)
    again = open_volume(write(tmp_path / name, volume))
    assert again.geometry.voxel_size == UNKNOWN_SIZE
    np.testing.assert_array_equal(again.read(slice(None)), volume.array)


@pytest.mark.parametrize("name", ["scan.nrrd", "scan.mha", "scan.nii", "scan.dcm"])
def test_a_size_known_along_some_axes_is_not_guessed(tmp_path: Path, name: str) -> None:
    volume = ArrayVolume(make("uint8").array, Geometry((None, 5.0, 5.0)))
    with pytest.warns(UserWarning, match="voxel-size-not-written"):
        path = write(tmp_path / name, volume)
    assert open_volume(path).geometry.voxel_size == UNKNOWN_SIZE


@pytest.mark.parametrize("name", ["scan", "scan.tif", "scan.zarr", "scan.npy"])
def test_a_size_known_along_some_axes_survives(tmp_path: Path, name: str) -> None:
    volume = ArrayVolume(make("uint8").array, Geometry((None, 5.0, 4.0)))
    path = write(tmp_path / name, volume)
    assert open_volume(path).geometry.voxel_size == (None, 5.0, 4.0)


@pytest.mark.parametrize("name", ["s", "s.tif", "s.zarr", "s.npy", "s.nii", "s.mha", "s.dcm"])
def test_intensity_scale_survives(tmp_path: Path, name: str) -> None:
    volume = make("int16")
    volume.intensity_scale, volume.intensity_offset = 0.5, -1000.0
    again = open_volume(write(tmp_path / name, volume))
    assert (again.intensity_scale, again.intensity_offset) == (0.5, -1000.0)
    if name == "s.nii":
        image: Any = nibabel.load(tmp_path / name)
        np.testing.assert_array_equal(image.get_fdata().T, volume.array * 0.5 - 1000)
    if name == "s.dcm":
        data = pydicom.dcmread(tmp_path / name / "0000.dcm")
        assert (float(data.RescaleSlope), float(data.RescaleIntercept)) == (0.5, -1000.0)


def test_a_left_handed_frame(tmp_path: Path) -> None:
    turn = ((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    volume = ArrayVolume(make("uint8").array, Geometry((3.0, 2.0, 1.0), (5.0, 6.0, 7.0), turn))
    for name in ("a.nrrd", "a.mha", "a.nii"):
        path = write(tmp_path / name, volume)
        image = sitk.ReadImage(str(path))
        assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, -1)
        assert open_volume(path).geometry.direction == turn


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    shape=st.tuples(st.integers(2, 20), st.integers(1, 40), st.integers(1, 40)),
    name=st.sampled_from(FORMATS),
    dtype=st.sampled_from(("uint8", "uint16", "int16")),
    split=st.integers(1, 19),
)
def test_any_shape_in_any_blocks(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int, int],
    name: str,
    dtype: str,
    split: int,
) -> None:
    array = np.random.default_rng(sum(shape)).integers(0, 100, shape).astype(dtype)
    volume = ArrayVolume(array, GEOMETRY)
    path = tmp_path_factory.mktemp("any") / name
    with open_writer(path, like=volume, dtype=dtype) as writer:
        for start in range(0, shape[0], split):
            writer.write(start, array[start : start + split])
    again = open_volume(path)
    assert again.shape == shape
    np.testing.assert_array_equal(again.read(slice(None)), array)


@pytest.mark.parametrize("name", ["scan", "scan.zarr"])
def test_blocks_in_any_order(tmp_path: Path, name: str) -> None:
    volume = make("uint16", (41, 9, 11))
    with open_writer(tmp_path / name, like=volume, dtype="uint16") as writer:
        for start in (20, 3, 35, 0, 10):
            stop = {20: 35, 3: 10, 35: 41, 0: 3, 10: 20}[start]
            writer.write(start, volume.array[start:stop])
    np.testing.assert_array_equal(open_volume(tmp_path / name).read(slice(None)), volume.array)


def test_slices_keep_the_numbers_of_the_scan(tmp_path: Path) -> None:
    scan = tmp_path / "scan"
    scan.mkdir()
    for number in (7, 8, 9):
        tifffile.imwrite(scan / f"{number:05d}.tif", np.full((4, 5), number, np.uint8))
    volume = open_volume(scan)
    with open_writer(tmp_path / "labels", like=volume, labels=BONE_PORES) as writer:
        writer.write(0, np.zeros((3, 4, 5), np.uint8))
    assert open_volume(tmp_path / "labels").slice_numbers == (7, 8, 9)
