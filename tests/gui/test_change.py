"""The layer of what a new model labels differently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("napari", reason="the window needs the extra gui")
pytest.importorskip("pytestqt", reason="the window is tested by pytest-qt")

from osteon.labels import BONE_PORES
from osteon.napari.change import Changed, changes_of, encoded, show_change

from .common import put

BEFORE = np.array([[0, 1, 2], [0, 1, 1]], np.uint8)
AFTER = np.array([[0, 1, 2], [1, 0, 2]], np.uint8)


def test_each_change_has_its_name() -> None:
    found = encoded(Changed(0, BEFORE, AFTER), len(BONE_PORES))
    names = changes_of(BONE_PORES).names
    said = [[names[value] for value in row] for row in found]
    same = "the same"
    assert said == [[same] * 3, ["was background, now bone", "was bone, now background",
                                 "was bone, now pores"]]  # fmt: skip


def test_changes_lie_over_the_scan(viewer: Any, scan: Path) -> None:
    image = put(viewer, scan)
    before, after = np.zeros((2, 64, 64), np.uint8)
    after[5, 6] = 1
    for z in (1, 4):
        change = Changed(z, before, after)
        layer = show_change(viewer, image, change, model="fit-1", scheme=BONE_PORES)
    assert layer.name == "tube.nrrd: changed by fit-1"
    assert layer.scale.tolist() == [20, 20, 20]
    assert np.argwhere(np.asarray(layer.data)).tolist() == [[1, 5, 6], [4, 5, 6]]
    at = int(layer.data[1, 5, 6])
    assert list(layer.features["class"])[at] == "was background, now bone"
    assert layer.colormap.color_dict[at][3] == 1
