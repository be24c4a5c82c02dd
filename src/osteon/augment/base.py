"""What an augmentation is, and what all of them share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

import numpy as np
import numpy.typing as npt

from osteon.errors import UsageError

Image = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]

#: Range that values normalised to mean 0 and SD 1 are kept in.
ZSCORE_CLIP = (-5.0, 5.0)


class Augmentation(Protocol):
    """What a preset of augmentation is: a function of its input and the generator's state."""

    def __call__(
        self,
        image: Image,
        labels: Labels,
        rng: np.random.Generator,
        *,
        clip: tuple[float, float] = ZSCORE_CLIP,
        isotropic: bool = True,
    ) -> tuple[Image, Labels]:
        """Change a patch.

        Args:
            image: (channel, [z,] y, x), float32, normalised. Several channels are neighbouring
                slices (2.5D) and are changed alike.
            labels: ([z,] y, x), uint8, 255 = ignored.
            rng: The random generator.
            clip: Range of normalised values, of the normalisation recipe.
            isotropic: Whether voxels are as long along z as along y and x (3D only); where not,
                z is never mixed with y or x.

        Returns:
            Image and labels of the same shapes and types, C-contiguous.

        Raises:
            UsageError: If the shapes do not go together.
        """


_HAPPENED: ContextVar[list[str] | None] = ContextVar("happened", default=None)


@contextmanager
def recording() -> Iterator[list[str]]:
    """Write down what augmentations do, in words, for a person who looks at the result.

    Yields:
        A list that grows by one entry a change, within this thread or task alone.
    """
    happened: list[str] = []
    token = _HAPPENED.set(happened)
    try:
        yield happened
    finally:
        _HAPPENED.reset(token)


def note(text: str) -> None:
    """Tell whoever is :func:`recording` of a change.

    Args:
        text: A few words, such as ``blur 0.8 px``.
    """
    happened = _HAPPENED.get()
    if happened is not None:
        happened.append(text)


def check_square(image: Image, labels: Labels) -> None:
    """Refuse a patch that cannot be turned by a right angle within the slice.

    Args:
        image: (channel, [z,] y, x).
        labels: ([z,] y, x).

    Raises:
        UsageError: If image and labels differ in shape, or height and width differ.
    """
    height, width = labels.shape[-2:]
    if labels.ndim not in (2, 3) or image.shape[1:] != labels.shape or height != width:
        raise UsageError(
            f"only square patches are rotated, not image {image.shape} with labels {labels.shape}"
        )
