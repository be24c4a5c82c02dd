"""Random changes of patches, so that a network generalises.

An augmentation takes a normalised patch and its labels and a generator, and returns new ones;
the same generator state gives the same result.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from osteon.errors import UsageError
from osteon.tables.choices import AUGMENTATIONS

Image = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]

#: Numbers of the paper's scheme (Lee et al. 2026, 10.3389/fbinf.2025.1677527, and its program).
GEOMETRIC = 6  # one of: flip along x, flip along y, rotation by 90, 180, 270 degrees, nothing
SHIFT, SHIFT_PROBABILITY = 0.15, 0.4
SCALE, SCALE_PROBABILITY = (0.75, 1.25), 0.4
#: Range that values normalised to mean 0 and SD 1 are kept in.
ZSCORE_CLIP = (-5.0, 5.0)


class Augmentation(Protocol):
    """What a row of the table of augmentations loads to."""

    def __call__(
        self,
        image: Image,
        labels: Labels,
        rng: np.random.Generator,
        *,
        clip: tuple[float, float] = ZSCORE_CLIP,
    ) -> tuple[Image, Labels]:
        """Change a patch.

        Args:
            image: (channel, y, x), float32, normalised.
            labels: (y, x), uint8.
            rng: The random generator.
            clip: Range of normalised values, of the normalisation recipe.

        Returns:
            Image and labels of the same shapes and types, C-contiguous.
        """


def load_augmentation(name: str) -> Augmentation:
    """Return an augmentation of the table.

    Args:
        name: Its name.

    Raises:
        UsageError: If there is no such augmentation.
        TypeError: If a third party's row is not callable.
    """
    loaded = AUGMENTATIONS.load(name)
    if not callable(loaded):
        raise TypeError(f"the row '{name}' of augmentations cannot be called")
    return loaded


def identity(
    image: Image,
    labels: Labels,
    rng: np.random.Generator,
    *,
    clip: tuple[float, float] = ZSCORE_CLIP,
) -> tuple[Image, Labels]:
    """Change nothing; see :class:`Augmentation`."""
    return image, labels


def geometric(
    image: Image,
    labels: Labels,
    rng: np.random.Generator,
    *,
    clip: tuple[float, float] = ZSCORE_CLIP,
) -> tuple[Image, Labels]:
    """Flip or turn a patch as the paper's scheme does, and leave its grey values alone.

    One of: flip along x, flip along y, rotation by 90, 180 or 270 degrees, nothing, with equal
    chances. For labels that follow from the grey value itself, such as those of a threshold.

    Args:
        image: (channel, y, x), float32, normalised; square.
        labels: (y, x), uint8.
        rng: The random generator.
        clip: Not used; the grey values stay.

    Returns:
        New image and labels.

    Raises:
        UsageError: If the patch is not square.
    """
    if image.shape[-2:] != labels.shape or labels.shape[0] != labels.shape[1]:
        raise UsageError(
            f"only square patches are rotated, not image {image.shape} with labels {labels.shape}"
        )
    choice = int(rng.integers(GEOMETRIC))
    if choice == 0:
        image, labels = image[..., ::-1], labels[..., ::-1]
    elif choice == 1:
        image, labels = image[..., ::-1, :], labels[::-1]
    elif choice < GEOMETRIC - 1:
        turns = choice - 1
        image, labels = np.rot90(image, turns, axes=(-2, -1)), np.rot90(labels, turns)
    return np.ascontiguousarray(image, dtype=np.float32), np.ascontiguousarray(labels)


def reference(
    image: Image,
    labels: Labels,
    rng: np.random.Generator,
    *,
    clip: tuple[float, float] = ZSCORE_CLIP,
) -> tuple[Image, Labels]:
    """Change a patch by the paper's scheme; see :class:`Augmentation`.

    One of: flip along x, flip along y, rotation by 90, 180 or 270 degrees, nothing, with equal
    chances. Then, each with probability 0.4, a shift in ±0.15 and a scale in 0.75..1.25 of the
    normalised values, which are clipped in the end.

    Args:
        image: (channel, y, x), float32, normalised; square.
        labels: (y, x), uint8.
        rng: The random generator.
        clip: Range of normalised values.

    Returns:
        New image and labels.

    Raises:
        UsageError: If the patch is not square.
    """
    image, labels = geometric(image, labels, rng)
    image = np.array(image)
    if rng.random() < SHIFT_PROBABILITY:
        image += np.float32(rng.uniform(-SHIFT, SHIFT))
    if rng.random() < SCALE_PROBABILITY:
        image *= np.float32(rng.uniform(*SCALE))
    np.clip(image, *clip, out=image)
    return image, labels
