"""The strong preset for CT: other poses and sizes of bone, other scanners and exposures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from osteon.augment import grey
from osteon.augment.base import ZSCORE_CLIP, Image, Labels
from osteon.augment.geometry import draw_affine, draw_displacement, places, resample
from osteon.augment.presets import geometric
from osteon.errors import UsageError

AFFINE, ELASTIC = 0.6, 0.3
#: In the order of their causes: the sample's contrast, the beam, the optics, the detector, the
#: reconstruction, the export. Sharpening comes before noise and rings, whose sizes are those in
#: the reconstruction: sharpened afterwards they would be half as large again.
GREY: tuple[tuple[float, Callable[[Image, np.random.Generator, grey.Scale], Image]], ...] = (
    (0.3, grey.gamma),
    (0.25, grey.cupping),
    (0.25, grey.blur),
    (0.2, grey.coarser),
    (0.1, grey.sharpen),
    (0.4, grey.noise),
    (0.2, grey.rings),
    (0.35, grey.contrast),
    (0.35, grey.brightness),
)
MAX_STRENGTH = 2.0
#: Of the highest strength: some patches always keep what they have.
MAX_PROBABILITY = 0.9


@dataclass(frozen=True)
class Strong:
    """Flips and right-angle turns, affine and elastic changes, and those of grey values.

    See docs/augmentation.md for ranges and reasons.

    Args:
        strength: 0 to 2: scales the probability and the size of all but flips and turns.

    Raises:
        UsageError: If the strength is out of range.
    """

    strength: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= MAX_STRENGTH:
            raise UsageError(
                f"the strength must be 0 to {MAX_STRENGTH:g}, not {self.strength:g}",
                where="augmentation.strength",
            )

    def __call__(
        self,
        image: Image,
        labels: Labels,
        rng: np.random.Generator,
        *,
        clip: tuple[float, float] = ZSCORE_CLIP,
        isotropic: bool = True,
    ) -> tuple[Image, Labels]:
        """Change a patch; see :class:`osteon.augment.Augmentation`.

        The image is mirrored and the labels are 255 where a rotation shows what is outside of
        the patch. Holds about 10 (3D: 16) bytes a voxel beside input and result.

        Raises:
            UsageError: If the patch is not square in (y, x).
        """
        given = image
        image, labels = geometric(image, labels, rng, isotropic=isotropic)
        image, labels = self._resampled(image, labels, rng, isotropic=isotropic)
        if np.may_share_memory(image, given):
            image = image.copy()  # what follows works in place
        scale = grey.Scale.of(clip, strength=self.strength, isotropic=isotropic)
        for probability, change in GREY:
            if self._happens(rng, probability):
                image = change(image, rng, scale)
        np.clip(image, *clip, out=image)
        return image, labels

    def _resampled(
        self, image: Image, labels: Labels, rng: np.random.Generator, *, isotropic: bool
    ) -> tuple[Image, Labels]:
        affine, elastic = self._happens(rng, AFFINE), self._happens(rng, ELASTIC)
        if not (affine or elastic):
            return image, labels
        shape = labels.shape
        matrix = field = None
        if affine:
            matrix = draw_affine(rng, shape, strength=self.strength, isotropic=isotropic)
        if elastic:
            field = draw_displacement(rng, shape, strength=self.strength, isotropic=isotropic)
        return resample(image, labels, places(shape, matrix, field))

    def _happens(self, rng: np.random.Generator, probability: float) -> bool:
        return bool(rng.random() < min(probability * self.strength, MAX_PROBABILITY))
