"""What napari needs to draw a first layer of labels, made ready beforehand."""

from __future__ import annotations

import importlib

import numpy as np

from osteon.labels import BONE_PORES
from osteon.napari.layers import colours


def load_drawing() -> None:
    """Do once what napari would do while the first labels layer is added, in the window's thread.

    It compiles what maps labels to colours (numba), loads pandas, for the names of the classes, and
    computes the patterns of dashed lines (vispy keeps them): most of the time for which the window
    stood still at a first preview. No layer is made and nothing is drawn, so it may run in any
    thread.
    """
    from napari.utils.colormaps import DirectLabelColormap
    from vispy.visuals.line.dash_atlas import DashAtlas

    DirectLabelColormap(color_dict=colours(BONE_PORES)).map(np.zeros((1, 1), np.uint8))
    DashAtlas()
    importlib.import_module("pandas")
