"""Where patches come from: random ones to learn from, whole slices to measure by."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from osteon.augment import load_augmentation
from osteon.datasets.masks import MaskVolume, Pair
from osteon.datasets.randomness import Purpose, generator
from osteon.datasets.splits import Part
from osteon.errors import UsageError, warn
from osteon.events import Reporter
from osteon.intensity import Statistics, load_recipe, normalise, statistics
from osteon.labels import IGNORE
from osteon.patches import Tile, pad_to, pad_to_multiple, random_boxes, tile_grid
from osteon.settings import PatchSettings
from osteon.volume import Array

Image = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]

#: Context around tiles of validation slices that are too large to be measured whole, in pixels.
HALO = 64


class PatchSource(Protocol):
    """What a network is fitted to; picklable, so that spawned processes can have it."""

    def __len__(self) -> int:
        """Items of an epoch."""

    def item(self, epoch: int, index: int) -> tuple[Image, Labels]:
        """Return one item, a function of (seed, epoch, index) alone.

        Args:
            epoch: Epoch, from 0.
            index: 0 to ``len(source) - 1``.

        Returns:
            Image (channel, y, x), float32, normalised; labels (y, x), uint8, 255 = ignored.
        """


def scan_statistics(
    pairs: Sequence[Pair], recipe: str, *, reporter: Reporter | None = None
) -> dict[str, Statistics]:
    """Take the statistics of several scans.

    Args:
        pairs: The scans.
        recipe: Name of the normalisation recipe.
        reporter: Told of the progress.

    Returns:
        Statistics by name of the scan.

    Raises:
        InputError: See :func:`osteon.intensity.statistics`.
    """
    return {pair.name: statistics(pair.image, recipe, reporter=reporter) for pair in pairs}


class _SliceCache:
    """The decoded slices that were used last, within a bound; each process has its own."""

    def __init__(self, nbytes: int):
        self._limit = nbytes
        self._forget()

    def _forget(self) -> None:
        self._held = 0
        self._slices: OrderedDict[tuple[int, int], tuple[Array, Array]] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"_limit": self._limit}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def read(
        self, key: tuple[int, int], pair: Pair, box: tuple[slice, slice]
    ) -> tuple[Array, Labels]:
        """Read a part (y, x) of the slice ``key[1]``, image and labels."""
        z = slice(key[1], key[1] + 1)
        labels = _labels_of(pair)
        if not self.fits(pair):
            return pair.image.read(z, *box)[0], labels.read(z, *box)[0]
        with self._lock:
            found = self._slices.get(key)
            if found is not None:
                self._slices.move_to_end(key)
        if found is None:
            found = pair.image.read(z)[0], labels.read(z)[0]
            self._keep(key, found)
        return found[0][box], found[1][box]

    def fits(self, pair: Pair) -> bool:
        """Whether a slice of the scan fits in at all."""
        return math.prod(pair.image.shape[1:]) * (pair.image.dtype.itemsize + 1) <= self._limit

    def _keep(self, key: tuple[int, int], arrays: tuple[Array, Array]) -> None:
        with self._lock:
            if key in self._slices:
                return
            self._slices[key] = arrays
            self._held += sum(a.nbytes for a in arrays)
            while self._held > self._limit:
                _, dropped = self._slices.popitem(last=False)
                self._held -= sum(a.nbytes for a in dropped)


class SlicePatches:
    """Random patches of labelled slices: exactly ``per_slice`` of each slice in an epoch.

    Item ``index`` is patch ``index % per_slice`` of slice ``index // per_slice`` (in the order of
    the parts); the order in which items are used is the sampler's. A slice smaller than the patch
    is padded at its lower and right ends: the image by its edge, the labels by 255.

    Holds decoded slices up to ``cache_bytes`` in each process, beside one slice being read.

    Args:
        pairs: The opened scans.
        parts: The slices to be used.
        patches: Size, number and overlap of the patches.
        statistics: Of each scan, by name; they carry the recipe.
        recipe: Name of the normalisation recipe.
        augmentation: Name of the augmentation.
        seed: Seed of the fit.
        cache_bytes: Memory for decoded slices, in bytes; 0 reads just the patch each time.

    Raises:
        UsageError: If a part's scan is missing or has no labels, or statistics do not match.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        parts: Sequence[Part],
        *,
        patches: PatchSettings,
        statistics: Mapping[str, Statistics],
        recipe: str = "zscore",
        augmentation: str = "none",
        seed: int = 0,
        cache_bytes: int = 0,
    ):
        self._pairs = _used(pairs, parts)
        self._statistics = _matching(self._pairs, statistics, recipe)
        self._slices = _positions(self._pairs, parts)
        self._patches = patches
        self._clip = load_recipe(recipe).clip
        self._augmentation = augmentation
        self._augment = load_augmentation(augmentation)
        self._seed = seed
        self._cache = _SliceCache(cache_bytes)
        small = [p.name for p in self._pairs if min(p.image.shape[1:]) < patches.size]
        if small:
            warn(
                "slice-smaller-than-patch",
                f"slices smaller than the patch of {patches.size} px are padded; the padding is "
                "ignored by the loss. A smaller patches.size would waste less",
                where=", ".join(small),
            )

    def __len__(self) -> int:
        return len(self._slices) * self._patches.per_slice

    def item(self, epoch: int, index: int) -> tuple[Image, Labels]:
        """Return one patch; see :meth:`PatchSource.item`.

        Raises:
            IndexError: If there is no such item.
            InputError: If a scan is damaged, or a mask has values that are no class.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"there is no item {index}: an epoch has {len(self)}")
        number, k = divmod(index, self._patches.per_slice)
        scan, z = self._slices[number]
        pair, size = self._pairs[scan], self._patches.size
        y, x = self._boxes(epoch, number)[k]
        height, width = pair.image.shape[1:]
        box = slice(y, min(y + size, height)), slice(x, min(x + size, width))
        raw, labels = self._cache.read((scan, z), pair, box)
        image = normalise(raw, self._statistics[scan])[np.newaxis]
        return self._augment(
            pad_to(image, (size, size)),
            # A copy: what is handed out must not be a view into the cache.
            np.array(pad_to(labels, (size, size), value=IGNORE)),
            generator(self._seed, purpose=Purpose.AUGMENTATION, epoch=epoch, index=index),
            clip=self._clip,
        )

    def _boxes(self, epoch: int, number: int) -> list[tuple[int, int]]:
        scan, _ = self._slices[number]
        _, height, width = self._pairs[scan].image.shape
        return random_boxes(
            (height, width),
            size=self._patches.size,
            count=self._patches.per_slice,
            max_overlap=self._patches.max_overlap,
            rng=generator(self._seed, purpose=Purpose.BOXES, epoch=epoch, index=number),
        )


@dataclass(frozen=True)
class _Place:
    scan: int
    z: int
    tile: Tile


class GridTiles:
    """Whole slices in a fixed order, the same in every epoch, for validation.

    A slice with more than ``max_pixels`` is cut into a fixed grid of tiles with a halo; the
    labels of the halo are 255, so that every voxel is measured exactly once. All are padded to a
    multiple of ``divisor``: the image by its edge, the labels by 255.

    Args:
        pairs: The opened scans.
        parts: The slices to be measured.
        size: Height and width of tiles, in pixels; used for slices that are cut.
        statistics: Of each scan, by name.
        recipe: Name of the normalisation recipe.
        divisor: What the network needs its input to be a multiple of.
        max_pixels: Largest slice that is measured whole, in pixels.

    Attributes:
        scans: Names of the scans, in the order of the scan index of items.

    Raises:
        UsageError: If a part's scan is missing or has no labels, or statistics do not match.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        parts: Sequence[Part],
        *,
        size: int,
        statistics: Mapping[str, Statistics],
        recipe: str = "zscore",
        divisor: int = 32,
        max_pixels: int = 2**22,
    ):
        self._pairs = _used(pairs, parts)
        self._statistics = _matching(self._pairs, statistics, recipe)
        self._divisor = divisor
        self.scans = tuple(pair.name for pair in self._pairs)
        self._places = [
            _Place(scan, z, tile)
            for scan, z in _positions(self._pairs, parts)
            for tile in self._grid(self._pairs[scan], size, max_pixels)
        ]

    def _grid(self, pair: Pair, size: int, max_pixels: int) -> list[Tile]:
        _, height, width = pair.image.shape
        if height * width <= max_pixels:
            whole = slice(0, height), slice(0, width)
            return [Tile(whole, whole)]
        size = -(-size // self._divisor) * self._divisor
        halo = min(HALO, (size - self._divisor) // 2)
        return tile_grid((height, width), size=size, halo=halo, divisor=self._divisor)

    def __len__(self) -> int:
        return len(self._places)

    def item(self, index: int) -> tuple[Image, Labels, int]:
        """Return one slice or tile.

        Args:
            index: 0 to ``len(tiles) - 1``.

        Returns:
            Image (1, y, x), float32, normalised; labels (y, x), uint8, 255 = not measured; and
            the index of the scan in :attr:`scans`. y and x are multiples of the divisor.

        Raises:
            IndexError: If there is no such item.
            InputError: If a scan is damaged, or a mask has values that are no class.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"there is no item {index}: there are {len(self)}")
        place = self._places[index]
        pair, tile = self._pairs[place.scan], place.tile
        z = slice(place.z, place.z + 1)
        image = normalise(pair.image.read(z, *tile.read), self._statistics[place.scan])
        labels = np.full(image.shape[1:], IGNORE, dtype=np.uint8)
        labels[tile.inner] = _labels_of(pair).read(z, *tile.core)[0]
        return (
            pad_to_multiple(image, self._divisor),
            pad_to_multiple(labels, self._divisor, value=IGNORE),
            place.scan,
        )


def _labels_of(pair: Pair) -> MaskVolume:
    if pair.labels is None:
        raise UsageError(f"scan '{pair.name}' has no mask", mend="leave it out of the split")
    return pair.labels


def _used(pairs: Sequence[Pair], parts: Sequence[Part]) -> tuple[Pair, ...]:
    by_name = {pair.name: pair for pair in pairs}
    for part in parts:
        if part.scan not in by_name:
            raise UsageError(f"the split names a scan '{part.scan}' that was not opened")
        pair = by_name[part.scan]
        strangers = set(part.slices) - set(pair.labelled)
        if strangers:
            raise UsageError(
                f"the split names slice {min(strangers)} of scan '{part.scan}', which has no labels"
            )
    return tuple(by_name[name] for name in dict.fromkeys(part.scan for part in parts))


def _positions(pairs: Sequence[Pair], parts: Sequence[Part]) -> tuple[tuple[int, int], ...]:
    numbers = {pair.name: number for number, pair in enumerate(pairs)}
    return tuple((numbers[part.scan], z) for part in parts for z in part.slices)


def _matching(
    pairs: Sequence[Pair], statistics: Mapping[str, Statistics], recipe: str
) -> tuple[Statistics, ...]:
    for pair in pairs:
        found = statistics.get(pair.name)
        if found is None or found.recipe != load_recipe(recipe).name:
            raise UsageError(
                f"there are no statistics of scan '{pair.name}' by the recipe '{recipe}'",
                mend="take them by osteon.datasets.scan_statistics",
            )
    return tuple(statistics[pair.name] for pair in pairs)
