"""What scans are like: voxel size, and how far apart the grey values of their classes are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from osteon.datasets import Manifest, Pair, open_pairs
from osteon.errors import OsteonError
from osteon.labels import LabelScheme

#: Labelled slices of a scan that grey values are taken from, evenly spaced.
SLICES = 16
#: The class that others are told from.
_BONE = "bone"


def scan_traits(dataset: Path, names: Sequence[str]) -> tuple[dict[str, dict[str, float]], str]:
    """Look at scans: voxel size and contrast.

    Reads up to SLICES slices of each scan, one at a time. ``voxel_um`` is the voxel size within a
    slice (geometric mean of y and x) in µm, NaN where unknown. ``contrast_<class>`` is the
    contrast-to-noise ratio of bone to that class,
    (mean of bone − mean of the class) / √((variance of bone + variance of the class) / 2),
    over the voxels of the labels; NaN where one of them does not occur.

    Args:
        dataset: The manifest.
        names: Names of the scans.

    Returns:
        Name → trait → figure; and why there are none, or an empty text. Only scans that can be
        read are there: a study can be looked at where its scans are not.
    """
    found: dict[str, dict[str, float]] = {}
    try:
        manifest = Manifest.load(dataset)
        for pair in open_pairs(manifest, [n for n in names if n in _names(manifest)]):
            found[pair.name] = {
                "voxel_um": _voxel(pair),
                **contrasts(pair, manifest.labels),
            }
    except OsteonError as error:
        return {}, f"Voxel sizes and contrasts are left out: {error.what}."
    return found, ""


def _names(manifest: Manifest) -> set[str]:
    return {row.name for row in manifest.scans}


def _voxel(pair: Pair) -> float:
    _, y, x = pair.image.geometry.voxel_size
    return math.nan if y is None or x is None else math.sqrt(y * x)


def contrasts(pair: Pair, scheme: LabelScheme) -> dict[str, float]:
    """Return the contrast of bone to each other class; see :func:`scan_traits`.

    Args:
        pair: The scan and its labels.
        scheme: The classes; without one named ``bone`` there are no contrasts.
    """
    if _BONE not in scheme.names or pair.labels is None:
        return {}
    sums = np.zeros((len(scheme), 3))  # voxels, their sum, the sum of their squares
    labelled = pair.labelled
    picked = np.unique(np.linspace(0, len(labelled) - 1, min(SLICES, len(labelled))).round())
    for at in picked.astype(int):
        z = slice(labelled[at], labelled[at] + 1)
        grey = np.asarray(pair.image.read(z), np.float64)
        labels = np.asarray(pair.labels.read(z))
        for value in range(len(scheme)):
            own = grey[labels == value]
            sums[value] += own.size, own.sum(), np.square(own).sum()
    return _ratios(sums, scheme)


def _ratios(sums: npt.NDArray[np.float64], scheme: LabelScheme) -> dict[str, float]:
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums[:, 1] / sums[:, 0]
        variance = np.maximum(0.0, sums[:, 2] / sums[:, 0] - mean**2)
    bone = scheme.value(_BONE)
    out = {}
    for name in scheme.names:
        other = scheme.value(name)
        noise = math.sqrt((variance[bone] + variance[other]) / 2)
        if name != _BONE:
            ratio = (mean[bone] - mean[other]) / noise if noise > 0 else math.nan
            out[f"contrast_{name}"] = float(ratio)
    return out
