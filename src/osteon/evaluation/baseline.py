"""A well-tuned threshold to compare with: Otsu, smoothed, closed and filled slice by slice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import edt
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.filters import threshold_multiotsu, threshold_otsu

from osteon.errors import InputError, Stopped
from osteon.events import Reporter
from osteon.labels import BONE_PORES
from osteon.metrics import confusion_matrix, mean_defined, scores
from osteon.volume import Volume

Labels = npt.NDArray[np.uint8]
_Image = npt.NDArray[np.float32]
_Mask = npt.NDArray[np.bool_]
_BONE, _PORES = BONE_PORES.value("bone"), BONE_PORES.value("pores")

#: Classes of Otsu's method (3: bone is above the upper threshold), Gaussians and closings tried.
CLASSES = (2, 3)
SIGMAS = (0.0, 0.8)
RADII = (0, 3, 10, 30)
#: Slices that the choice is made on, and slices that thresholds are taken from.
_SLICES_TRIED = 4
_SLICES_SEEN = 16
#: Values beyond these percentiles (metal, dead pixels) are clipped before Otsu's histogram.
_CLIPPED = (0.1, 99.9)


@dataclass(frozen=True)
class Otsu:
    """A threshold with what goes around it.

    Attributes:
        classes: 2, or 3 for the upper of two thresholds.
        sigma: Standard deviation of the Gaussian before, in pixels; 0: none.
        radius: Radius in pixels of the disk that bone is closed by, before holes are filled.
        threshold: Grey value above which is bone.
    """

    classes: int
    sigma: float
    radius: int
    threshold: float

    def __str__(self) -> str:
        """Say it in words."""
        kind = "Otsu" if self.classes == 2 else "the upper of two Otsu thresholds"
        smooth = f"Gaussian of {self.sigma:g} pixels, " if self.sigma else ""
        return f"{smooth}{kind} ({self.threshold:.4g}), closed by {self.radius} pixels and filled"

    def label(self, image: npt.NDArray[np.generic]) -> Labels:
        """Label a slice.

        Args:
            image: (y, x) grey values.

        Returns:
            uint8 (y, x): 0 background, 1 bone, 2 pores.
        """
        return labelled(_smooth(image, self.sigma) > self.threshold, radius=self.radius)


def tuned_otsu(scan: Volume, truth: Callable[[int], Labels]) -> Otsu:
    """Choose the threshold, smoothing and closing that agree best with the truth of this scan.

    It knows the truth, which no user's threshold does: what it reaches is about the best that
    Otsu's method can do. Chosen by the mean IoU over classes on up to 4 slices evenly along z;
    thresholds come from up to 16. Memory: those slices as float32.

    Args:
        scan: (z, y, x) grey values, bone brighter than what is around.
        truth: Gives the true labels (y, x) of a slice, 255 where there are none.

    Returns:
        The choice.

    Raises:
        InputError: If the scan holds fewer than three grey values.
    """
    depth = scan.shape[0]
    tried = _even(depth, _SLICES_TRIED)
    seen = sorted({*_even(depth, _SLICES_SEEN), *tried})
    images = {z: scan.read(slice(z, z + 1))[0] for z in seen}
    truths = [truth(z) for z in tried]
    best: tuple[float, Otsu] | None = None
    for sigma in SIGMAS:
        smooth = {z: _smooth(image, sigma) for z, image in images.items()}
        values = np.concatenate([image.reshape(-1) for image in smooth.values()])
        for classes, radius in product(CLASSES, RADII):
            otsu = Otsu(classes, sigma, radius, _threshold(values, classes, scan))
            found = [labelled(smooth[z] > otsu.threshold, radius=radius) for z in tried]
            score = _score(truths, found)
            if best is None or score > best[0]:
                best = score, otsu
    if best is None:
        raise InputError("there is nothing to choose a threshold from", where=scan.path)
    return best[1]


def otsu_labels(scan: Volume, otsu: Otsu, *, reporter: Reporter) -> Labels:
    """Label a whole scan, slice by slice. Memory: one byte a voxel, and a slice.

    Args:
        scan: (z, y, x) grey values.
        otsu: What it is labelled by.
        reporter: Told of the progress; asked whether to stop.

    Returns:
        uint8 (z, y, x): 0 background, 1 bone, 2 pores.

    Raises:
        Stopped: If the reporter was asked to stop.
    """
    out = np.empty(scan.shape, np.uint8)
    with reporter.stage("otsu", total=scan.shape[0], unit="slice") as progress:
        for z in range(scan.shape[0]):
            if reporter.stopping:
                raise Stopped("stopped while the scan was labelled by Otsu's threshold")
            out[z] = otsu.label(scan.read(slice(z, z + 1))[0])
            progress.advance()
    return out


def labelled(bone: _Mask, *, radius: int) -> Labels:
    """Turn bone into labels: what the closed bone encloses, and is not bone, is pores.

    Args:
        bone: (y, x).
        radius: Radius of the closing disk in pixels.

    Returns:
        uint8 (y, x): 0 background, 1 bone, 2 pores.
    """
    inside = ndimage.binary_fill_holes(_closed(bone, radius))
    return np.where(bone, _BONE, np.where(inside, _PORES, 0)).astype(np.uint8)


def _closed(mask: _Mask, radius: int) -> _Mask:
    """Close by a disk, by two distance transforms: the radius costs no time."""
    if radius == 0 or not mask.any():
        return mask
    padded = np.pad(mask, radius + 1)
    # Squared distances are whole numbers: half a unit keeps "at most radius" exact.
    limit = radius**2 + 0.5
    grown = edt.edtsq(~padded) <= limit
    back: _Mask = edt.edtsq(grown) > limit
    inner = slice(radius + 1, -radius - 1)
    closed: _Mask = back[inner, inner] | mask
    return closed


def _smooth(image: npt.NDArray[np.generic], sigma: float) -> _Image:
    values = image.astype(np.float32)
    return values if sigma == 0 else np.asarray(ndimage.gaussian_filter(values, sigma))


def _threshold(values: _Image, classes: int, scan: Volume) -> float:
    low, high = np.percentile(values, _CLIPPED)
    clipped = np.clip(values, low, high)
    if len(np.unique(clipped)) <= max(CLASSES):
        raise InputError(
            "the scan holds too few grey values for Otsu's thresholds", where=scan.path
        )
    if classes == 2:
        return float(threshold_otsu(clipped))  # type: ignore[no-untyped-call]
    upper = threshold_multiotsu(clipped, classes=classes)[-1]  # type: ignore[no-untyped-call]
    return float(upper)


def _score(truths: Sequence[Labels], found: Sequence[Labels]) -> float:
    k = len(BONE_PORES)
    total = np.zeros((k, k), np.int64)
    for truth, labels in zip(truths, found, strict=True):
        total += confusion_matrix(truth, labels, classes=k)
    return mean_defined(scores(total)["iou"])[0]


def _even(depth: int, n: int) -> list[int]:
    """Places evenly along z, at the middles of equal parts."""
    return sorted({int((k + 0.5) * depth / n) for k in range(n)})
