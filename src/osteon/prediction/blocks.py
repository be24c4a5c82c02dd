"""3D: blocks with a halo along every axis, one slab of slices in memory at a time."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import groupby

import numpy as np

from osteon.backends import Backend
from osteon.intensity import Statistics, normalise
from osteon.patches import Tile, tile_grid
from osteon.prediction.plan import InputRules, PredictPlan
from osteon.prediction.scale import Slabs
from osteon.volume import Array, Volume


def run_blocks(
    seen: Volume,
    statistics: Statistics,
    *,
    backend: Backend,
    plan: PredictPlan,
    rules: InputRules,
    classes: int | None = None,
    part: slice | None = None,
) -> Slabs:
    """Run a scan block by block, in order of z; each slice is read from disk once.

    Of what a block gives, its core is kept; at the ends of the scan the core reaches to the end.
    Blocks longer than the scan are padded by repeating its edge.

    Args:
        seen: The scan as the network sees it.
        statistics: Of the scan.
        backend: The network.
        plan: Extent and halo of the blocks.
        rules: What inputs the network takes.
        classes: Number of classes to give logits of; None gives labels.
        part: Slices that are wanted; whole blocks that hold one of them are given. None: all.

    Yields:
        First slice and labels (n, y, x), uint8, or logits (n, class, y, x), float32.
    """
    grid = tile_grid(
        seen.shape,
        size=(plan.depth or 0, plan.tile or 0, plan.tile or 0),
        halo=(plan.depth_halo, plan.halo, plan.halo),
        divisor=rules.divisors,
    )
    rows = [list(row) for _, row in groupby(grid, key=lambda tile: tile.read[0].start)]
    if part is not None:
        rows = [
            r for r in rows if r[0].core[0].stop > part.start and r[0].core[0].start < part.stop
        ]
    with closing(_slabs(seen, [row[0].read[0] for row in rows])) as slabs:
        for slab, row in zip(slabs, rows, strict=True):
            core = row[0].core[0]
            shape = (core.stop - core.start, *seen.shape[1:])
            found: Array = (
                np.empty(shape, np.uint8)
                if classes is None
                else np.empty((classes, *shape), np.float32)
            )
            for tile in row:
                block = normalise(slab[:, tile.read[1], tile.read[2]], statistics)
                _run_block(block, tile, found, backend=backend, rules=rules)
            yield core.start, found if classes is None else found.swapaxes(0, 1)


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


def _run_block(
    part: Array, tile: Tile, found: Array, *, backend: Backend, rules: InputRules
) -> None:
    """Put what a block gives for its core into the slab."""
    batch = np.ascontiguousarray(rules.pad(part)[np.newaxis, np.newaxis])
    made = (backend.labels(batch) if found.ndim == part.ndim else backend.run(batch))[0]
    found[..., tile.core[1], tile.core[2]] = made[(..., *tile.inner)]
