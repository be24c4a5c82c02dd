"""2D and 2.5D: slice by slice, each read from disk once; whole slices, or tiles with a halo."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from osteon.backends import Backend
from osteon.intensity import Statistics, normalise
from osteon.patches import Tile, blend_weights, neighbours, tile_grid
from osteon.prediction.air import (
    Air,
    Mask,
    Skipped,
    bright_cells,
    holds,
    inside_cells,
    left_to_run,
    pixels,
)
from osteon.prediction.plan import InputRules, PredictPlan
from osteon.prediction.scale import Slabs
from osteon.prediction.wanted import nothing
from osteon.volume import Array, Volume

Image = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Stack:
    """A slice as the network sees it.

    Attributes:
        z: Its index.
        images: Its channels (y, x): neighbouring slices, and the context if there is one.
        cells: Which cells of any of them are not air; None: that is not asked.
    """

    z: int
    images: Sequence[Image]
    cells: Mask | None


@dataclass(frozen=True)
class SliceRunner:
    """Runs slices through a network.

    Attributes:
        seen: The scan as the network sees it.
        statistics: Of the scan.
        backend: The network.
        plan: Whole slices or tiles.
        channels: Neighbouring slices seen at once; 1 in 2D.
        rules: What inputs the network takes.
        context: Gives a further channel (y, x) from the index and the grey values of a slice.
        air: How air is told and whether it is skipped; None: all is run.
        skipped: Counts what is not run.
    """

    seen: Volume
    statistics: Statistics
    backend: Backend
    plan: PredictPlan
    channels: int
    rules: InputRules
    context: Callable[[int, Image], Image] | None = None
    air: Air | None = None
    skipped: Skipped | None = None

    def run(self, part: slice | None = None, *, classes: int | None = None) -> Slabs:
        """Run every slice with its neighbours, in order; the next slice is read meanwhile.

        Args:
            part: Slices that are wanted; None: all.
            classes: Number of classes to give logits of; None gives labels.

        Yields:
            Index and labels (1, y, x), uint8, or logits (1, class, y, x), float32, of each slice.
        """
        tiles = self.tiles
        skip = self.air is not None and self.air.skip
        with closing(self.stacks(part or slice(0, self.seen.shape[0]), look=skip)) as stacks:
            for stack in stacks:
                left = tiles if stack.cells is None else self.left(stack.cells)
                if self.skipped is not None:
                    whole = pixels(tuple(slice(0, n) for n in self.seen.shape[1:]))
                    run = sum(pixels(tile.core) for tile in left)
                    self.skipped.add(air=whole - run, of=whole)
                if left and self.context is not None:
                    stack = self.in_context(stack)
                yield stack.z, self._slice(stack, left, classes=classes)

    @property
    def tiles(self) -> list[Tile]:
        """The tiles of a slice; one where it is run whole."""
        height, width = self.seen.shape[1:]
        if self.plan.tile is None:
            whole = slice(0, height), slice(0, width)
            return [Tile(whole, whole)]
        return tile_grid(
            (height, width),
            size=self.plan.tile,
            halo=self.plan.halo,
            divisor=self.rules.divisors[-1],
        )

    def left(self, cells: Mask) -> list[Tile]:
        """Return what of a slice is not air, with what that needs around it.

        Args:
            cells: Which cells of it are not air.
        """
        tiles = self.tiles
        if self.plan.tile is None:
            margin = None if self.air is None else self.air.margin
            return left_to_run(cells, tiles[0], margin=margin, divisors=self.rules.divisors)
        return [tile for tile in tiles if holds(cells, tile.read)]

    def in_context(self, stack: Stack) -> Stack:
        """Add the context to a slice, where the network has one."""
        if self.context is None:
            return stack
        middle = stack.images[len(stack.images) // 2]
        return replace(stack, images=[*stack.images, self.context(stack.z, middle)])

    def stacks(self, part: slice, *, look: bool) -> Generator[Stack, None, None]:
        """Each slice with its neighbours; holds them and the slice being read.

        Args:
            part: Slices that are wanted.
            look: Whether to find which cells are not air.
        """
        depth = self.seen.shape[0]
        held: dict[int, tuple[Image, Mask | None]] = {}
        first = neighbours(part.start, depth, self.channels)[0]
        last = neighbours(part.stop - 1, depth, self.channels)[-1]

        def bright(image: Image) -> Mask | None:
            return bright_cells(image, self.air.below) if look and self.air else None

        needed = slice(first, last + 1)
        with closing(_read_ahead(self.seen, self.statistics, needed, bright)) as images:
            for z in range(part.start, part.stop):
                wanted = neighbours(z, depth, self.channels)
                for gone in [i for i in held if i < wanted[0]]:
                    del held[gone]
                while wanted[-1] not in held:
                    i, image, cells = next(images)
                    held[i] = image, cells
                found = [cells for _, cells in (held[i] for i in wanted) if cells is not None]
                inside = inside_cells(np.logical_or.reduce(found)) if found else None
                yield Stack(z, [held[i][0] for i in wanted], inside)

    def tile(self, stack: Stack, tile: Tile, *, classes: int | None = None) -> Array:
        """Run one tile of a slice.

        Args:
            stack: The slice, in context.
            tile: What is read of it.
            classes: As for :meth:`run`.

        Returns:
            Labels (y, x) or logits (class, y, x) of what was read.
        """
        part = np.stack([image[tile.read] for image in stack.images])[np.newaxis]
        part = np.ascontiguousarray(self.rules.pad(part))
        made = self.backend.labels(part) if classes is None else self.backend.run(part)
        height, width = (s.stop - s.start for s in tile.read)
        found: Array = made[0, ..., :height, :width]
        return found

    def _slice(self, stack: Stack, left: Sequence[Tile], *, classes: int | None) -> Array:
        if self.plan.blend:
            return self._blended(stack, left, classes=classes)
        shape = stack.images[0].shape
        covered = sum(pixels(tile.core) for tile in left) == pixels([slice(0, n) for n in shape])
        kind = np.uint8 if classes is None else np.float32
        found: Array = (
            np.empty(shape if classes is None else (classes, *shape), kind)
            if covered
            else nothing(shape, classes)
        )
        for tile in left:
            made = self.tile(stack, tile, classes=classes)
            found[..., tile.core[0], tile.core[1]] = made[..., tile.inner[0], tile.inner[1]]
        return found[np.newaxis]

    def _blended(self, stack: Stack, left: Sequence[Tile], *, classes: int | None) -> Array:
        """The weighted mean of the logits of tiles that overlap; air counts as it is labelled."""
        shape, number = stack.images[0].shape, self.plan.classes
        total = np.zeros((number, *shape), np.float32)
        for tile in self.tiles:
            weights = blend_weights(tile, shape, width=self.plan.blend)
            made = (
                self.tile(stack, tile, classes=number)
                if tile in left
                else nothing(weights.shape, number)
            )
            total[..., tile.read[0], tile.read[1]] += made * weights
        blended: Array = total if classes is not None else total.argmax(0).astype(np.uint8)
        return blended[np.newaxis]


def read_ahead(
    volume: Volume, stats: Statistics, part: slice | None = None
) -> Generator[tuple[int, Image], None, None]:
    """Read and normalise slices in order, the next one while this one is used.

    Args:
        volume: The scan.
        stats: Its statistics.
        part: Slices that are wanted; None: all.

    Yields:
        Index and normalised grey values (y, x).
    """
    wanted = part or slice(0, volume.shape[0])
    with closing(_read_ahead(volume, stats, wanted, lambda _: None)) as images:
        for z, image, _ in images:
            yield z, image


def _read_ahead(
    volume: Volume, stats: Statistics, part: slice, look: Callable[[Image], Mask | None]
) -> Generator[tuple[int, Image, Mask | None], None, None]:
    """Read slices ahead, and look at each as it comes."""

    def load(z: int) -> tuple[Image, Mask | None]:
        image: Image = normalise(volume.read(slice(z, z + 1)), stats)[0]
        return image, look(image)

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="osteon-read") as pool:
        coming = pool.submit(load, part.start)
        for z in range(part.start, part.stop):
            image, seen = coming.result()
            if z + 1 < part.stop:
                coming = pool.submit(load, z + 1)
            yield z, image, seen
