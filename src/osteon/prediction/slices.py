"""2D and 2.5D: slice by slice, each read from disk once; whole slices, or tiles with a halo."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import numpy.typing as npt

from osteon.backends import Backend
from osteon.intensity import Statistics, normalise
from osteon.patches import Tile, neighbours, tile_grid
from osteon.prediction.plan import InputRules, PredictPlan
from osteon.prediction.scale import Slabs
from osteon.volume import Array, Volume

Image = npt.NDArray[np.float32]


def run_slices(  # noqa: PLR0913
    seen: Volume,
    statistics: Statistics,
    *,
    backend: Backend,
    plan: PredictPlan,
    channels: int,
    rules: InputRules,
    classes: int | None = None,
    context: Callable[[int, Image], Image] | None = None,
    part: slice | None = None,
) -> Slabs:
    """Run every slice with its neighbours, in order; the next slice is read meanwhile.

    Args:
        seen: The scan as the network sees it.
        statistics: Of the scan.
        backend: The network.
        plan: Whole slices or tiles.
        channels: Neighbouring slices seen at once; 1 in 2D.
        rules: What inputs the network takes.
        classes: Number of classes to give logits of; None gives labels.
        context: Gives a further channel (y, x) from the index and the grey values of a slice.
        part: Slices that are wanted; None: all.

    Yields:
        Index and labels (1, y, x), uint8, or logits (1, class, y, x), float32, of each slice.
    """
    height, width = seen.shape[1:]
    tiles = _tiles((height, width), plan, rules.divisors[-1])
    wanted = part or slice(0, seen.shape[0])
    with closing(_stacks(seen, statistics, channels, wanted)) as stacks:
        for z, stack in stacks:
            if context is not None:
                stack = [*stack, context(z, stack[len(stack) // 2])]
            yield z, _run_slice(stack, tiles, backend, rules=rules, classes=classes)


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

    def load(z: int) -> Image:
        image: Image = normalise(volume.read(slice(z, z + 1)), stats)[0]
        return image

    part = part or slice(0, volume.shape[0])
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="osteon-read") as pool:
        coming = pool.submit(load, part.start)
        for z in range(part.start, part.stop):
            image = coming.result()
            if z + 1 < part.stop:
                coming = pool.submit(load, z + 1)
            yield z, image


def _stacks(
    volume: Volume, stats: Statistics, channels: int, part: slice
) -> Generator[tuple[int, Sequence[Image]], None, None]:
    """Each slice with its neighbours; holds them and the slice being read."""
    depth = volume.shape[0]
    held: dict[int, Image] = {}
    first = neighbours(part.start, depth, channels)[0]
    last = neighbours(part.stop - 1, depth, channels)[-1]
    with closing(read_ahead(volume, stats, slice(first, last + 1))) as images:
        for z in range(part.start, part.stop):
            wanted = neighbours(z, depth, channels)
            for gone in [i for i in held if i < wanted[0]]:
                del held[gone]
            while wanted[-1] not in held:
                i, image = next(images)
                held[i] = image
            yield z, [held[i] for i in wanted]


def _run_slice(
    stack: Sequence[Image],
    tiles: Sequence[Tile],
    backend: Backend,
    *,
    rules: InputRules,
    classes: int | None,
) -> Array:
    shape = stack[0].shape
    found: Array = (
        np.empty((1, *shape), np.uint8)
        if classes is None
        else np.empty((1, classes, *shape), np.float32)
    )
    for tile in tiles:
        part = np.stack([image[tile.read] for image in stack])[np.newaxis]
        part = np.ascontiguousarray(rules.pad(part))
        made = backend.labels(part) if classes is None else backend.run(part)
        found[..., tile.core[0], tile.core[1]] = made[..., tile.inner[0], tile.inner[1]]
    return found


def _tiles(shape: tuple[int, int], plan: PredictPlan, divisor: int) -> list[Tile]:
    if plan.tile is None:
        whole = slice(0, shape[0]), slice(0, shape[1])
        return [Tile(whole, whole)]
    return tile_grid(shape, size=plan.tile, halo=plan.halo, divisor=divisor)
