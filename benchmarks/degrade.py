"""The degraded slices that every row of the results is scored on again.

Strengths are clearly visible and within what scanners do (noise up to a quarter of the step from
air to bone, cupping up to a third). Grey values are those of 8-bit slices whose bone is about
150 grey values above the air. Use :func:`slice_seed`, so that all rows see the same slices.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from osteon.simulation import degrade

Slice = npt.NDArray[np.uint8]
Degradation = Callable[[npt.NDArray[Any], int], npt.NDArray[Any]]

#: Noise: 0.2 of the step from air to bone, correlated as by a reconstruction filter.
NOISE_SD = 30.0
NOISE_CORRELATION = 0.7
#: Beam hardening: the axis of rotation is a third darker than the rim.
CUPPING = 0.33
#: Rings: 0.08 of the step from air to bone.
RINGS_SD = 12.0
RINGS_WIDTH = 1.5


def slice_seed(series: str, number: int) -> int:
    """Return the seed of slice ``number`` (0 is the first by name) of a series."""
    return zlib.crc32(series.encode()) + number


def clean(image: Slice, seed: int) -> Slice:
    """Return the slice as it is."""
    return image


def noise(image: Slice, seed: int) -> Slice:
    """Add correlated Gaussian noise."""
    return degrade.add_noise(image, sd=NOISE_SD, seed=seed, correlation=NOISE_CORRELATION)


def cupping(image: Slice, seed: int) -> Slice:
    """Darken the middle."""
    return degrade.add_cupping(image, fraction=CUPPING)


def rings(image: Slice, seed: int) -> Slice:
    """Add ring artefacts around the middle."""
    return degrade.add_rings(image, sd=RINGS_SD, seed=seed, width=RINGS_WIDTH)


def half_resolution(image: Slice, seed: int) -> Slice:
    """Halve the resolution; the shape stays, so the labels do."""
    return degrade.half_resolution(image)


DEGRADATIONS: dict[str, Degradation] = {
    "clean": clean,
    "noise": noise,
    "cupping": cupping,
    "rings": rings,
    "half resolution": half_resolution,
}
