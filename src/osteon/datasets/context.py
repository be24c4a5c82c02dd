"""The context channel of two-scale networks: what a coarse pass might have seen.

A two-scale network gets, beside the grey values, where the inside of a bone is (2 p - 1 of the
probability p; 0 where nothing is known). In a prediction that comes from a pass over the reduced
slice (:mod:`osteon.networks.context`). To learn from, it is made of the labels: blurred,
interpolated from a coarse grid, and wrong here and there, so that the network weighs it against
what it sees.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from osteon.augment import Image, Labels
from osteon.coarse import between
from osteon.datasets.randomness import Purpose, generator
from osteon.datasets.sources import PatchSource
from osteon.labels import IGNORE

Float32 = npt.NDArray[np.float32]

#: How much coarser than the pixels the coarse pass may be, and its fewest pixels.
COARSER, FEWEST = (1.0, 16.0), 8
#: Blur of the coarse pass, in coarse pixels; SD of the place of its borders, as a share of a step.
BLUR, SHIFT = (0.3, 1.2), 0.08
#: How uneven its logits are at most, relative to the step from outside to inside.
UNEVEN = 0.15
#: How often it has parts that are wrong, and how large these are over the patch.
WRONG, WRONG_SIZE, MOST_WRONG = 0.35, (0.03, 0.4), 3
#: What is left of its logits there: reversed, doubtful, nothing, unsure.
LEFT = (-1.0, -0.4, 0.0, 0.3)
#: How sure it is of itself: the slope of its logits.
SURENESS = (4.0, 24.0)
#: How often nothing is known, of patches that were cut at full resolution.
UNKNOWN = 0.25


def unknown(shape: tuple[int, ...]) -> Float32:
    """Return the context where nothing is known.

    Args:
        shape: (y, x).

    Returns:
        Zeros, float32 (y, x).
    """
    return np.zeros(shape, dtype=np.float32)


def seen_coarsely(inside: Float32, rng: np.random.Generator) -> Float32:
    """Degrade an envelope as a pass at low resolution would.

    Args:
        inside: Share of each pixel within an envelope, float32 (y, x), 0..1.
        rng: The generator.

    Returns:
        2 p - 1 of the probability p of lying inside, float32 (y, x), -1..1.
    """
    shape = inside.shape
    factor = _log_uniform(rng, COARSER)
    coarse = tuple(max(round(n / factor), min(FEWEST, n)) for n in shape)
    sigma = float(rng.uniform(*BLUR)) * shape[0] / coarse[0]
    smooth = ndimage.gaussian_filter(inside, sigma, truncate=2.5, mode="nearest")
    middles = [
        ((np.arange(m) + 0.5) * n / m).astype(int) for m, n in zip(coarse, shape, strict=True)
    ]
    logits: Float32 = smooth[np.ix_(*middles)] - np.float32(0.5 + rng.normal(0, SHIFT))
    logits += float(rng.uniform(0, UNEVEN)) * _waves(logits.shape, rng)
    if rng.random() < WRONG:
        logits = _mistaken(logits, rng)
    p = 1 / (1 + np.exp(-_log_uniform(rng, SURENESS) * logits))
    return _enlarge(2 * p - 1, shape)


def _log_uniform(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    return math.exp(rng.uniform(math.log(limits[0]), math.log(limits[1])))


def _waves(shape: tuple[int, ...], rng: np.random.Generator) -> Float32:
    """A field of about unit variance whose waves are some coarse pixels long."""
    sigma = float(rng.uniform(0.7, 4.0))
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma)
    # The gain of a Gaussian on white noise in two dimensions.
    return np.asarray(noise * (2 * math.sqrt(math.pi) * sigma), dtype=np.float32)


def _mistaken(logits: Float32, rng: np.random.Generator) -> Float32:
    """Parts where inside was taken for outside or the reverse, or nothing could be said."""
    height, width = logits.shape
    y = np.arange(height, dtype=np.float32)[:, None]
    x = np.arange(width, dtype=np.float32)[None, :]
    out = logits
    for _ in range(int(rng.integers(1, MOST_WRONG + 1))):
        cy, cx = float(rng.uniform(0, height)), float(rng.uniform(0, width))
        wide, flat = _log_uniform(rng, WRONG_SIZE) * height, float(rng.uniform(0.5, 2))
        distance = np.hypot((y - cy) * flat, x - cx)
        weight = np.clip((wide - distance) / (0.4 * wide + 1) + 0.5, 0, 1)
        out = out * (1 - weight) + out * weight * float(rng.choice(LEFT))
    return np.asarray(out, dtype=np.float32)


def _enlarge(values: Float32, shape: tuple[int, ...]) -> Float32:
    """Interpolate linearly; the values lie at the middles of their cells."""
    out = values
    for axis, (m, n) in enumerate(zip(values.shape, shape, strict=True)):
        low, way = between(n, size=m, factor=n / m)
        weight = way.reshape(-1, *[1] * (1 - axis))
        below, above = out.take(low, axis), out.take(np.minimum(low + 1, m - 1), axis)
        out = below + weight * (above - below)
    return np.asarray(out, dtype=np.float32)


@dataclass(frozen=True)
class ContextPatches:
    """Patches with a context channel made of their labels.

    Attributes:
        source: 2D patches of one channel.
        seed: Seed of the fit.
    """

    source: PatchSource
    seed: int

    def __len__(self) -> int:
        return len(self.source)

    def item(self, epoch: int, index: int) -> tuple[Image, Labels]:
        """Return one patch; see :meth:`osteon.datasets.PatchSource.item`.

        Where labels are 255, the nearest ones stand for what a coarse pass would see.
        """
        image, labels = self.source.item(epoch, index)
        rng = generator(self.seed, purpose=Purpose.CONTEXT, epoch=epoch, index=index)
        seen = unknown(labels.shape)
        if rng.random() >= UNKNOWN:
            seen = of_labels(labels, rng)
        return np.concatenate([image, seen[np.newaxis]]), labels


def of_labels(labels: Labels, rng: np.random.Generator) -> Float32:
    """Make a context of labels.

    Args:
        labels: uint8 (y, x); where they are 255, the nearest others stand for them.
        rng: The generator.

    Returns:
        See :func:`seen_coarsely`; 0 where there are no labels at all.
    """
    if (labels == IGNORE).all():
        return unknown(labels.shape)
    return seen_coarsely((_filled(labels) > 0).astype(np.float32), rng)


def _filled(labels: Labels) -> Labels:
    """Labels with the nearest class wherever there is none."""
    missing = labels == IGNORE
    if not missing.any():
        return labels
    nearest = ndimage.distance_transform_edt(missing, return_distances=False, return_indices=True)
    return np.asarray(labels[tuple(nearest)])


@dataclass(frozen=True)
class MixedPatches:
    """Patches of several sources, one after the other in the order of the index.

    Attributes:
        sources: The sources; their items have one shape.
    """

    sources: tuple[PatchSource, ...]

    def __len__(self) -> int:
        return sum(len(source) for source in self.sources)

    def item(self, epoch: int, index: int) -> tuple[Image, Labels]:
        """Return one patch; see :meth:`osteon.datasets.PatchSource.item`.

        Raises:
            IndexError: If there is no such item.
        """
        first = 0
        for source in self.sources:
            if index < first + len(source):
                return source.item(epoch, index - first)
            first += len(source)
        raise IndexError(f"there is no item {index}: an epoch has {first}")
