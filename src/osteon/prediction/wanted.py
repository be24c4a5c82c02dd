"""What a prediction gives beside labels, if asked for: probabilities and uncertainty."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from osteon.volume import Array

Images = npt.NDArray[np.float32]
#: Stored value of a probability, or an uncertainty, of one.
FULL = 255
#: Logit of all classes but the first where nothing was run because there is only air: its
#: probability, 2e-9, is stored as 0.
_NEVER = np.float32(-20)
_TINY = np.finfo(np.float32).tiny


@dataclass(frozen=True)
class Wanted:
    """What a prediction is to give, and how much is to be done for it.

    Attributes:
        probabilities: Whether to keep the probability of each class.
        uncertainty: Whether to keep the uncertainty of each label; see :func:`layered`.
        axes: Axes along which the slices are seen: 1, or 3 with the mean of the probabilities.
        skip_air: Whether what holds only air may be skipped.
        resample: Whether a scan outside of the voxel sizes (or below the thickness of bone in
            pixels) of the fit is brought to the nearest inside; see
            :func:`osteon.prediction.scale.resampled_to`.
        contiguous: Whether neighbouring slices are neighbours in space (``yes``, ``no``; ``auto``:
            judged by their grey values), for models whose context comes from the whole scan, and
            where slices are seen along three axes.
        within: Whether all of the scan lies within a bone (``yes``, ``no``; ``auto``: if there is
            no room beside bone in it), for models that seek the outline of bones.
        surface: Where the surface of bone is put; see :func:`osteon.prediction.surface.surface_of`.
    """

    probabilities: bool = False
    uncertainty: bool = False
    axes: int = 1
    skip_air: bool = False
    resample: bool = False
    contiguous: str = "auto"
    within: str = "auto"
    surface: str = "auto"

    @property
    def beside(self) -> bool:
        """Whether anything is wanted beside the labels."""
        return self.probabilities or self.uncertainty

    @property
    def logits(self) -> bool:
        """Whether labels alone do not do."""
        return self.beside or self.axes > 1

    def layers(self, classes: int) -> int:
        """Return how many values a voxel has: its label and what is wanted beside it."""
        return 1 + classes * self.probabilities + self.uncertainty


def layered(logits: Images, wanted: Wanted) -> npt.NDArray[np.uint8]:
    """Make labels, and what is wanted beside them, of logits.

    Probabilities p are the softmax of the logits. The uncertainty is their entropy over that of
    classes that are all as likely, -sum(p ln p) / ln(classes) (Shannon 1948,
    10.1002/j.1538-7305.1948.tb01338.x): 0 where the model is sure, 1 where it does not know.

    Args:
        logits: (n, class, y, x).
        wanted: What is wanted.

    Returns:
        (n, layer, y, x), uint8: the label, then the probabilities of the classes in order, then
        the uncertainty, 0 to 255 standing for 0 to 1, rounded.
    """
    n, classes, *plane = logits.shape
    made = np.empty((n, wanted.layers(classes), *plane), np.uint8)
    for one, into in zip(logits, made, strict=True):
        into[0] = one.argmax(0)
        if not wanted.beside:
            continue
        odds = softmax(one, axis=0)
        if wanted.probabilities:
            into[1 : 1 + classes] = np.rint(odds * np.float32(FULL))
        if wanted.uncertainty:
            into[-1] = np.rint(_entropy(odds) * np.float32(FULL))
    return made


def highest(logits: Images) -> npt.NDArray[np.uint8]:
    """Label slices by the class of the highest logit; holds the working copy of one slice.

    Args:
        logits: (n, class, y, x).

    Returns:
        Labels (n, y, x).
    """
    labels = np.empty((logits.shape[0], *logits.shape[2:]), np.uint8)
    for one, into in zip(logits, labels, strict=True):
        into[:] = one.argmax(0)
    return labels


def softmax(logits: Images, *, axis: int) -> Images:
    """Return class probabilities.

    Args:
        logits: Any shape.
        axis: The axis of the classes.
    """
    odds = logits - logits.max(axis, keepdims=True)
    np.exp(odds, out=odds)
    odds /= odds.sum(axis, keepdims=True)
    found: Images = odds.astype(np.float32, copy=False)
    return found


def _entropy(odds: Images) -> Images:
    """Entropy of probabilities (class, y, x) over its largest possible value, 0 to 1."""
    found = -(odds * np.log(np.maximum(odds, _TINY))).sum(0) / np.float32(math.log(len(odds)))
    within: Images = np.clip(found, 0, 1)
    return within


def nothing(shape: tuple[int, ...], classes: int | None) -> Array:
    """Return the labels, or the logits, of what holds only air: all of it is of the first class.

    Args:
        shape: (y, x) or (z, y, x).
        classes: Number of classes to give logits of; None gives labels.

    Returns:
        Labels of that shape, uint8, or logits (class, ...), float32.
    """
    if classes is None:
        return np.zeros(shape, np.uint8)
    logits = np.full((classes, *shape), _NEVER, np.float32)
    logits[0] = 0
    return logits
