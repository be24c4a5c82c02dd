"""Slices seen smaller than they are: what the first pass of a two-scale network is fitted to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from osteon.augment import Image, Labels, load_augmentation
from osteon.coarse import averaging
from osteon.datasets.context import UNKNOWN, of_labels, unknown
from osteon.datasets.masks import Pair
from osteon.datasets.randomness import Purpose, generator
from osteon.datasets.sampling import labels_of, matching_statistics, used_pairs
from osteon.datasets.slice_cache import read_direct
from osteon.datasets.splits import Part
from osteon.intensity import Statistics, load_recipe, normalise
from osteon.labels import IGNORE, LabelScheme
from osteon.settings import FitSettings

#: Of views as small as a whole slice, how often nothing is known of the context.
UNKNOWN_IN_WHOLE = 0.75


class ReducedSlices:
    """Views of whole or part slices, averaged down by area to the size of a patch.

    The factor is drawn log-uniform from 1 to that of the whole slice in a patch. A view that
    reaches beyond its slice is padded: the image by its edge, the labels by 255. Holds the part
    of a slice that is seen.

    Args:
        pairs: The opened scans.
        parts: The slices to be learned from.
        settings: Patches, normalisation, augmentation and seed of the fit.
        statistics: Of each scan, by name.
        labels: The classes.
        items: Views in an epoch, spread evenly over the slices.

    Raises:
        UsageError: If a part's scan is missing or has no labels, or statistics do not match.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        parts: Sequence[Part],
        *,
        settings: FitSettings,
        statistics: Mapping[str, Statistics],
        labels: LabelScheme,
        items: int,
    ):
        self._pairs = used_pairs(pairs, parts)
        recipe = settings.normalisation.recipe
        self._statistics = matching_statistics(self._pairs, statistics, recipe)
        numbers = {pair.name: number for number, pair in enumerate(self._pairs)}
        self._slices = [(numbers[part.scan], z) for part in parts for z in part.slices]
        self._size, self._seed, self._items = settings.patches.size, settings.seed, items
        self._clip, self._classes = load_recipe(recipe).clip, len(labels)
        augmentation = settings.augmentation
        self._augment = load_augmentation(augmentation.preset, augmentation.strength)

    def __len__(self) -> int:
        return self._items

    def item(self, epoch: int, index: int) -> tuple[Image, Labels]:
        """Return one view with its context; see :meth:`osteon.datasets.PatchSource.item`.

        Raises:
            IndexError: If there is no such item.
            InputError: If a scan is damaged, or a mask has values that are no class.
        """
        if not 0 <= index < self._items:
            raise IndexError(f"there is no item {index}: an epoch has {self._items}")
        scan, z = self._slices[index * len(self._slices) // self._items]
        rng = generator(self._seed, purpose=Purpose.REDUCED, epoch=epoch, index=index)
        pair = self._pairs[scan]
        shape = pair.image.shape[1:]
        largest = max(1.0, max(shape) / self._size)
        factor = math.exp(rng.uniform(0, math.log(largest)))
        boxes = [self._box(n, factor, rng) for n in shape]
        where = slice(boxes[0][0], boxes[0][1]), slice(boxes[1][0], boxes[1][1])
        raw = read_direct(pair.image, [z], where)[0]
        image = _averaged(normalise(raw, self._statistics[scan]), boxes)
        mask = self._labels(read_direct(labels_of(pair), [z], where)[0], boxes)
        grey, mask = self._augment(image[np.newaxis], mask, rng, clip=self._clip)
        lost = UNKNOWN_IN_WHOLE if factor > largest / 2 else UNKNOWN
        seen = unknown(mask.shape) if rng.random() < lost else of_labels(mask, rng)
        return np.concatenate([grey, seen[np.newaxis]]), mask

    def _box(self, n: int, factor: float, rng: np.random.Generator) -> tuple[int, int, float, int]:
        """First and last + 1 voxel of an axis, voxels a pixel, and the pixels they make."""
        side = min(round(self._size * factor), n)
        start = int(rng.integers(0, n - side + 1))
        return start, start + side, factor, self._size

    def _labels(self, labels: Labels, boxes: Sequence[tuple[int, int, float, int]]) -> Labels:
        """The class that most of a pixel is of; 255 beyond the slice and where most has none."""
        shares = [
            _averaged((labels == value).astype(np.float32), boxes, beyond=0.0)
            for value in (*range(self._classes), IGNORE)
        ]
        shares[-1] += 1 - sum(shares)
        best = np.argmax(shares, axis=0).astype(np.uint8)
        return np.where(best == self._classes, np.uint8(IGNORE), best)


def _averaged(
    values: Image, boxes: Sequence[tuple[int, int, float, int]], *, beyond: float | None = None
) -> Image:
    """Average (y, x) down by area and pad it at its ends, by its edge or a value."""
    out = values
    for axis, (start, stop, factor, size) in enumerate(boxes):
        n = stop - start
        made = min(size, max(1, round(n / factor)))
        if made != n:
            matrix = averaging(n, size=made, factor=n / made)
            out = matrix @ out if axis == 0 else out @ matrix.T
        missing = [(0, 0), (0, 0)]
        missing[axis] = (0, size - made)
        if size > made:
            more = {"mode": "edge"} if beyond is None else {"constant_values": beyond}
            out = np.pad(out, missing, **more)
    return np.ascontiguousarray(out, dtype=np.float32)
