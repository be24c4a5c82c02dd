from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import tifffile

from osteon.datasets import Manifest, ScanRow, open_pair, open_pairs
from osteon.errors import InputError, OsteonWarning
from osteon.labels import BONE_PORES

from .conftest import phantom

IMAGE, LABELS = phantom()
ALL = slice(None)


def read(pair) -> np.ndarray:
    return pair.labels.read(ALL)


def test_labels_pass_unchanged_and_in_parts(pair) -> None:
    made = pair(IMAGE, LABELS)
    np.testing.assert_array_equal(read(made), LABELS)
    part = made.labels.read(slice(2, 5), slice(7, 30), slice(0, 9))
    np.testing.assert_array_equal(part, LABELS[2:5, 7:30, :9])
    assert made.labels.dtype == part.dtype == np.uint8
    assert made.labelled == tuple(range(6))
    assert made.labels.geometry == made.image.geometry


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32"])
def test_remap_in_every_type(pair, dtype: str) -> None:
    raw = np.choose(LABELS, [0, 120, 7]).astype(dtype)
    raw[0, 0, :5] = 33
    made = pair(IMAGE, raw, remap={"120": "bone", "7": "pores", "33": "ignore"})
    expected = LABELS.copy()
    expected[0, 0, :5] = 255
    np.testing.assert_array_equal(read(made), expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_values_that_are_no_class_name_the_remap(pair, dtype: str) -> None:
    raw = (LABELS == 1).astype(dtype) * 255
    with pytest.raises(InputError) as error:
        pair(IMAGE, raw).labels.read(slice(3, 4))
    text = str(error.value)
    for words in ("'one'", "no class: 255", "slice 3", 'remap = { "255" = "bone" }', "ignore"):
        assert words in text


def test_in_a_block_the_slice_that_is_wrong_is_named(pair) -> None:
    raw = LABELS.copy()
    raw[4, 2, 3], raw[5, 0, 0] = 77, 99
    with pytest.raises(InputError, match=r"no class: 77\n.*slice 4"):
        pair(IMAGE, raw).labels.read(slice(1, 6))


def test_neighbouring_slices_of_the_mask_are_read_together(pair, monkeypatch) -> None:
    # Mask slices 0 1 2 | 3 | 4 5 lie on image slices 0 1 2, 4 and 6 7.
    image = np.concatenate([IMAGE, IMAGE])
    made = pair(image, LABELS, mask_slices=(0, 1, 2, 4, 6, 7))
    whole = read(made)
    expected = np.full(image.shape, 255, np.uint8)
    expected[[0, 1, 2, 4, 6, 7]] = LABELS
    np.testing.assert_array_equal(whole, expected)
    asked = []
    plain = made.labels.mask.read

    def watched(z, y=ALL, x=ALL):
        asked.append((z.start, z.stop))
        return plain(z, y, x)

    monkeypatch.setattr(made.labels.mask, "read", watched)
    part = made.labels.read(slice(1, 9), slice(3, 9), slice(5, 40))
    np.testing.assert_array_equal(part, whole[1:9, 3:9, 5:40])
    assert asked == [(1, 3), (3, 4), (4, 6)]


def test_a_grey_picture_as_mask_lists_only_some_values(pair) -> None:
    with pytest.raises(InputError, match=r"no class: .* and \d+ more"):
        read(pair(IMAGE, IMAGE))


def test_fractions_and_nan_are_no_class(pair) -> None:
    raw = LABELS.astype(np.float32)
    raw[1, 2, 3], raw[1, 2, 4] = 0.5, np.nan
    with pytest.raises(InputError, match=r"no class: 0\.5, nan"):
        read(pair(IMAGE, raw))


def test_only_some_slices_by_number(pair) -> None:
    made = pair(IMAGE, LABELS[2:4], mask_first=2, mask_slices="number")
    expected = np.full_like(LABELS, 255)
    expected[2:4] = LABELS[2:4]
    np.testing.assert_array_equal(read(made), expected)
    assert made.labelled == (2, 3)


def test_only_some_slices_by_index(pair) -> None:
    made = pair(IMAGE, LABELS[[5, 1]], mask_slices=[5, 1])
    expected = np.full_like(LABELS, 255)
    expected[[1, 5]] = LABELS[[1, 5]]
    np.testing.assert_array_equal(read(made), expected)
    assert made.labelled == (1, 5)


def test_a_gap_in_the_mask_s_numbers_is_no_surprise(tmp_path: Path) -> None:
    for name, array, numbers in (("scan", IMAGE, range(6)), ("mask", LABELS, (0, 3, 5))):
        (tmp_path / name).mkdir()
        for z in numbers:
            tifffile.imwrite(tmp_path / name / f"{z}.tif", array[z])
    row = ScanRow(name="a", specimen="a", image="scan", mask="mask", mask_slices="number")
    manifest = Manifest(BONE_PORES, (row,), tmp_path / "m.toml")
    assert open_pair(manifest, row).labelled == (0, 3, 5)
    (tmp_path / "scan" / "4.tif").unlink()
    with pytest.warns(OsteonWarning, match="gap-in-numbering"):
        open_pair(manifest, row)
    open_pair(manifest, row.model_copy(update={"contiguous": False}))


def test_a_cropped_mask_by_its_origin(pair) -> None:
    made = pair(IMAGE, LABELS[1:4, 10:30, 5:25], mask_origin=[1, 10, 5])
    expected = np.full_like(LABELS, 255)
    expected[1:4, 10:30, 5:25] = LABELS[1:4, 10:30, 5:25]
    np.testing.assert_array_equal(read(made), expected)
    # Parts that hold the crop, cut it and miss it.
    for box in [(ALL, ALL, ALL), (ALL, slice(5, 20), slice(8, 40)), (ALL, slice(35, 40), ALL)]:
        np.testing.assert_array_equal(made.labels.read(*box), expected[box])
    assert made.labelled == (1, 2, 3)


def itk(path: Path, array: np.ndarray, origin: tuple[float, float, float]) -> str:
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing((0.02, 0.02, 0.03))  # x, y, z in mm
    image.SetOrigin(origin)
    SimpleITK.WriteImage(image, str(path))
    return path.name


@pytest.mark.parametrize("at", [(1, 10, 5), (2, 7, 3), (0, 13, 11), (3, 9, 23)])
def test_a_cropped_mask_by_the_origin_in_its_file(tmp_path: Path, at: tuple) -> None:
    start = SimpleITK.GetImageFromArray(IMAGE)
    start.SetSpacing((0.02, 0.02, 0.03))
    start.SetOrigin((1.0, -2.0, 3.0))
    box = tuple(slice(a, a + n) for a, n in zip(at, (3, 20, 20), strict=True))
    corner = start.TransformIndexToPhysicalPoint(at[::-1])
    corner = tuple(c - 1e-3 for c in corner)  # files round: a twentieth of a voxel is allowed
    row = ScanRow(
        name="a",
        specimen="a",
        image=itk(tmp_path / "scan.nrrd", IMAGE, (1.0, -2.0, 3.0)),
        mask=itk(tmp_path / "mask.nrrd", LABELS[box], corner),
    )
    made = open_pair(Manifest(BONE_PORES, (row,), tmp_path / "m.toml"), row)
    expected = np.full_like(LABELS, 255)
    expected[box] = LABELS[box]
    np.testing.assert_array_equal(read(made), expected)


def test_an_origin_between_voxels_is_not_guessed(tmp_path: Path) -> None:
    row = ScanRow(
        name="a",
        specimen="a",
        image=itk(tmp_path / "scan.nrrd", IMAGE, (1.0, -2.0, 3.0)),
        mask=itk(tmp_path / "mask.nrrd", LABELS[1:4], (1.01, -2.0, 3.03)),
    )
    with pytest.raises(InputError, match="mask_origin or mask_slices"):
        open_pair(Manifest(BONE_PORES, (row,), tmp_path / "m.toml"), row)


def test_slices_limit_what_is_labelled(pair) -> None:
    made = pair(IMAGE, LABELS, slices=[1, 4])
    assert made.labelled == (1, 2, 3)
    assert (made.labels.read(slice(4, 6)) == 255).all()
    with pytest.raises(InputError, match=r"has 6 slices; the manifest asks for 2\.\.7"):
        pair(IMAGE, LABELS, slices=[2, 7])


@pytest.mark.parametrize(
    ("mask", "entries", "words"),
    [
        (LABELS[:, :30], {}, ("(6, 30, 48)", "(6, 40, 48)", "mask_origin")),
        (LABELS.transpose(1, 0, 2), {}, ("(40, 6, 48)", "as (y, z, x) the mask would fit")),
        (LABELS.transpose(0, 2, 1), {}, ("as (z, x, y) the mask would fit",)),
        (LABELS[:2], {}, ('mask_slices = "number"',)),
        (LABELS, {"mask_origin": [0, 1, 0]}, ("reaches beyond the scan", "(6, 40, 48)")),
        (LABELS[:3], {"mask_origin": [-1, 0, 0]}, ("reaches beyond the scan",)),
        (LABELS[:2], {"mask_slices": [0, 1, 2]}, ("3 indexes up to 2", "2 slices")),
        (LABELS[:2], {"mask_slices": [0, 6]}, ("up to 6", "the scan 6")),
        (LABELS[:2, :9], {"mask_slices": [0, 1]}, ("(2, 9, 48)",)),
        (
            LABELS[:2],
            {"mask_slices": "number", "mask_first": 5},
            ("slice 6 that the scan has not",),
        ),
    ],
)
def test_masks_that_do_not_fit(pair, mask: np.ndarray, entries: dict, words: tuple) -> None:
    with pytest.raises(InputError) as error:
        pair(IMAGE, mask, **entries)
    for word in words:
        assert word in str(error.value)


def test_slices_without_numbers_cannot_be_matched(tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", LABELS)
    np.save(tmp_path / "scan.npy", IMAGE)
    row = ScanRow(name="a", specimen="a", image="scan.npy", mask="mask.npy", mask_slices="number")
    with pytest.raises(InputError, match="its scan has no numbers"):
        open_pair(Manifest(BONE_PORES, (row,), tmp_path / "m.toml"), row)


@pytest.mark.parametrize("entry", ["image", "mask"])
def test_missing_and_damaged_files_say_whose(tmp_path: Path, entry: str) -> None:
    np.save(tmp_path / "good.npy", LABELS)
    (tmp_path / "bad.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "empty").mkdir()
    what = "the scan 'a'" if entry == "image" else "the mask of scan 'a'"
    for name in ("none.npy", "bad.npy", "empty"):
        entries = {"image": "good.npy", "mask": "good.npy"} | {entry: name}
        row = ScanRow(name="a", specimen="a", **entries)
        with pytest.raises(InputError) as error:
            open_pair(Manifest(BONE_PORES, (row,), tmp_path / "m.toml"), row)
        assert what in error.value.what
        assert name in str(error.value.where)


def test_a_stated_voxel_size_replaces_the_file_s(pair) -> None:
    made = pair(IMAGE, LABELS, voxel_size_um=39)
    assert made.image.geometry.voxel_size == (39, 39, 39)
    assert made.labels.geometry.voxel_size == (39, 39, 39)
    again = pickle.loads(pickle.dumps(made))  # noqa: S301
    assert again.image.geometry.voxel_size == (39, 39, 39)
    np.testing.assert_array_equal(again.image.read(ALL), IMAGE)
    assert pair(IMAGE, voxel_size_um=[3, 2, 1]).image.geometry.voxel_size == (3, 2, 1)


def test_pairs_pickle(pair) -> None:
    made = pair(IMAGE, LABELS[:2], mask_slices=[3, 1], derive_pores=False)
    again = pickle.loads(pickle.dumps(made))  # noqa: S301
    np.testing.assert_array_equal(read(again), read(made))


def test_a_scan_without_mask(pair, tmp_path: Path) -> None:
    made = pair(IMAGE)
    assert made.labels is None
    assert made.labelled == ()
    manifest = Manifest(BONE_PORES, (made.row,))
    with pytest.raises(InputError, match="no scan of the dataset has a mask"):
        open_pairs(manifest)
    with pytest.raises(InputError, match="'one' has no mask"):
        open_pairs(manifest, ["one"])


def test_pores_are_derived_and_said(pair) -> None:
    bone = (LABELS == 1).astype(np.uint8)
    made = pair(IMAGE, bone, derive_pores=True)
    np.testing.assert_array_equal(read(made), LABELS)
    # A part is the same part of the whole slice.
    np.testing.assert_array_equal(
        made.labels.read(slice(1, 3), slice(14, 20), slice(20, 40)), LABELS[1:3, 14:20, 20:40]
    )
    assert "pores derived from bone" in made.labels.provenance["pores"]
    with pytest.raises(InputError, match="has pores already"):
        read(pair(IMAGE, LABELS, derive_pores=True))
