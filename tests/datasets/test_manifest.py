from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from osteon.datasets import Manifest, ScanRow
from osteon.errors import InputError, OutputError, UsageError
from osteon.labels import BONE_PORES

WHOLE = """
schema = 1

[[scans]]
name = "a"
image = "a/scan"
mask = "../masks/a.nrrd"
specimen = "A"
contiguous = false
remap = { "255" = "bone", "7" = "ignore" }
mask_slices = [0, 4, 9]
slices = [0, 10]
voxel_size_um = [20, 10.5, 10.5]
species = "mouse"

[[scans]]
name = "b"
image = "b.nrrd"
specimen = "B"
voxel_size_um = 39
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "dataset.toml"
    path.write_text(text, encoding="utf-8")
    return path


def error_of(folder: Path, text: str) -> str:
    with pytest.raises(InputError) as error:
        Manifest.load(write(folder, text))
    assert str(folder) in str(error.value.where)
    return str(error.value)


def test_every_entry_is_read(tmp_path: Path) -> None:
    manifest = Manifest.load(write(tmp_path, WHOLE))
    a, b = manifest.scans
    assert a == ScanRow(
        name="a",
        image="a/scan",
        mask="../masks/a.nrrd",
        specimen="A",
        contiguous=False,
        remap={"255": "bone", "7": "ignore"},
        mask_slices=(0, 4, 9),
        slices=(0, 10),
        voxel_size_um=(20.0, 10.5, 10.5),
        species="mouse",
    )
    assert (b.mask, b.contiguous, b.mask_slices, b.voxel_size_um) == (None, True, "all", 39.0)
    assert manifest.labels == BONE_PORES
    assert manifest.resolve(a.image) == tmp_path / "a" / "scan"


def test_what_is_saved_is_read_back_and_is_plain_toml(tmp_path: Path) -> None:
    manifest = Manifest.load(write(tmp_path, WHOLE))
    saved = manifest.save(tmp_path / "copy.toml")
    again = Manifest.load(tmp_path / "copy.toml")
    assert again == saved
    assert again.scans == manifest.scans
    plain = tomllib.loads((tmp_path / "copy.toml").read_text(encoding="utf-8"))
    assert plain["schema"] == 1
    assert [c["name"] for c in plain["labels"]["classes"]] == ["background", "bone", "pores"]
    assert set(plain["scans"][1]) == {"name", "image", "specimen", "contiguous", "voxel_size_um"}


def test_relative_paths_follow_the_manifest(tmp_path: Path) -> None:
    manifest = Manifest.load(write(tmp_path, WHOLE))
    moved = manifest.save(tmp_path / "deep" / "er" / "d.toml")
    assert moved.scans[0].image == "../../a/scan"
    assert moved.resolve(moved.scans[0].image).resolve() == (tmp_path / "a/scan").resolve()


def test_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    path = write(tmp_path, WHOLE)
    manifest = Manifest.load(path)
    with pytest.raises(OutputError, match="exists already"):
        manifest.save(path)
    assert path.read_text(encoding="utf-8") == WHOLE
    manifest.save(path, overwrite=True)
    assert Manifest.load(path).scans == manifest.scans
    assert [p.name for p in tmp_path.iterdir()] == ["dataset.toml"]


def test_an_unwritable_place(tmp_path: Path) -> None:
    manifest = Manifest.load(write(tmp_path, WHOLE))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        manifest.save(tmp_path / "file" / "d.toml")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("specimen = ", "speciman = ", ("no entry 'speciman'", "did you mean specimen", "scan a")),
        ("contiguous = false", "contigous = false", ("'contigous'", "did you mean contiguous?")),
        ('image = "b.nrrd"', "", ("entry 'image' is missing", "scan b")),
        ("schema = 1", "schema = 2", ("schema 2, this osteon reads 1", "update osteon")),
        ("schema = 1", "", ("does not say its schema",)),
        ("schema = 1", "schema = 1\nscan = 3", ("no entry 'scan'", "did you mean scans")),
        ('name = "b"', 'name = "a"', ("'a' is used for two scans",)),
        ('"255" = "bone"', '"255" = "bones"', ("no class 'bones'", "bone, pores, ignore")),
        ('"255" = "bone"', '"white" = "bone"', ("'white' is not a value of a mask",)),
        ("[0, 4, 9]", "[0, 4, 4]", ("mask_slices must be different",)),
        ("[0, 4, 9]", '"some"', ("mask_slices",)),
        ("slices = [0, 10]", "slices = [9, 3]", ("slices must be [first, last + 1]",)),
        ("voxel_size_um = 39", "voxel_size_um = -1", ("voxel size must be positive",)),
        ("contiguous = false", 'contiguous = "perhaps"', ("contiguous",)),
        ("slices = [0, 10]", "mask_origin = [0, 0, 0]", ("mask_origin and mask_slices",)),
        ("schema = 1", "schema = 1\n[labels]\ncolours = 3", ("no entry 'colours'",)),
        ("schema = 1", "schema = 1\n[labels]\nprotocol = 'x'", ("label scheme cannot be read",)),
        ("schema = 1", "schema = ", ("not valid TOML",)),
    ],
)
def test_each_mistake_is_named(tmp_path: Path, old: str, new: str, words: tuple[str, ...]) -> None:
    assert old in WHOLE
    text = error_of(tmp_path, WHOLE.replace(old, new, 1))
    for word in words:
        assert word in text


def test_missing_empty_or_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        Manifest.load(tmp_path / "none.toml")
    assert "lists no scans" in error_of(tmp_path, "schema = 1")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        Manifest.load(tmp_path / "binary.toml")
    with pytest.raises(InputError, match="cannot be read"):
        Manifest.load(tmp_path)


def test_a_scan_is_found_by_name(tmp_path: Path) -> None:
    manifest = Manifest.load(write(tmp_path, WHOLE))
    assert manifest.row("b").image == "b.nrrd"
    with pytest.raises(UsageError, match="no scan 'c'"):
        manifest.row("c")
