"""Folders of slices: order, numbers, grey values, the SkyScan log, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from osteon.errors import InputError, OsteonWarning
from osteon.formats import detect_format, open_volume
from osteon.formats.skyscan import parse_log
from osteon.volume import Access, Array, Volume

LOG = """[System]
Scanner=SkyScan1172
Camera=Hamamatsu C9300 \xb5m
[Acquisition]
Source Voltage (kV)= 80
Image Pixel Size (um)=13.54
[Reconstruction]
Section to Section Step={step}
Result Image Width (pixels)={width}
Pixel Size (um)={size}
[File name convention]
Filename Prefix=bone_
"""


def plane(value: int, shape: tuple[int, int] = (6, 9)) -> Array:
    array = np.arange(shape[0] * shape[1], dtype=np.uint8).reshape(shape)
    return np.asarray(array + np.uint8(value))


def fill(folder: Path, names: dict[str, Array]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, array in names.items():
        if name.endswith((".tif", ".tiff")):
            tifffile.imwrite(folder / name, array)
        else:
            Image.fromarray(array).save(folder / name)
    return folder


def voxels(volume: Volume) -> Array:
    return volume.read(slice(None))


def test_natural_order_and_numbers(tmp_path: Path) -> None:
    names = [f"scan2_{n}.tif" for n in (10, 9, 8, 11)]
    folder = fill(tmp_path / "s", {n: plane(k) for k, n in enumerate(names)})
    volume = open_volume(folder)
    assert volume.slice_numbers == (8, 9, 10, 11)
    assert voxels(volume)[:, 0, 0].tolist() == [2, 1, 0, 3]


def test_a_gap_is_a_named_warning(tmp_path: Path) -> None:
    folder = fill(tmp_path / "s", {f"{n:04d}.tif": plane(n) for n in (1, 2, 5)})
    with pytest.warns(OsteonWarning, match="gap-in-numbering") as caught:
        volume = open_volume(folder)
    assert caught[0].message.name == "gap-in-numbering"  # type: ignore[union-attr]
    assert "between 2 and 5" in str(caught[0].message)
    assert volume.slice_numbers == (1, 2, 5)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({"1.tif": plane(0), "2.tif": plane(0, (6, 8))}, "2.tif (6 × 8 uint8)"),
        ({"1.tif": plane(0), "2.tif": plane(0).astype("u2")}, "2.tif (6 × 9 uint16)"),
        ({"1.tif": plane(0), "2.tif": plane(0), "3.png": plane(0)}, "PNG: 3.png"),
        ({"a_1.tif": plane(0), "b_01.tif": plane(0)}, "a_1.tif, b_01.tif"),
        ({"1.tif": plane(0), "mean.tif": plane(0)}, "mean.tif"),
        ({"1.tif": np.zeros((5, 6, 9), np.uint8)}, "this TIFF has 5"),
    ],
)
def test_what_does_not_belong_together_is_named(
    tmp_path: Path, names: dict[str, Array], says: str
) -> None:
    with pytest.raises(InputError) as error:
        open_volume(fill(tmp_path / "s", names))
    assert says in error.value.what


@pytest.mark.parametrize("suffix", [".bmp", ".png", ".jpg", ".tif"])
def test_equal_channels_are_grey(tmp_path: Path, suffix: str) -> None:
    grey = np.full((16, 24), 37, np.uint8)  # constant: JPEG keeps it
    folder = fill(tmp_path / "s", {f"{n}{suffix}": np.stack([grey] * 3, -1) for n in (0, 1)})
    volume = open_volume(folder)
    assert (volume.shape, volume.dtype) == ((2, 16, 24), np.uint8)
    assert np.array_equal(voxels(volume), np.stack([grey, grey]))
    assert volume.access is Access.SLICE


def test_colours_are_converted_with_a_warning(tmp_path: Path) -> None:
    colour = np.zeros((6, 9, 3), np.uint8)
    colour[...] = (200, 100, 50)
    folder = fill(tmp_path / "s", {"0.png": colour})
    with pytest.warns(OsteonWarning, match="colour-slices"):
        volume = open_volume(folder)
    with pytest.warns(OsteonWarning, match="colour-slices"):
        assert voxels(volume)[0, 0, 0] == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)


def test_palettes(tmp_path: Path) -> None:
    indices = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    image = Image.fromarray(indices)
    for name, suffix, palette in (
        ("grey", "bmp", [255] * 3 + [9] * 3 + [7] * 3),
        ("map", "png", [0, 0, 0, 255, 0, 0, 9, 9, 9]),
    ):
        (tmp_path / name).mkdir()
        image.putpalette(palette)
        image.save(tmp_path / name / f"0.{suffix}")
    assert voxels(open_volume(tmp_path / "grey"))[0].tolist() == [[255, 9, 7], [7, 9, 255]]
    with pytest.warns(OsteonWarning, match="palette-indices"):
        volume = open_volume(tmp_path / "map")
    with pytest.warns(OsteonWarning, match="palette-indices"):
        assert np.array_equal(voxels(volume)[0], indices)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", ">u2"])
def test_uncompressed_and_compressed_tiff_agree(tmp_path: Path, dtype: str) -> None:
    array = (np.random.default_rng(1).random((3, 40, 50)) * 200).astype(dtype)
    order = ">" if dtype.startswith(">") else "<"
    for kind, compression in (("plain", None), ("packed", "zlib")):
        (tmp_path / kind).mkdir()
        for k in range(3):
            file = tmp_path / kind / f"{k}.tif"
            tifffile.imwrite(file, array[k], compression=compression, byteorder=order)
    plain, packed = open_volume(tmp_path / "plain"), open_volume(tmp_path / "packed")
    assert (plain.access, packed.access) == (Access.RANDOM, Access.SLICE)
    for volume in (plain, packed):
        part = volume.read(slice(1, 3), slice(5, 33), slice(7, 50))
        assert part.dtype == np.dtype(dtype).newbyteorder("=")
        assert part.dtype.isnative
        np.testing.assert_array_equal(part, array[1:3, 5:33, 7:50])


def test_bilevel_is_uint8(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).random((5, 11)) > 0.5
    fill(tmp_path / "s", {"0.tif": mask})
    fill(tmp_path / "p", {"0.png": mask})
    for folder in ("s", "p"):
        got = voxels(open_volume(tmp_path / folder))
        assert got.dtype == np.uint8
        assert np.array_equal(got[0], mask)


def skyscan(tmp_path: Path, numbers: range = range(3), **values: object) -> Path:
    folder = fill(tmp_path / "rec", {f"bone_rec{n:08d}.bmp": plane(n) for n in numbers})
    Image.fromarray(plane(0, (3, 3))).save(folder / "bone_rec_spr.bmp")
    said = {"step": 1, "width": 9, "size": 6.77} | values
    (folder / "bone_rec.log").write_text(LOG.format(**said), encoding="latin-1")
    (folder / "results.csv").write_text("a;b")
    (folder / "Thumbs.db").write_bytes(b"x")
    (folder / "._bone_rec00000000.bmp").write_bytes(b"x")
    return folder


def test_skyscan_log(tmp_path: Path) -> None:
    volume = open_volume(skyscan(tmp_path))
    assert volume.shape == (3, 6, 9)
    assert volume.geometry.voxel_size == (6.77, 6.77, 6.77)
    assert volume.provenance["Acquisition/Source Voltage (kV)"] == "80"
    assert volume.provenance["System/Camera"] == "Hamamatsu C9300 µm"
    assert volume.provenance["log"] == "bone_rec.log"
    np.testing.assert_array_equal(voxels(volume), np.stack([plane(n) for n in range(3)]))


def test_skyscan_step_explains_the_numbering(tmp_path: Path) -> None:
    volume = open_volume(skyscan(tmp_path, range(10, 16, 2), step=2))
    assert volume.geometry.voxel_size == (13.54, 6.77, 6.77)
    assert volume.slice_numbers == (10, 12, 14)


def test_skyscan_decimal_comma(tmp_path: Path) -> None:
    assert open_volume(skyscan(tmp_path, size="6,77")).geometry.voxel_size[0] == 6.77


def test_skyscan_width_that_differs_is_told(tmp_path: Path) -> None:
    with pytest.warns(OsteonWarning, match="skyscan-log-size-mismatch"):
        volume = open_volume(skyscan(tmp_path, width=18))
    assert volume.geometry.voxel_size[0] == 6.77


def test_logs_that_disagree_give_no_size(tmp_path: Path) -> None:
    folder = skyscan(tmp_path)
    (folder / "bone_rec.log").rename(folder / "one.log")
    (folder / "two.log").write_text(LOG.format(step=1, width=9, size=20.0), encoding="latin-1")
    with pytest.warns(OsteonWarning, match="ambiguous-skyscan-log"):
        volume = open_volume(folder)
    assert volume.geometry.voxel_size == (None, None, None)


def test_other_logs_are_no_skyscan_logs(tmp_path: Path) -> None:
    file = tmp_path / "run.log"
    file.write_text("12:00 started\nPixel Size (um)=3\n")
    assert parse_log(file) is None


@pytest.mark.parametrize(
    ("resolution", "unit", "size"),
    [
        ((72, 72), "INCH", None),
        ((96, 96), "INCH", None),
        ((37.795, 37.795), "CENTIMETER", None),
        ((1, 1), "INCH", None),
        ((1000, 1000), "NONE", None),
        ((2540, 2540), "INCH", 10.0),
        ((2000, 1000), "CENTIMETER", 10.0),
    ],
)
def test_resolution_tags(
    tmp_path: Path, resolution: tuple[float, float], unit: str, size: float | None
) -> None:
    (tmp_path / "s").mkdir()
    tifffile.imwrite(tmp_path / "s" / "0.tif", plane(0), resolution=resolution, resolutionunit=unit)
    z, y, x = open_volume(tmp_path / "s").geometry.voxel_size
    assert z is None
    assert y == size
    assert x == (size if size is None else size * resolution[1] / resolution[0])


def test_a_single_image_is_one_slice(tmp_path: Path) -> None:
    Image.fromarray(plane(3)).save(tmp_path / "a.png")
    volume = open_volume(tmp_path / "a.png")
    assert detect_format(tmp_path / "a.png") == "slices"
    np.testing.assert_array_equal(voxels(volume), plane(3)[np.newaxis])


def test_reopening_does_not_list_the_folder_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(tmp_path / "s", {f"{n}.png": plane(n) for n in range(4)})
    packed = pickle.dumps(open_volume(folder))
    fill(folder, {"9.png": plane(9)})
    monkeypatch.setattr("osteon.formats.slices.image_files", lambda folder: 1 / 0)
    again = pickle.loads(packed)  # noqa: S301
    np.testing.assert_array_equal(voxels(again), np.stack([plane(n) for n in range(4)]))


def test_a_slice_that_changed_is_told(tmp_path: Path) -> None:
    folder = fill(tmp_path / "s", {f"{n}.png": plane(n) for n in range(3)})
    volume = open_volume(folder)
    fill(folder, {"1.png": plane(1, (4, 4))})
    with pytest.raises(InputError, match="when the folder was opened"):
        voxels(volume)


def test_document_of_another_shape_is_told(tmp_path: Path) -> None:
    folder = fill(tmp_path / "s", {"0.png": plane(0)})
    text = '{"schema": 1, "shape": [2, 6, 9], "voxel_size_um": [3, 2, 1]}'
    (folder / "osteon-volume.json").write_text(text)
    with pytest.warns(OsteonWarning, match="document-mismatch"):
        assert open_volume(folder).geometry.voxel_size == (3, 2, 1)


@pytest.mark.parametrize("text", ["{", '{"schema": 2}', "[]", '{"schema": 1, "direction": 3}'])
def test_damaged_document(tmp_path: Path, text: str) -> None:
    folder = fill(tmp_path / "s", {"0.png": plane(0)})
    (folder / "osteon-volume.json").write_text(text)
    with pytest.raises(InputError) as error:
        open_volume(folder)
    assert error.value.mend is not None


def test_a_folder_of_folders_names_them(tmp_path: Path) -> None:
    fill(tmp_path / "scan", {"0.png": plane(0)})
    with pytest.raises(InputError) as error:
        open_volume(tmp_path)
    assert "scan" in str(error.value.mend)
