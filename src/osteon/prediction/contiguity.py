"""Are neighbouring slices of a scan neighbours in space? Judged from the image, if nobody says.

From one slice to the next a scan changes about as much as by a step of one pixel within the slice;
slices that were picked from far apart change more than by a step of several. Noise adds the same
to both sides of the comparison, and is smoothed away first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from osteon.intensity import Statistics, normalise, sample_slices
from osteon.volume import Volume

#: Pairs of neighbouring slices that are compared, evenly spaced.
PAIRS = 8
#: Fewer slices than this are not taken for a piece of space, however alike they are.
FEWEST = 8
#: Step within the slice that a step to the next slice is compared with, in pixels.
STEP = 4
#: Standard deviation in pixels of the Gaussian that takes the noise away.
SMOOTHING = 2.0
#: Below this ratio of the changes slices are neighbours. Measured: 2.2 to 2.6 for slices 50 voxels
#: apart of real vertebrae; 0.25 to 0.7 for made-up trabeculae in noise; noise alone gives 1.
MOST = 1.25


@dataclass(frozen=True)
class Contiguity:
    """Whether slices are neighbours in space, and how that is known.

    Attributes:
        contiguous: Whether they are.
        why: The reason, in words.
        ratio: Change to the next slice over that of a step within the slice; None if not measured.
    """

    contiguous: bool
    why: str
    ratio: float | None = None


def judge(volume: Volume, statistics: Statistics, *, asked: str = "auto") -> Contiguity:
    """Judge whether neighbouring slices are neighbours in space.

    Reads up to 8 pairs of slices; holds two. The same scan always gives the same answer.

    Args:
        volume: The scan.
        statistics: Its statistics.
        asked: ``yes`` or ``no`` if somebody knows, else ``auto``.

    Returns:
        The judgement.

    Raises:
        InputError: If the scan is damaged.
    """
    if asked != "auto":
        return Contiguity(asked == "yes", "as was said")
    depth = volume.shape[0]
    if depth < FEWEST:
        return Contiguity(False, f"there are only {depth} slices")
    numbers = volume.slice_numbers
    if numbers is not None and any(np.diff(numbers) != 1):
        return Contiguity(False, "the numbers of the slices have gaps")
    ratios = [ratio for z in _firsts(depth) if (ratio := _ratio(volume, statistics, z)) is not None]
    if not ratios:
        return Contiguity(False, "the slices are empty")
    ratio = float(np.median(ratios))
    return Contiguity(
        ratio < MOST,
        f"from one slice to the next it changes {ratio:.2f} times as much as over {STEP} pixels "
        "within a slice",
        ratio,
    )


def _firsts(depth: int) -> list[int]:
    return sample_slices(depth - 1, most=PAIRS)


def _ratio(volume: Volume, statistics: Statistics, z: int) -> float | None:
    one, two = (
        ndimage.gaussian_filter(image, SMOOTHING, mode="nearest")
        for image in normalise(volume.read(slice(z, z + 2)), statistics)
    )
    step = [
        _difference(np.roll(one, -STEP, axis)[inside], one[inside])
        for axis in (0, 1)
        for inside in [_without_end(axis)]
        if one.shape[axis] > STEP
    ]
    if not step or max(step) == 0:
        return None
    return _difference(one, two) / float(np.mean(step))


def _without_end(axis: int) -> tuple[slice, ...]:
    return tuple(slice(0, -STEP) if i == axis else slice(None) for i in (0, 1))


def _difference(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    return float(np.abs(a - b).mean())
