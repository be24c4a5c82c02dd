"""Views of reduced slices: averages by area, labels by majority, padding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from osteon.datasets import ReducedSlices, open_pairs, scan_statistics
from osteon.datasets.manifest import Manifest, ScanRow
from osteon.datasets.splits import Part
from osteon.labels import BONE_PORES, IGNORE
from osteon.settings import FitSettings, load_settings

SETTINGS = load_settings(
    FitSettings,
    overrides=["patches.size=64", "augmentation.preset=none", "network.context=true"],
)


def source_of(tmp_path: Path, image: np.ndarray, labels: np.ndarray, items: int) -> ReducedSlices:
    np.save(tmp_path / "scan.npy", image)
    np.save(tmp_path / "mask.npy", labels)
    row = ScanRow(
        name="a", image=str(tmp_path / "scan.npy"), mask=str(tmp_path / "mask.npy"), specimen="a"
    )
    manifest = Manifest(BONE_PORES, (row,)).save(tmp_path / "dataset.toml")
    pairs = open_pairs(manifest)
    return ReducedSlices(
        pairs,
        [Part("a", tuple(range(len(image))))],
        settings=SETTINGS,
        statistics=scan_statistics(pairs, SETTINGS.normalisation.recipe),
        labels=BONE_PORES,
        items=items,
    )


def scan(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:height, :width]
    labels = np.zeros((4, height, width), np.uint8)
    labels[:, height // 4 : -height // 4, width // 4 : -width // 4] = 2
    labels[:, height // 3 : -height // 3, width // 3 : -width // 3] = 1
    image = (20 + 60 * labels + (y + x) % 7).astype(np.uint8)
    return image, labels


def test_views_go_from_a_part_to_the_whole_slice(tmp_path: Path) -> None:
    image, labels = scan(300, 400)
    source = source_of(tmp_path, image, labels, 80)
    assert len(source) == 80
    shares = []
    for index in range(80):
        view, truth = source.item(0, index)
        assert view.shape == (2, 64, 64)
        assert np.array_equal(view, source.item(0, index)[0])
        told = truth != IGNORE
        shares.append(told.mean())
        # Grey values follow the labels: an average over an area is one of grey values.
        for value in (0, 1, 2):
            if ((truth == value) & told).sum() > 200:
                same = view[0][(truth == value) & told]
                assert np.std(same) < 0.45
    # A whole slice of 300 × 400 fills three quarters of a square.
    assert min(shares) == pytest.approx(0.75, abs=0.06)
    assert max(shares) == 1


def test_a_whole_slice_is_averaged_by_area(tmp_path: Path) -> None:
    image, labels = scan(128, 128)
    source = source_of(tmp_path, image, labels, 400)
    fullest = max((source.item(0, i) for i in range(400)), key=lambda item: (item[1] == 0).mean())
    # Nearly the whole slice, at half its size: three quarters of the pixels are background.
    assert (fullest[1] == 0).mean() == pytest.approx((labels[0] == 0).mean(), abs=0.08)
    statistics = scan_statistics(
        open_pairs(Manifest.load(tmp_path / "dataset.toml")), SETTINGS.normalisation.recipe
    )["a"]
    level = (image[labels == 1].mean() - statistics.mean) / statistics.std
    inner = fullest[0][0][fullest[1] == 1]
    assert np.median(inner) == pytest.approx(level, abs=0.1)


def test_slices_smaller_than_a_patch_are_padded_and_the_padding_ignored(tmp_path: Path) -> None:
    image, labels = scan(40, 50)
    view, truth = source_of(tmp_path, image, labels, 4).item(0, 0)
    assert (truth != IGNORE).mean() == pytest.approx(40 * 50 / 64**2)
    assert np.isfinite(view).all()
    assert (view[0][45:, :50] == view[0][39, :50]).all()
