"""Random patches of slices, each seen alone (2D) or with its neighbours (2.5D)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from osteon.augment import Image, Labels
from osteon.datasets.random_patches import RandomPatches, Stretch
from osteon.datasets.sampling import visible_slices
from osteon.datasets.splits import Part
from osteon.errors import warn
from osteon.labels import IGNORE
from osteon.patches import Place, neighbours, pad_to
from osteon.volume import Array


class SlicePatches(RandomPatches):
    """Random patches of labelled slices: exactly ``per_slice`` of each slice in an epoch.

    Item ``index`` is patch ``index % per_slice`` of slice ``index // per_slice`` (in the order of
    the parts). Images are (channel, y, x): one channel in 2D; in 2.5D ``patches.slices``
    neighbouring slices, of which the middle one is labelled. Where a neighbour does not exist or
    must not be seen (:func:`osteon.datasets.sampling.visible_slices`), the nearest slice that may
    be seen is repeated. A slice smaller than the patch is padded at its lower and right ends: the
    image by its edge, the labels by 255.

    See :class:`~osteon.datasets.random_patches.RandomPatches` for the arguments.
    """

    modes = ("2D", "2.5D")

    def _divide(self, parts: Sequence[Part]) -> list[Stretch]:
        patches = self._patches
        self._channels = patches.slices if self._settings.mode == "2.5D" else 1
        numbers = {pair.name: number for number, pair in enumerate(self._pairs)}
        self._visible = [
            visible_slices(pair, parts, self._settings.validation) for pair in self._pairs
        ]
        small = [p.name for p in self._pairs if min(p.image.shape[1:]) < patches.size]
        if small:
            warn(
                "slice-smaller-than-patch",
                f"slices smaller than the patch of {patches.size} px are padded; the padding is "
                "ignored by the loss. A smaller patches.size would waste less",
                where=", ".join(small),
            )
        return [
            Stretch(numbers[part.scan], range(z, z + 1), range(z, z + 1), patches.per_slice)
            for part in parts
            for z in part.slices
        ]

    @property
    def _size(self) -> tuple[int, ...]:
        return self._patches.size, self._patches.size

    def _cut(self, stretch: Stretch, place: Place) -> tuple[Array, Labels]:
        scan, z, size = stretch.scan, stretch.slices.start, self._patches.size
        pair, visible = self._pairs[scan], self._visible[stretch.scan]
        height, width = pair.image.shape[1:]
        y, x = place
        box = slice(y, min(y + size, height)), slice(x, min(x + size, width))
        seen = [
            visible.start + near
            for near in neighbours(z - visible.start, len(visible), self._channels)
        ]
        # A copy: what is handed out must not be a view into the cache.
        labels = np.array(self._read(scan, "labels", [z], box)[0])
        return self._read(scan, "image", seen, box), labels

    def _shaped(self, image: Image, labels: Labels) -> tuple[Image, Labels]:
        return pad_to(image, self._size), pad_to(labels, self._size, value=IGNORE)
