"""What a fit is measured by: fixed slices or blocks, each voxel once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from osteon.augment import Image, Labels
from osteon.datasets.masks import Pair
from osteon.datasets.sampling import (
    check_mode,
    labels_of,
    matching_statistics,
    runs,
    slices_to_use,
    used_pairs,
)
from osteon.datasets.slice_cache import read_direct
from osteon.datasets.splits import Part
from osteon.intensity import Statistics, normalise
from osteon.labels import IGNORE
from osteon.patches import PerAxis, Tile, neighbours, pad_to_multiple, tile_grid
from osteon.settings import FitSettings
from osteon.volume import Array

#: Context around tiles of slices that are too large to be measured whole, in pixels.
HALO = 64
#: Context around blocks, in slices and in pixels.
BLOCK_HALO = (8, 32)
#: Height and width at least of tiles of such slices, in pixels.
TILE = 512
#: Largest slice that is measured whole, and largest block (both with their context), in voxels.
MOST_IN_SLICE, MOST_IN_BLOCK = 2**22, 2**21


@dataclass(frozen=True)
class _Place:
    scan: int
    #: Slices that are read; in 3D the depth of the block, else the channels.
    slices: tuple[int, ...]
    #: (y, x) or (z, y, x); z counts from the first slice of the scan that may be used.
    tile: Tile
    #: The slices of the core that are measured, ascending.
    measured: tuple[int, ...]


class GridTiles:
    """Slices or blocks in a fixed order, the same in every epoch, for validation.

    2D and 2.5D: whole slices, 2.5D with their neighbours in the scan; a slice with more than
    ``most`` pixels is cut into a fixed grid of tiles with a halo. 3D: the blocks of a fixed grid
    over the scan that hold a slice to be measured, deeper than a patch by a halo. The labels of
    the halo and of slices that are not measured are 255, so that every voxel is measured exactly
    once. All are padded to a multiple of ``divisor``: the image by its edge, the labels by 255.

    Args:
        pairs: The opened scans.
        parts: The slices to be measured.
        settings: Mode, patches and normalisation of the fit.
        statistics: Of each scan, by name.
        divisor: What the network needs its input to be a multiple of, for y and x; or along
            (z, y, x), in 3D alone.
        tile: Height and width at least of tiles of slices that are cut, in pixels.
        most: Largest slice that is measured whole, or largest block, in voxels; None: 2**22 in
            2D and 2.5D, 2**21 in 3D.

    Raises:
        UsageError: If a part's scan is missing or has no labels, or statistics do not match.
        InputError: If a scan's neighbouring slices are no neighbours (2.5D, 3D).
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        parts: Sequence[Part],
        *,
        settings: FitSettings,
        statistics: Mapping[str, Statistics],
        divisor: PerAxis = 32,
        tile: int = TILE,
        most: int | None = None,
    ):
        self._pairs = used_pairs(pairs, parts)
        check_mode(self._pairs, settings.mode)
        recipe = settings.normalisation.recipe
        self._statistics = matching_statistics(self._pairs, statistics, recipe)
        self._scans = tuple(pair.name for pair in self._pairs)
        self._settings = settings
        self._blocks = settings.mode == "3D"
        z, y, x = (1, divisor, divisor) if isinstance(divisor, int) else divisor
        self._divisor: tuple[int, ...] = (z, y, x) if self._blocks else (y, x)
        self._tile = max(tile, settings.patches.size)
        self._most = most or (MOST_IN_BLOCK if self._blocks else MOST_IN_SLICE)
        by_name = {pair.name: number for number, pair in enumerate(self._pairs)}
        place = self._in_blocks if self._blocks else self._in_slices
        self._places = [made for part in parts for made in place(by_name[part.scan], part)]

    def _in_slices(self, scan: int, part: Part) -> list[_Place]:
        settings, pair = self._settings, self._pairs[scan]
        usable = slices_to_use(pair)
        channels = settings.patches.slices if settings.mode == "2.5D" else 1
        tiles = self._cut(pair.image.shape[1:])
        return [
            _Place(
                scan,
                tuple(
                    usable.start + near
                    for near in neighbours(z - usable.start, len(usable), channels)
                ),
                tile,
                (z,),
            )
            for z in part.slices
            for tile in tiles
        ]

    def _in_blocks(self, scan: int, part: Part) -> list[_Place]:
        pair = self._pairs[scan]
        usable = slices_to_use(pair)
        places = []
        for tile in self._cut((len(usable), *pair.image.shape[1:])):
            read, core = (
                range(usable.start + s.start, usable.start + s.stop)
                for s in (tile.read[0], tile.core[0])
            )
            measured = tuple(z for z in part.slices if z in core)
            if measured:
                places.append(_Place(scan, tuple(read), tile, measured))
        return places

    def _cut(self, shape: tuple[int, ...]) -> list[Tile]:
        if not self._blocks:
            if math.prod(shape) <= self._most:
                whole = tuple(slice(0, n) for n in shape)
                return [Tile(whole, whole)]
            size = tuple(-(-self._tile // d) * d for d in self._divisor)
            halo = tuple(min(HALO, (n - d) // 2) for n, d in zip(size, self._divisor, strict=True))
            return tile_grid(shape, size=size, halo=halo, divisor=self._divisor)
        size = self._block_size(shape)
        halo = (BLOCK_HALO[0], BLOCK_HALO[1], BLOCK_HALO[1])
        return tile_grid(shape, size=size, halo=halo, divisor=self._divisor)

    def _block_size(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A patch's depth and its halo; as wide as goes, for the least waste in halos."""
        patches = self._settings.patches
        (depth, *plane), (dz, *steps) = shape, self._divisor
        deep = -(-(max(patches.depth, dz) + 2 * BLOCK_HALO[0]) // dz) * dz
        padded = [-(-n // d) * d for n, d in zip(plane, steps, strict=True)]
        slices = min(deep, -(-depth // dz) * dz)
        if slices * math.prod(padded) <= self._most:
            return (deep, *padded)
        side = max(math.isqrt(self._most // slices), patches.size)
        wide = (max(side // d * d, -(-(2 * BLOCK_HALO[1] + d) // d) * d) for d in steps)
        return (deep, *wide)

    @property
    def scans(self) -> tuple[str, ...]:
        """Names of the scans, in the order of the scan index of items."""
        return self._scans

    def __len__(self) -> int:
        return len(self._places)

    def item(self, index: int) -> tuple[Image, Labels, int]:
        """Return one slice, tile or block.

        Args:
            index: 0 to ``len(tiles) - 1``.

        Returns:
            Image (channel, [z,] y, x), float32, normalised; labels ([z,] y, x), uint8, 255 = not
            measured; and the index of the scan in :attr:`scans`. y and x (and z in 3D) are
            multiples of the divisor.

        Raises:
            IndexError: If there is no such item.
            InputError: If a scan is damaged, or a mask has values that are no class.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"there is no item {index}: there are {len(self)}")
        place = self._places[index]
        pair, tile = self._pairs[place.scan], place.tile
        y, x = tile.read[-2:]
        raw = read_direct(pair.image, place.slices, (y, x))
        image = normalise(raw, self._statistics[place.scan])
        labels = self._labels(place, image.shape)
        image = pad_to_multiple(image, self._divisor)
        return (
            image[np.newaxis] if self._blocks else image,
            pad_to_multiple(labels, self._divisor, value=IGNORE),
            place.scan,
        )

    def _labels(self, place: _Place, shape: tuple[int, ...]) -> Labels:
        labels: Array = np.full(shape if self._blocks else (1, *shape[1:]), IGNORE, dtype=np.uint8)
        masks = labels_of(self._pairs[place.scan])
        core, inner = place.tile.core[-2:], place.tile.inner[-2:]
        first = place.slices[0] if self._blocks else place.measured[0]
        for run in runs(place.measured):
            where = slice(run.start - first, run.stop - first)
            labels[(where, *inner)] = read_direct(masks, run, (core[0], core[1]))
        return labels if self._blocks else labels[0]
