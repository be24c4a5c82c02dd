"""Contexts made of labels, and views of reduced slices."""

from __future__ import annotations

import numpy as np
import pytest

from osteon.augment import Image, Labels
from osteon.datasets.context import ContextPatches, MixedPatches, of_labels, seen_coarsely
from osteon.labels import IGNORE


class Disk:
    """Patches with a disk of bone around pores; the image tells the item."""

    def __init__(self, count: int = 40):
        self.count = count

    def __len__(self) -> int:
        return self.count

    def item(self, epoch: int, index: int) -> tuple[Image, Labels]:
        y, x = np.mgrid[:96, :96] - 47.5
        r = np.hypot(y, x)
        labels = np.where(r < 20, 2, np.where(r < 30, 1, 0)).astype(np.uint8)
        return np.full((1, 96, 96), 100 * epoch + index, np.float32), labels


def test_a_coarse_pass_mostly_knows_where_the_inside_is() -> None:
    inside = (Disk().item(0, 0)[1] > 0).astype(np.float32)
    seen = [seen_coarsely(inside, np.random.default_rng(k)) for k in range(60)]
    right = [((s > 0) == (inside > 0.5)).mean() for s in seen]
    assert all(s.dtype == np.float32 and s.shape == inside.shape for s in seen)
    assert max(np.abs(s).max() for s in seen) <= 1
    assert np.median(right) > 0.97
    assert min(right) < 0.93  # now and then it is wrong, or the network would believe it blindly


def test_patches_get_a_channel_and_keep_the_rest() -> None:
    source = ContextPatches(Disk(), seed=1)
    assert len(source) == 40
    empty = 0
    for index in range(40):
        image, labels = source.item(2, index)
        plain, truth = Disk().item(2, index)
        assert image.shape == (2, 96, 96)
        assert np.array_equal(image[:1], plain)
        assert np.array_equal(labels, truth)
        assert np.array_equal(image, source.item(2, index)[0])
        empty += not image[1].any()
    assert 3 <= empty <= 18  # a quarter


def test_ignored_labels_are_filled_from_beside_them() -> None:
    labels = Disk().item(0, 0)[1]
    gap = labels.copy()
    gap[40:50, 40:50] = IGNORE
    with_gap, without = (of_labels(a, np.random.default_rng(4)) for a in (gap, labels))
    assert np.array_equal(with_gap, without)
    assert not of_labels(np.full((64, 64), IGNORE, np.uint8), np.random.default_rng(0)).any()


def test_sources_follow_one_another() -> None:
    mixed = MixedPatches((Disk(3), Disk(4)))
    assert len(mixed) == 7
    assert mixed.item(1, 2)[0][0, 0, 0] == 102
    assert mixed.item(1, 3)[0][0, 0, 0] == 100
    with pytest.raises(IndexError):
        mixed.item(0, 7)
