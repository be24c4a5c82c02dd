"""3D: blocks with a halo along every axis, one slab of slices in memory at a time."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from osteon.backends import Backend
from osteon.intensity import Statistics, normalise
from osteon.patches import Tile, blend_weights, tile_grid
from osteon.prediction.air import Air, Mask, Skipped, bright_cells, holds, inside_cells, pixels
from osteon.prediction.plan import InputRules, PredictPlan
from osteon.prediction.scale import Slabs
from osteon.prediction.wanted import highest, nothing
from osteon.volume import Array, Volume

#: Blocks that lie beside each other, from the same slices.
Row = list[Tile]


@dataclass(frozen=True)
class BlockRunner:
    """Runs blocks through a network.

    Attributes:
        seen: The scan as the network sees it.
        statistics: Of the scan.
        backend: The network.
        plan: Extent and halo of the blocks.
        rules: What inputs the network takes.
        air: How air is told and whether it is skipped; None: all is run.
        skipped: Counts what is not run.
    """

    seen: Volume
    statistics: Statistics
    backend: Backend
    plan: PredictPlan
    rules: InputRules
    air: Air | None = None
    skipped: Skipped | None = None

    def run(self, part: slice | None = None, *, classes: int | None = None) -> Slabs:
        """Run a scan block by block, in order of z; each slice is read from disk once.

        Of what a block gives, its core is kept, or where blocks are blended a weighted mean around
        the edges of cores; at the ends of the scan the core reaches to the end. Blocks longer than
        the scan are padded by repeating its edge.

        Args:
            part: Slices that are wanted; whole blocks that hold one of them are given. None: all.
            classes: Number of classes to give logits of; None gives labels.

        Yields:
            First slice and labels (n, y, x), uint8, or logits (n, class, y, x), float32.
        """
        rows = self.rows
        wanted = [row for row in rows if part is None or self._reaches(row, part)]
        slabs = self.slabs(wanted)
        if self.plan.blend:
            return self._blended(slabs, first=wanted[0] is rows[0], classes=classes)
        return self._cores(slabs, classes=classes)

    @property
    def rows(self) -> list[Row]:
        """The blocks, in rows of those that lie in the same slices, in order of z."""
        grid = tile_grid(
            self.seen.shape,
            size=(self.plan.depth or 0, self.plan.tile or 0, self.plan.tile or 0),
            halo=(self.plan.depth_halo, self.plan.halo, self.plan.halo),
            divisor=self.rules.divisors,
        )
        return [list(row) for _, row in groupby(grid, key=lambda tile: tile.read[0].start)]

    def _reaches(self, row: Row, part: slice) -> bool:
        core, width = row[0].core[0], self.plan.blend
        first, last = core.start - width, core.stop + width
        reaches: bool = last > part.start and first < part.stop
        return reaches

    def slabs(self, rows: Sequence[Row]) -> Generator[tuple[Array, Row], None, None]:
        """Stored grey values that a row of blocks is made of, with the row.

        Args:
            rows: The rows, in order of z.
        """
        with closing(_slabs(self.seen, [row[0].read[0] for row in rows])) as slabs:
            yield from zip(slabs, rows, strict=True)

    def left(self, slab: Array, row: Row, known: dict[int, Mask]) -> Row:
        """Return the blocks of a row that hold more than air.

        Args:
            slab: Their grey values.
            row: The blocks.
            known: Cells of slices that are not air, which this adds to.
        """
        if self.air is None or not self.air.skip:
            return row
        first = row[0].read[0].start
        for z in [z for z in known if z < first]:
            del known[z]
        for z, plane in enumerate(slab, start=first):
            if z not in known:
                image = normalise(plane, self.statistics)
                known[z] = inside_cells(bright_cells(image, self.air.below))
        cells = np.logical_or.reduce([known[z] for z in range(first, first + len(slab))])
        return [tile for tile in row if holds(cells, tile.read[1:])]

    def block(self, slab: Array, tile: Tile, *, classes: int | None = None) -> Array:
        """Run one block.

        Args:
            slab: Stored grey values of its slices.
            tile: The block.
            classes: As for :meth:`run`.

        Returns:
            Labels (z, y, x) or logits (class, z, y, x) of what was read.
        """
        part = normalise(slab[:, tile.read[1], tile.read[2]], self.statistics)
        batch = np.ascontiguousarray(self.rules.pad(part)[np.newaxis, np.newaxis])
        made = self.backend.labels(batch) if classes is None else self.backend.run(batch)
        deep, height, width = (s.stop - s.start for s in tile.read)
        found: Array = made[0, ..., :deep, :height, :width]
        return found

    def _counted(self, row: Row, left: Row) -> None:
        if self.skipped is not None:
            whole, run = (sum(pixels(tile.core) for tile in some) for some in (row, left))
            self.skipped.add(air=whole - run, of=whole)

    def _cores(
        self, slabs: Generator[tuple[Array, Row], None, None], *, classes: int | None
    ) -> Slabs:
        known: dict[int, Mask] = {}
        with closing(slabs):
            for slab, row in slabs:
                core = row[0].core[0]
                left = self.left(slab, row, known)
                self._counted(row, left)
                shape = (core.stop - core.start, *self.seen.shape[1:])
                kind = np.uint8 if classes is None else np.float32
                found: Array = (
                    np.empty(shape if classes is None else (classes, *shape), kind)
                    if len(left) == len(row)
                    else nothing(shape, classes)
                )
                for tile in left:
                    made = self.block(slab, tile, classes=classes)
                    z, y, x = tile.inner
                    found[..., tile.core[1], tile.core[2]] = made[..., z, y, x]
                yield core.start, found if classes is None else found.swapaxes(0, 1)

    def _blended(
        self,
        slabs: Generator[tuple[Array, Row], None, None],
        *,
        first: bool,
        classes: int | None,
    ) -> Slabs:
        """The weighted mean of the logits of blocks; air counts as it is labelled.

        A row is added to what the one before left around their common edge; what the next one has
        no part in is whole.
        """
        known: dict[int, Mask] = {}
        carried: Array | None = None
        width, depth = self.plan.blend, self.seen.shape[0]
        with closing(slabs):
            for slab, row in slabs:
                core = row[0].core[0]
                left = self.left(slab, row, known)
                self._counted(row, left)
                total = self._row(slab, row, left)
                start = max(0, core.start - width)
                stop = depth if core.stop == depth else core.stop - width
                if carried is not None:
                    total[:, : carried.shape[1]] += carried
                elif not first:
                    # Around this edge the row before, which nothing of is wanted, has its part.
                    total = total[:, 2 * width :]
                    start += 2 * width
                carried = total[:, stop - start :].copy()
                whole = total[:, : stop - start].swapaxes(0, 1)
                if stop > start:
                    yield start, whole if classes is not None else highest(whole)

    def _row(self, slab: Array, row: Row, left: Row) -> Array:
        """Weighted logits (class, z, y, x) of a row, from the transition before its core on."""
        core, number, width = row[0].core[0], self.plan.classes, self.plan.blend
        start = max(0, core.start - width)
        stop = min(self.seen.shape[0], core.stop + width)
        total = np.zeros((number, stop - start, *self.seen.shape[1:]), np.float32)
        for tile in row:
            offset = tile.read[0].start
            weights = blend_weights(tile, self.seen.shape, width=width)
            shape = weights.shape
            made = (
                self.block(slab, tile, classes=number) if tile in left else nothing(shape, number)
            )
            within = slice(start - offset, stop - offset)
            total[..., tile.read[1], tile.read[2]] += (made * weights)[:, within]
        return total


def _slabs(volume: Volume, ranges: Sequence[slice]) -> Generator[Array, None, None]:
    """Slabs of stored values, the next one read while this one is used.

    What the next shares with one is kept, not read again; two are held.
    """
    empty = slice(0, 0), np.empty((0, *volume.shape[1:]), volume.dtype)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="osteon-read") as pool:
        coming = pool.submit(_slab, volume, ranges[0], *empty)
        for i, now in enumerate(ranges):
            slab = coming.result()
            if i + 1 < len(ranges):
                coming = pool.submit(_slab, volume, ranges[i + 1], now, slab)
            yield slab


def _slab(volume: Volume, now: slice, before: slice, slab: Array) -> Array:
    """Read a slab, but for what it shares with the one before."""
    shared = max(0, before.stop - now.start)
    moved = np.empty((now.stop - now.start, *volume.shape[1:]), volume.dtype)
    moved[:shared] = slab[slab.shape[0] - shared :]
    # In steps, so that no second copy of a slab is made while reading.
    step = max(1, volume.chunks[0])
    for z in range(now.start + shared, now.stop, step):
        block = volume.read(slice(z, min(z + step, now.stop)))
        moved[z - now.start : z - now.start + block.shape[0]] = block
    return moved
