"""Does a mask lie on its scan as it should, or flipped, or with swapped axes?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from osteon.datasets.masks import Pair
from osteon.labels import IGNORE
from osteon.volume import Array

#: Slices that are compared.
SLICES = 8
#: Slices are thinned out to about so many pixels along an axis.
_PIXELS = 256
#: A flipped mask is reported if it explains so much more of the grey values' variance.
MARGIN = 0.1
#: A mask that explains less than this of the variance does not seem to belong to the scan.
LEAST = 0.02


@dataclass(frozen=True)
class Orientation:
    """How well the labels explain the grey values.

    Attributes:
        as_is: Share of the grey values' variance that is between the classes (eta squared), mean
            over the compared slices.
        best: The same for the best flip.
        flip: That flip in words; empty if none is clearly better.
    """

    as_is: float
    best: float
    flip: str


def orientation(pair: Pair) -> Orientation | None:
    """Compare a mask with its scan as it is and in all flips that keep the shape.

    Right-angle turns and transpositions are tried on square slices, the reversed order of slices
    on contiguous scans. Reads up to 16 slices, one at a time.

    Args:
        pair: The scan and its labels.

    Returns:
        The agreement; None where no slice has two classes.
    """
    if pair.labels is None:
        return None
    labelled = pair.labelled
    n = min(SLICES, len(labelled))
    chosen = [labelled[(2 * i + 1) * len(labelled) // (2 * n)] for i in range(n)]
    scores: dict[str, list[float]] = {}
    depth = pair.image.shape[0]
    for z in chosen:
        image = pair.image.read(slice(z, z + 1))[0]
        for mirrored in (False, True) if pair.row.contiguous and depth > 1 else (False,):
            at = depth - 1 - z if mirrored else z
            labels = pair.labels.read(slice(at, at + 1))[0]
            for name, turned in _turns(labels):
                words = [name] if name else []
                words += ["the slices in reverse order"] if mirrored else []
                score = _explained(image, turned)
                if score is not None:
                    scores.setdefault(" and ".join(words), []).append(score)
    if "" not in scores:
        return None
    means = {name: float(np.mean(s)) for name, s in scores.items() if len(s) == len(scores[""])}
    best = max(means, key=lambda name: means[name])
    clear = means[best] - means[""] > MARGIN
    return Orientation(means[""], means[best], best if clear else "")


def _turns(labels: Array) -> Iterator[tuple[str, Array]]:
    yield "", labels
    yield "flipped along x", labels[:, ::-1]
    yield "flipped along y", labels[::-1]
    yield "turned by 180°", labels[::-1, ::-1]
    if labels.shape[0] == labels.shape[1]:
        yield "with y and x swapped", labels.T
        yield "turned by 90°", np.rot90(labels)
        yield "turned by 270°", np.rot90(labels, 3)
        yield "with y and x swapped and turned by 180°", labels.T[::-1, ::-1]


def _explained(image: Array, labels: Array) -> float | None:
    steps = tuple(slice(None, None, max(1, n // _PIXELS)) for n in image.shape)
    grey, classes = image[steps].astype(np.float64), labels[steps]
    keep = (classes != IGNORE) & np.isfinite(grey)
    grey, classes = grey[keep], classes[keep]
    counts = np.bincount(classes)
    if (counts > 0).sum() < 2:
        return None
    total = float(np.square(grey - grey.mean()).sum())
    sums = np.bincount(classes, weights=grey - grey.mean())
    between = float((sums[counts > 0] ** 2 / counts[counts > 0]).sum())
    return between / total if total > 0 else None
