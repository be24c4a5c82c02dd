"""The inside of bones, seen coarsely, made to agree with itself in space: a random walk.

The coarse pass says of each voxel by itself how likely it is inside of bone. Along a vertebral
canal it may say 0 at the ends and 0.6 in the middle, though no bone lies between. Here what is
said is passed on between neighbours, the less the more their grey values differ (a cortex), and
from voxels of which it is sure more than from others: a random walk with priors (Grady 2005,
"Multilabel random walker image segmentation using prior models", 10.1109/CVPR.2005.239).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse.linalg import LinearOperator, cg

from osteon.coarse import InPlane, add_slice, averaging, between, coarse_length
from osteon.errors import OutputError

Image = npt.NDArray[np.float32]
Real = npt.NDArray[np.float64]

#: Voxels along the longest axis of the grid that is walked on.
SIDE = 64
#: How much neighbours of one grey value count against what is said of a voxel with certainty, and
#: how fast that falls with the square of their difference in SD of the scan. Chosen, as the next,
#: on simulated scans (docs/decisions/0012-the-inside-agrees-in-space.md).
PULL, CONTRAST = 3.0, 5.0
#: How much what is said counts where it is undecided.
LEAST = 0.02
#: When the walk is done, and after how many steps it must be.
_TOLERANCE, _STEPS = 1e-5, 2000
#: Probabilities closer to 0 or 1 than this are as certain as it.
_CERTAIN = 1e-3


def enclosed(inside: Image, grey: Image) -> Image:
    """Pass probabilities of being inside of bone on between neighbours of like grey values.

    What is between the voxels of the grid stays: the grid's change in log-odds is added.

    Memory: up to 40 MiB, besides the result.

    Args:
        inside: Probabilities that a voxel is bone or enclosed by it, (z, y, x).
        grey: Grey values (z, y, x), of any scale.

    Returns:
        Probabilities, of the same shape.

    Raises:
        OutputError: If the walk does not come to an end.
    """
    factor = max(1.0, max(inside.shape) / SIDE)
    shape = tuple(coarse_length(n, factor) for n in inside.shape)
    depth = inside.shape[0]
    weights = averaging(depth, size=shape[0], factor=factor)
    plane = InPlane(
        [(n, size, factor) for n, size in zip(inside.shape[1:], shape[1:], strict=True)]
    )
    small, seen = (_reduced(volume, weights, plane, shape) for volume in (inside, grey))
    change = log_odds(walked(small, seen)) - log_odds(small)
    first, way = between(depth, size=shape[0], factor=factor)
    out = np.empty_like(inside)
    after = np.minimum(first + 1, len(change) - 1)
    for z, (low, high, part) in enumerate(zip(first, after, way, strict=True)):
        here = (1 - part) * change[low] + part * change[high]
        out[z] = 1 / (1 + np.exp(-log_odds(inside[z]) - plane.enlarge(here)))
    return out


def walked(inside: Real, grey: Real) -> Real:
    """Return the probabilities after the walk, on the grid itself.

    They are the u that make Σ wᵢ (uᵢ - pᵢ)² + PULL Σ cᵢⱼ (uᵢ - uⱼ)² smallest, with the certainty
    wᵢ = (2 pᵢ - 1)² + LEAST and cᵢⱼ = exp(-CONTRAST (gᵢ - gⱼ)² / s²) of neighbours along the axes.

    Args:
        inside: Probabilities p, (z, y, x).
        grey: Grey values g, (z, y, x); s is their SD.

    Returns:
        Probabilities, (z, y, x).

    Raises:
        OutputError: If the walk does not come to an end.
    """
    certain = (2 * inside - 1) ** 2 + LEAST
    spread = float(grey.var()) or 1.0
    ties = [
        PULL * np.exp(-CONTRAST * np.diff(grey, axis=axis) ** 2 / spread)
        for axis in range(grey.ndim)
    ]
    every = certain.copy()
    for axis, tie in enumerate(ties):
        low, high = _ends(every, axis)
        low += tie
        high += tie

    def against(flat: Real) -> Real:
        values = flat.reshape(inside.shape)
        result = every * values
        for axis, tie in enumerate(ties):
            (low, high), (to_low, to_high) = _ends(values, axis), _ends(result, axis)
            to_low -= tie * high
            to_high -= tie * low
        return result.ravel()

    size = inside.size
    found, left = cg(
        LinearOperator((size, size), matvec=against, dtype=np.float64),
        (certain * inside).ravel(),
        x0=inside.ravel(),
        rtol=_TOLERANCE,
        maxiter=_STEPS,
        M=LinearOperator((size, size), matvec=lambda x: x / every.ravel(), dtype=np.float64),
    )
    if left:
        raise OutputError(f"the inside of bones was not settled in {_STEPS} steps")
    settled: Real = np.clip(found.reshape(inside.shape), 0.0, 1.0)
    return settled


def log_odds(probabilities: npt.NDArray[np.floating]) -> Real:
    """Return the log-odds of probabilities, of which none counts as quite certain."""
    kept = np.clip(probabilities.astype(np.float64), _CERTAIN, 1 - _CERTAIN)
    return np.log(kept / (1 - kept))


def _ends(values: Real, axis: int) -> tuple[Real, Real]:
    """Views of all but the last, and all but the first, along an axis."""
    moved = np.moveaxis(values, axis, 0)
    return np.moveaxis(moved[:-1], 0, axis), np.moveaxis(moved[1:], 0, axis)


def _reduced(volume: Image, depth: Image, plane: InPlane, shape: Sequence[int]) -> Real:
    out = np.zeros(shape)
    for z, image in enumerate(volume):
        add_slice(out, plane.reduce(image), depth[:, z])
    return out
