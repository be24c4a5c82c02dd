"""Random patches of blocks of neighbouring slices (3D)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from osteon.augment import Image, Labels
from osteon.datasets.random_patches import RandomPatches, Stretch
from osteon.datasets.sampling import runs, visible_slices
from osteon.datasets.splits import Part
from osteon.errors import warn
from osteon.labels import IGNORE
from osteon.patches import Place, pad_to
from osteon.volume import Access, Array, Volume


class BlockPatches(RandomPatches):
    """Random patches (depth, size, size) of the runs of labelled slices.

    A run is a stretch of slices without a gap. It gives ``patches.per_slice`` patches for every
    ``patches.depth`` of its slices (rounded; at least one), which lie within the run, or cover it
    whole where it is shorter than a patch. Images are (1, z, y, x). Slices that are not learned
    from are labelled 255; those that must not be seen
    (:func:`osteon.datasets.sampling.visible_slices`) are in no patch. A scan smaller than the
    patch is padded at its ends: the image by its edge, the labels by 255.

    Whole slices are cached only where the scan's format has to decode them anyway.

    See :class:`~osteon.datasets.random_patches.RandomPatches` for the arguments.
    """

    modes = ("3D",)

    def _divide(self, parts: Sequence[Part]) -> list[Stretch]:
        depth = self._patches.depth
        self._labelled = [
            runs(sorted({z for part in parts if part.scan == pair.name for z in part.slices}))
            for pair in self._pairs
        ]
        rooms = [visible_slices(pair, parts, self._settings.validation) for pair in self._pairs]
        self._warn_of_small([len(room) for room in rooms])
        return [
            Stretch(
                number,
                run,
                _room(run, rooms[number], depth),
                max(1, math.floor(self._patches.per_slice * len(run) / depth + 0.5)),
            )
            for number, found in enumerate(self._labelled)
            for run in found
        ]

    def _warn_of_small(self, depths: Sequence[int]) -> None:
        depth, size = self._patches.depth, self._patches.size
        small = [
            pair.name
            for pair, slices in zip(self._pairs, depths, strict=True)
            if slices < depth or min(pair.image.shape[1:]) < size
        ]
        if small:
            warn(
                "slice-smaller-than-patch",
                f"scans smaller than the patch of {depth} slices of {size} px are padded; the "
                "padding is ignored by the loss. A smaller patches.size or patches.depth would "
                "waste less",
                where=", ".join(small),
            )

    @property
    def _size(self) -> tuple[int, ...]:
        return self._patches.depth, self._patches.size, self._patches.size

    def _cut(self, stretch: Stretch, place: Place) -> tuple[Array, Labels]:
        pair = self._pairs[stretch.scan]
        ends = (stretch.room.stop, *pair.image.shape[1:])
        starts = (stretch.room.start + place[0], *place[1:])
        z, y, x = (
            slice(start, min(start + length, end))
            for start, length, end in zip(starts, self._size, ends, strict=True)
        )
        raw = self._read(stretch.scan, "image", range(z.start, z.stop), (y, x))
        labels = np.full(raw.shape, IGNORE, dtype=np.uint8)
        for run in self._labelled[stretch.scan]:
            shared = range(max(run.start, z.start), min(run.stop, z.stop))
            if shared:
                where = slice(shared.start - z.start, shared.stop - z.start)
                labels[where] = self._read(stretch.scan, "labels", shared, (y, x))
        return raw, labels

    def _keeps(self, volume: Volume) -> bool:
        return volume.access is not Access.RANDOM

    def _shaped(self, image: Image, labels: Labels) -> tuple[Image, Labels]:
        return pad_to(image, self._size)[np.newaxis], pad_to(labels, self._size, value=IGNORE)


def _room(run: range, visible: range, depth: int) -> range:
    """The slices that patches of a run may lie in."""
    first = min(run.start, run.stop - depth)
    last = max(run.stop, run.start + depth)
    # At an end of what may be seen, a patch that covers a short run is moved to the other side.
    first = max(visible.start, min(first, visible.stop - depth))
    return range(first, min(visible.stop, max(last, visible.start + depth)))
