"""The figures of a report as files beside it, to be put into a paper."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import imagecodecs
import numpy as np
import numpy.typing as npt

from osteon.files import replacing, write_text
from osteon.labels import LabelScheme
from osteon.reports import pictures
from osteon.reports.evaluation_parts import ScanShape
from osteon.reports.figures import slice_curves
from osteon.reports.pictures import Picture, SlicePicture

_XML = '<?xml version="1.0" encoding="utf-8"?>\n'
_SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '


def write_figures(
    folder: str | Path,
    shapes: Sequence[ScanShape],
    shown: Sequence[SlicePicture],
    by_slice: Mapping[str, npt.NDArray[np.float64]],
    *,
    scheme: LabelScheme,
) -> None:
    """Write curves as SVG and pictures as PNG; files of the same names are replaced.

    Args:
        folder: The folder.
        shapes: Surfaces of scans.
        shown: Slices: scan, truth, labels and disagreement, a file each.
        by_slice: Name of the scan → float64 (z, K), IoU by slice.
        scheme: The classes.

    Raises:
        OutputError: If a file cannot be written.
    """
    folder = Path(folder)
    drawing = slice_curves(by_slice, scheme=scheme).replace("<svg ", _SVG, 1)
    write_text(folder / "iou_by_slice.svg", _XML + drawing)
    for shape in shapes:
        for role, picture in zip(("truth", "labels"), shape.surfaces or (), strict=False):
            _png(folder / f"{_safe(shape.name)}_surface_{role}.png", picture)
    focus = pictures.focus_class(scheme)
    for item in shown:
        name = f"{_safe(item.scan)}_slice_{item.z}"
        window = pictures.contrast_window(item.image)
        _png(folder / f"{name}_scan.png", pictures.slice_picture(item.image, window=window))
        for role, labels in (("truth", item.truth), ("labels", item.prediction)):
            if labels is not None:
                drawn = pictures.slice_overlay(item.image, labels, scheme=scheme, window=window)
                _png(folder / f"{name}_{role}.png", drawn)
        if item.truth is not None:
            wrong = pictures.slice_disagreement(
                item.image, item.truth, item.prediction, focus=focus, window=window
            )
            _png(folder / f"{name}_disagreement.png", wrong)


def _png(path: Path, picture: Picture) -> None:
    with replacing(path) as partial:
        partial.write_bytes(imagecodecs.png_encode(picture, level=6))


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)
