"""What a scan shows, from its grey values alone: thickness of bone, metal, room beside bone.

Bone is what lies above the middle between both sides of its edges (recipe ``edges``) in lightly
smoothed slices. Its thickness is twice the distance to the surface along its mid-lines, each
pixel of a mid-line counting once: thin trabeculae, of which there is much line, count for more
than a thick cortex.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.morphology import skeletonize

from osteon.intensity import Statistics, normalise, sample_slices, statistics
from osteon.volume import Array, Volume

#: The recipe that bone is told by, whatever the model's own.
RECIPE = "edges"
#: Slices that are looked at, evenly spaced.
SLICES = 8
#: Standard deviation in pixels of the Gaussian before bone is told from what is not.
SMOOTHING = 0.9
#: Specks and gaps of fewer pixels than this are noise.
SPECK = 24
#: Twice the distance from a mid-line to the centre of the nearest pixel outside is this much too
#: long on average, for odd and even thicknesses.
BEYOND = 0.5
#: Pixels of mid-line without which a thickness says nothing.
FEWEST = 50
#: Grey values so high (-1 dark, 1 bright side of bone's edges) are no bone: aluminium and enamel
#: are at about 4, titanium at 14, if bone is at 1 and marrow at -1.
METAL = 4.5
#: Where bone ends in view, a circle without bone is wider than this share of the view: 0.6 and more
#: in simulated scans of whole and cut bones, 0.5 and more in slices of real vertebrae.
NO_ROOM = 0.38
#: Share of a slice's pixels beyond it that is worth a warning.
METAL_SHARE = 2e-4


@dataclass(frozen=True)
class Features:
    """What a scan shows.

    Attributes:
        thickness_px: Mean thickness of bone, in pixels; None where hardly any was seen.
        bone_share: Share of the pixels that are as bright as bone.
        metal_share: Share that is far brighter.
        strength: How far the edges stand out of the noise; 0: none that could be bone's.
        widest_gap: Diameter of the largest circle without bone whose centre lies in the view, over
            the shorter side of a slice. None where a slice holds no bone, and in records from
            before it was measured.
    """

    thickness_px: float | None
    bone_share: float
    metal_share: float
    strength: float
    widest_gap: float | None = None

    @property
    def within_bone(self) -> bool:
        """Whether there is no room beside bone: the view lies within it."""
        gap = self.widest_gap
        return self.strength > 0 and gap is not None and gap < NO_ROOM


def look(volume: Volume, known: Statistics) -> Features:
    """Look at some slices of a scan.

    Reads up to 8 slices, one at a time; if the model's recipe is another than ``edges``, the
    sample of statistics is read again.

    Args:
        volume: The scan.
        known: Its statistics, by any recipe.

    Returns:
        What was seen; the same scan always gives the same.

    Raises:
        InputError: If the scan is damaged.
    """
    stats = known if known.recipe == RECIPE else statistics(volume, RECIPE)
    found: list[npt.NDArray[np.float64]] = []
    bone = metal = pixels = 0
    gap = 0.0
    for z in sample_slices(volume.shape[0], most=SLICES):
        raw = volume.read(slice(z, z + 1))
        image = normalise(raw, stats)[0]
        smooth = ndimage.gaussian_filter(image, SMOOTHING, mode="nearest")
        above = smooth > 0
        pixels += image.size
        bone += int(above.sum())
        metal += int((_unclipped(raw[0], stats) > METAL).sum())
        if stats.strength:
            cleaned = _cleaned(above)
            found.append(_thicknesses(cleaned))
            gap = max(gap, _gap(cleaned))
    return Features(
        thickness_px=mean_thickness(found),
        bone_share=bone / pixels,
        metal_share=metal / pixels,
        strength=stats.strength or 0.0,
        widest_gap=gap if stats.strength and math.isfinite(gap) else None,
    )


def thicknesses(bone: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Measure bone in a slice at each pixel of its mid-lines.

    Args:
        bone: Where there is bone (y, x).

    Returns:
        The thickness at each, in pixels.
    """
    return _thicknesses(_cleaned(bone))


def widest_gap(bone: npt.NDArray[np.bool_]) -> float:
    """Measure the largest circle without bone, whose centre lies in a slice.

    Args:
        bone: Where there is bone (y, x).

    Returns:
        Its diameter over the shorter side of the slice; infinite where there is no bone.
    """
    return _gap(_cleaned(bone))


def mean_thickness(slices: Sequence[npt.NDArray[np.float64]]) -> float | None:
    """Return the mean thickness of bone, each pixel of its mid-lines counting once.

    Args:
        slices: What :func:`thicknesses` found in each.

    Returns:
        The thickness in pixels; None where there is hardly any bone.
    """
    found = np.concatenate(slices) if slices else np.empty(0)
    return float(found.mean()) if found.size >= FEWEST else None


def _cleaned(bone: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Bone without specks, in it and beside it."""
    return ~_without_specks(~_without_specks(bone))


def _gap(cleaned: npt.NDArray[np.bool_]) -> float:
    if not cleaned.any():
        return math.inf
    distances = ndimage.distance_transform_edt(~cleaned)
    return float(2 * distances.max() / min(cleaned.shape))


def _thicknesses(cleaned: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    return 2 * _depths(cleaned) - BEYOND


def _depths(cleaned: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Distances from the mid-lines to the nearest pixel outside; bone goes on at the borders."""
    if cleaned.all():
        return np.empty(0)
    line = skeletonize(cleaned)  # type: ignore[no-untyped-call]
    found: npt.NDArray[np.float64] = ndimage.distance_transform_edt(cleaned)[line]
    return found


def _without_specks(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    parts, _ = ndimage.label(mask)
    large = np.bincount(parts.ravel()) >= SPECK
    large[0] = False
    kept: npt.NDArray[np.bool_] = large[parts]
    return kept


def _unclipped(raw: Array, stats: Statistics) -> npt.NDArray[np.float32]:
    smooth = ndimage.gaussian_filter(raw.astype(np.float32), SMOOTHING, mode="nearest")
    return np.asarray((smooth - stats.centre) / stats.width, dtype=np.float32)
