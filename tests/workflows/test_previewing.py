"""The preview against the slices it is cut from, normalised by hand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from osteon.datasets import Manifest, ScanRow
from osteon.errors import InputError, OsteonWarning, OutputError, UsageError
from osteon.events import Reporter
from osteon.labels import BONE_PORES
from osteon.settings import FitSettings, load_settings
from osteon.workflows import preview_dataset

SHAPE = (9, 40, 48)


def volume(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    image = rng.integers(1, 250, SHAPE).astype(np.uint8)  # no two patches are alike
    return image, rng.integers(0, 3, SHAPE).astype(np.uint8)


def write(folder: Path, array: np.ndarray) -> str:
    folder.mkdir(parents=True)
    for z, page in enumerate(array):
        tifffile.imwrite(folder / f"{z:04d}.tif", page)
    return str(folder)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Three scans with masks and one without."""
    rows = []
    for seed, name in enumerate("abc"):
        image, labels = volume(seed)
        scan = write(tmp_path / name / "scan", image)
        mask = write(tmp_path / name / "mask", labels)
        rows.append(ScanRow(name=name, specimen=name, image=scan, mask=mask))
    scan = write(tmp_path / "d" / "scan", volume(3)[0])
    rows.append(ScanRow(name="d", specimen="d", image=scan))
    path = tmp_path / "dataset.toml"
    Manifest(BONE_PORES, tuple(rows)).save(path)
    return path


def fit(*overrides: str) -> FitSettings:
    return load_settings(FitSettings, overrides=["patches.size=32", *overrides])


def rows(dataset: Path, *overrides: str, count: int = 5, name: str = "sheet.png"):
    made = preview_dataset(
        dataset,
        out=dataset.parent / name,
        settings=fit(*overrides),
        count=count,
        overwrite=True,
    )
    assert made.path.stat().st_size > 1000
    return made.rows


def normalised(name: str) -> np.ndarray:
    image = volume("abc".index(name))[0].astype(float)
    return (image - image.mean()) / image.std()  # nine slices: the sample is the whole scan


def found_in(patch: np.ndarray, z_values: np.ndarray) -> tuple[int, int, int]:
    """Place (z, y, x) of a patch in a scan."""
    size = patch.shape[0]
    windows = np.lib.stride_tricks.sliding_window_view(z_values, (1, size, size))[:, :, :, 0]
    far = np.abs(windows[..., 0, 0] - patch[0, 0]) > 1e-4
    for place in np.argwhere(~far):
        if np.allclose(windows[tuple(place)], patch, atol=1e-4):
            return tuple(int(p) for p in place)
    raise AssertionError("the patch is nowhere in the scan")


def symmetries(plane: np.ndarray) -> list[np.ndarray]:
    return [np.rot90(p, k) for p in (plane, plane[::-1]) for k in range(4)]


def test_patches_before_are_the_scan_s_with_its_labels(dataset: Path) -> None:
    shown = rows(dataset)
    assert Counter(row.scan for row in shown) == {"a": 1, "b": 2, "c": 2}
    places = set()
    for row in shown:
        z, y, x = found_in(row.before, normalised(row.scan))
        assert row.where == f"slice {z}"
        labels = volume("abc".index(row.scan))[1]
        np.testing.assert_array_equal(row.before_labels, labels[z, y : y + 32, x : x + 32])
        places.add((y, x))
    assert len(places) > 1
    assert [row.where for row in shown if row.scan == "b"] == ["slice 2", "slice 6"]


def test_patches_after_are_those_before_augmented(dataset: Path) -> None:
    seen = set()
    for row in rows(dataset, "augmentation.preset=geometric", count=12):
        ways = [
            number
            for number, (image, labels) in enumerate(
                zip(symmetries(row.before), symmetries(row.before_labels), strict=True)
            )
            if np.array_equal(image, row.after) and np.array_equal(labels, row.after_labels)
        ]
        assert len(ways) == 1
        assert bool(row.changes) == (ways != [0])
        seen.add(ways[0])
    assert len(seen) > 2  # not the same change in every row


def test_none_shows_the_same_twice_and_strong_does_not(dataset: Path) -> None:
    for row in rows(dataset, "augmentation.preset=none"):
        np.testing.assert_array_equal(row.before, row.after)
        assert row.happened == "unchanged"
    different = [
        (row.before != row.after).any() and bool(row.changes)
        for row in rows(dataset, "augmentation.preset=strong", "augmentation.strength=1.5")
    ]
    assert all(different)


def test_of_2_5d_the_middle_channel_is_shown(dataset: Path) -> None:
    flat = rows(dataset)
    deep = rows(dataset, "mode=2.5D", "patches.slices=5")
    for one, other in zip(flat, deep, strict=True):
        np.testing.assert_array_equal(one.before, other.before)
        np.testing.assert_array_equal(one.before_labels, other.before_labels)


def test_of_3d_the_middle_slice_is_shown(dataset: Path) -> None:
    with pytest.warns(OsteonWarning, match="padded") as caught:
        shown = rows(dataset, "mode=3D", "augmentation.preset=none")
    # Once a scan, not once a patch.
    texts = [str(w.message) for w in caught]
    assert len(texts) == len(set(texts)) == 3
    for row in shown:
        # Nine slices in a block of 32: the middle, slice 16, is the last repeated, unlabelled.
        z, _, _ = found_in(row.before, normalised(row.scan))
        assert z == SHAPE[0] - 1
        assert (row.before_labels == 255).all()
        assert row.where == "slices 0–8, the middle one"


def test_empty_slices_are_left_out_where_the_settings_say_so(dataset: Path) -> None:
    for z in (0, 1, 2, 3, 5, 6, 7, 8):
        page = dataset.parent / "a" / "mask" / f"{z:04d}.tif"
        tifffile.imwrite(page, np.zeros(SHAPE[1:], np.uint8))
    kept = [r.where for r in rows(dataset, count=6) if r.scan == "a"]
    assert kept == ["slice 2", "slice 6"]
    left = [r.where for r in rows(dataset, "patches.skip_empty=true", count=6) if r.scan == "a"]
    assert left == ["slice 4", "slice 4"]


def test_fewer_patches_than_scans_are_of_scans_far_apart(dataset: Path) -> None:
    assert [row.scan for row in rows(dataset, count=1)] == ["b"]
    assert [row.scan for row in rows(dataset, count=2)] == ["a", "c"]


def test_a_dataset_without_labels_is_refused(tmp_path: Path) -> None:
    image, labels = volume(0)
    scan, mask = write(tmp_path / "scan", image), write(tmp_path / "mask", labels[:1])
    path = tmp_path / "dataset.toml"
    covered = {"mask": mask, "mask_slices": [7], "slices": [0, 3]}
    for entries, text in (
        ({}, "no scan of the dataset has a mask"),
        (covered, "no labelled slice"),
    ):
        row = ScanRow.model_validate({"name": "a", "specimen": "a", "image": scan} | entries)
        Manifest(BONE_PORES, (row,)).save(path, overwrite=True)
        with pytest.raises(InputError, match=text) as caught:
            preview_dataset(path, out=tmp_path / "sheet.png")
        assert "dataset.toml" in str(caught.value)
    assert not (tmp_path / "sheet.png").exists()


def test_what_cannot_be_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere.toml"
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"out": tmp_path / "sheet.gif"}, UsageError, "PNG picture or an HTML page"),
        ({"out": tmp_path / "sheet.png", "count": 0}, UsageError, "1 to 60 patches, not 0"),
        ({"out": tmp_path / "sheet.png", "count": 61}, UsageError, "1 to 60 patches, not 61"),
        ({"out": tmp_path / "there.png"}, OutputError, "exists"),
    ]
    (tmp_path / "there.png").write_text("mine")
    for given, kind, text in cases:
        with pytest.raises(kind, match=text):
            preview_dataset(nowhere, **given)
    assert (tmp_path / "there.png").read_text() == "mine"


def test_loose_slices_are_refused_in_3d(dataset: Path) -> None:
    manifest = Manifest.load(dataset)
    loose = tuple(row.model_copy(update={"contiguous": False}) for row in manifest.scans)
    Manifest(BONE_PORES, loose).save(dataset, overwrite=True)
    assert rows(dataset)
    with pytest.raises(InputError, match="contiguous"):
        rows(dataset, "mode=3D")


def test_it_can_be_stopped(dataset: Path) -> None:
    from osteon.errors import Stopped

    reporter = Reporter()
    reporter.stop.request()
    with pytest.raises(Stopped):
        preview_dataset(
            dataset, out=dataset.parent / "sheet.png", settings=fit(), reporter=reporter
        )
    assert not (dataset.parent / "sheet.png").exists()
