from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from osteon.datasets import Manifest, new_manifest, open_pairs
from osteon.datasets.remaps import propose_remap, propose_scheme
from osteon.errors import InputError, OsteonWarning, UsageError
from osteon.labels import BONE_PORES, LabelScheme

from .conftest import phantom, write_slices

IMAGE, LABELS = phantom()
TWO = LabelScheme(BONE_PORES.classes[:2])


def make(folder: Path, *names: str, labels: np.ndarray = LABELS) -> Path:
    for name in names:
        write_slices(folder / name / "scan", IMAGE)
        write_slices(folder / name / "mask", labels)
    return folder


def test_folders_of_every_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "data", "m10_left", "m2_left", "m2_right")
    one = tmp_path / "data" / "m3_left"
    one.mkdir()
    np.save(one / "scan.npy", IMAGE)
    tifffile.imwrite(
        one / "mask.ome.tif", LABELS, photometric="minisblack", metadata={"axes": "ZYX"}
    )
    (one / "scan.log").write_text("")  # what lies beside is not a second scan
    monkeypatch.chdir(tmp_path)
    made = new_manifest(tmp_path / "data", specimen_regex=r"(m\d+)_")
    assert [row.name for row in made.scans] == ["m2_left", "m2_right", "m3_left", "m10_left"]
    assert [row.specimen for row in made.scans] == ["m2", "m2", "m3", "m10"]
    assert made.scans[0].image == "data/m2_left/scan"
    assert made.labels == BONE_PORES
    saved = made.save(tmp_path / "other" / "dataset.toml")
    assert saved.scans[0].image == "../data/m2_left/scan"
    for pair in open_pairs(Manifest.load(tmp_path / "other" / "dataset.toml")):
        np.testing.assert_array_equal(pair.labels.read(slice(None)), LABELS)


def test_a_series_of_slices_apart_is_not_taken_for_contiguous(tmp_path: Path) -> None:
    for name, numbers in {
        "apart": range(100, 150, 10),
        "whole": range(5),
        "one-missing": (1, 2, 4, 5, 6),
    }.items():
        for what, array in (("scan", IMAGE), ("mask", LABELS)):
            folder = tmp_path / name / what
            folder.mkdir(parents=True)
            for number, plane in zip(numbers, array, strict=False):
                tifffile.imwrite(folder / f"slice{number:04d}.tif", plane)
    with pytest.warns(OsteonWarning, match="contiguous = false") as said:
        made = new_manifest(tmp_path)
    assert {row.name: row.contiguous for row in made.scans} == {
        "apart": False,
        "one-missing": True,
        "whole": True,
    }
    assert len(said) == 1


def test_a_single_scan_s_folder(tmp_path: Path) -> None:
    make(tmp_path, "one")
    made = new_manifest(tmp_path / "one", contiguous=False)
    assert [(r.name, r.specimen, r.contiguous) for r in made.scans] == [("one", "one", False)]


def test_a_scan_without_mask_is_kept(tmp_path: Path) -> None:
    write_slices(tmp_path / "a" / "scan", IMAGE)
    assert new_manifest(tmp_path).scans[0].mask is None


def test_0_and_255_get_a_remap_that_works(tmp_path: Path) -> None:
    make(tmp_path, "a", labels=(LABELS == 1).astype(np.uint8) * 255)
    with pytest.warns(OsteonWarning, match=r"255 is bone.*\[remap-proposed\]"):
        made = new_manifest(tmp_path)
    assert made.labels.names == ("background", "bone")
    assert made.scans[0].remap == {"255": "bone"}
    assert "check it" in made.scans[0].notes
    saved = made.save(tmp_path / "d.toml")
    (pair,) = open_pairs(saved)
    np.testing.assert_array_equal(pair.labels.read(slice(None)), LABELS == 1)


def test_masks_of_some_slices_are_matched_by_number(tmp_path: Path) -> None:
    write_slices(tmp_path / "a" / "scan", IMAGE)
    write_slices(tmp_path / "a" / "mask", LABELS[3:5], first=3)
    made = new_manifest(tmp_path)
    assert made.scans[0].mask_slices == "number"
    (pair,) = open_pairs(made)
    assert pair.labelled == (3, 4)


@pytest.mark.parametrize(
    ("masks", "names", "remaps"),
    [
        ([{0, 1, 2}], 3, [{}]),
        ([{0, 1}], 2, [{}]),
        ([{0}], 3, [{}]),
        ([], 3, []),
        ([{0, 1}, {0, 2}], 3, [{}, {}]),
        ([{1, 2}], 3, [{}]),
        ([{0, 128, 255}], 3, [{"128": "bone", "255": "pores"}]),
        ([{0, 255}, {0, 1, 2}], 3, [{"255": "bone"}, {}]),
        ([{0, 1, 2, 255}], 3, [{"255": "ignore"}]),
        ([{0, 1, 3}], 3, [{"3": "pores"}]),
        ([{0, 1, 2, 3, 4}], 5, [{}]),
    ],
)
def test_proposals(masks: list[set], names: int, remaps: list[dict]) -> None:
    scheme = propose_scheme([frozenset(map(float, m)) for m in masks])
    assert len(scheme) == names
    assert [propose_remap(map(float, m), scheme) for m in masks] == remaps


def test_too_many_values_for_the_classes_propose_nothing() -> None:
    assert propose_remap([0.0, 7.0, 9.0], TWO) == {}


def error_of(kind: type, folder: Path, **more: str) -> str:
    with pytest.raises(kind) as error:
        new_manifest(folder, **more)
    return str(error.value)


def test_bad_folders(tmp_path: Path) -> None:
    assert "no such folder" in error_of(InputError, tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "no scans" in error_of(InputError, tmp_path / "empty")
    make(tmp_path / "twice", "a")
    np.save(tmp_path / "twice" / "a" / "scan.npy", IMAGE)
    assert "which is the scan: scan, scan.npy" in error_of(InputError, tmp_path / "twice")
    make(tmp_path / "grey", "a", labels=IMAGE)
    assert "grey image, or saved as JPEG" in error_of(InputError, tmp_path / "grey")
    make(tmp_path / "some", "a")
    (tmp_path / "some" / "b").mkdir()
    with pytest.warns(OsteonWarning, match="no scan in b"):
        assert len(new_manifest(tmp_path / "some").scans) == 1


def test_bad_expressions(tmp_path: Path) -> None:
    make(tmp_path, "a1")
    assert "expression for specimens is wrong" in error_of(UsageError, tmp_path, specimen_regex="(")
    assert "does not fit the scan 'a1'" in error_of(UsageError, tmp_path, specimen_regex="(b)")
