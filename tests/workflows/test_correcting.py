"""Reviewed slices become a dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from osteon.datasets import Manifest, open_pair
from osteon.errors import InputError, UsageError
from osteon.labels import BONE_PORES, IGNORE, LabelClass, LabelScheme
from osteon.workflows.correcting import Corrections

SHAPE = (5, 8, 9)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "mouse.npy"
    np.save(path, np.arange(np.prod(SHAPE), dtype=np.uint16).reshape(SHAPE))
    return path


def labels(value: int) -> np.ndarray:
    found = np.full(SHAPE[1:], value, np.uint8)
    found[0, :3] = [0, 1, IGNORE]
    return found


def test_a_fit_sees_the_reviewed_slices_alone(tmp_path: Path, scan: Path) -> None:
    kept = Corrections(tmp_path / "c")
    kept.add(scan, 3, labels(2))
    kept.add(scan, 0, labels(1))
    manifest = Manifest.load(tmp_path / "c" / "dataset.toml")
    pair = open_pair(manifest, manifest.scans[0])
    assert pair.labelled == (0, 3)
    assert pair.labels is not None
    seen = pair.labels.read(slice(0, 5))
    np.testing.assert_array_equal(seen[0], labels(1))
    np.testing.assert_array_equal(seen[3], labels(2))
    assert (seen[[1, 2, 4]] == IGNORE).all()


def test_a_slice_can_be_reviewed_again_and_taken_back(tmp_path: Path, scan: Path) -> None:
    kept = Corrections(tmp_path / "c")
    kept.add(scan, 3, labels(2))
    kept.add(scan, 3, labels(1))
    np.testing.assert_array_equal(kept.labels(scan, 3), labels(1))
    assert kept.reviewed(scan) == (3,)
    kept.remove(scan, 3)
    assert kept.reviewed(scan) == ()
    assert not (tmp_path / "c" / "dataset.toml").exists()
    with pytest.raises(InputError, match="slice 3 is not marked"):
        kept.labels(scan, 3)


def test_a_kill_between_slice_and_manifest_loses_nothing(tmp_path: Path, scan: Path) -> None:
    Corrections(tmp_path / "c").add(scan, 1, labels(1))
    # As if the window had been killed after the slice was written.
    tifffile.imwrite(tmp_path / "c" / "mouse" / "000004.tif", labels(2))
    assert Corrections(tmp_path / "c").reviewed(scan) == (1, 4)
    manifest = Manifest.load(tmp_path / "c" / "dataset.toml")
    assert open_pair(manifest, manifest.scans[0]).labelled == (1, 4)


def test_scans_of_one_name_do_not_mix(tmp_path: Path, scan: Path) -> None:
    other = tmp_path / "elsewhere" / "mouse.npy"
    other.parent.mkdir()
    other.write_bytes(scan.read_bytes())
    kept = Corrections(tmp_path / "c")
    kept.add(scan, 1, labels(1))
    kept.add(other, 2, labels(2))
    assert (kept.reviewed(scan), kept.reviewed(other), kept.count) == ((1,), (2,), 2)
    assert {row.name for row in Manifest.load(kept.path).scans} == {"mouse", "mouse-2"}


def test_what_does_not_fit_is_refused(tmp_path: Path, scan: Path) -> None:
    kept = Corrections(tmp_path / "c")
    with pytest.raises(UsageError, match="do not fit the scan"):
        kept.add(scan, 1, labels(1)[:-1])
    with pytest.raises(UsageError, match="do not fit the scan"):
        kept.add(scan, 5, labels(1))
    with pytest.raises(UsageError, match="the labels hold 9, which is no class"):
        kept.add(scan, 1, labels(9))
    kept.add(scan, 1, labels(1), scheme=BONE_PORES)
    other = LabelScheme((LabelClass("air", 0, (0, 0, 0)), LabelClass("bone", 1, (9, 9, 9))))
    with pytest.raises(UsageError, match="the corrections so far background, bone, pores"):
        kept.add(scan, 2, np.zeros(SHAPE[1:], np.uint8), scheme=other)
