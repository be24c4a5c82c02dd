"""How far tiles and blocks agree where they overlap: what seams there would be, measured.

Networks that label a voxel by all of their input label it otherwise in another tile. Of some pairs
of neighbours both label what lies around their common edge, before anything is labelled for good.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

from osteon.events import Reporter
from osteon.intensity import sample_slices
from osteon.patches import Tile
from osteon.prediction.running import Job
from osteon.prediction.stopping import heed
from osteon.volume import Array

#: Slices whose tiles are compared (3D: rows of blocks), and pairs of each.
SLICES, PAIRS = 3, 4


def measure_seams(job: Job, *, reporter: Reporter) -> float:
    """Measure the share of voxels around the edges of tiles that their neighbours label alike.

    Around an edge are the voxels over which both are blended. Memory: as for labelling.

    Args:
        job: The prediction; its plan blends.
        reporter: Told of the progress.

    Returns:
        The share, 0 to 1; 1 where no tiles lie side by side in what was looked at.

    Raises:
        InputError: If the scan is damaged.
        PredictionStopped: If it was asked to stop.
    """
    equal = total = 0
    looked = _blocks(job) if job.spec.mode == "3D" else _tiles(job)
    with reporter.stage("seams", total=SLICES * PAIRS, unit="pair") as progress:
        for one, other, first, second in looked:
            here = _around(one, other, width=job.plan.blend)
            a, b = (
                labels[tuple(slice(h.start - r.start, h.stop - r.start) for h, r in zip(
                    here, tile.read, strict=True))]
                for labels, tile in ((first, one), (second, other))
            )  # fmt: skip
            equal += int((a == b).sum())
            total += a.size
            progress.advance()
            heed(reporter, "the comparison of tiles", where=job.volume.path)
    return equal / total if total else 1.0


def _pairs(tiles: Sequence[Tile]) -> list[tuple[Tile, Tile]]:
    """Neighbours along the last axis, or where there are none along the one before."""
    for axis in (-1, -2):
        found = [
            (one, other)
            for one in tiles
            for other in tiles
            if one.core[axis].stop == other.core[axis].start
            and all(
                a == b for i, (a, b) in enumerate(zip(one.core, other.core, strict=True))
                if i != len(one.core) + axis
            )
        ]  # fmt: skip
        if found:
            return [found[i] for i in sample_slices(len(found), most=PAIRS)]
    return []


def _around(one: Tile, other: Tile, *, width: int) -> tuple[slice, ...]:
    """What lies around the common edge of two neighbours."""
    return tuple(
        a if a == b else slice(a.stop - width, a.stop + width)
        for a, b in zip(one.core, other.core, strict=True)
    )


def _tiles(job: Job) -> Iterator[tuple[Tile, Tile, Array, Array]]:
    runner = job.slice_runner()
    pairs = _pairs(runner.tiles)
    for z in sample_slices(job.seen.shape[0], most=SLICES):
        with closing(runner.stacks(slice(z, z + 1), look=False)) as stacks:
            stack = runner.in_context(next(stacks))
        for one, other in pairs:
            yield one, other, runner.tile(stack, one), runner.tile(stack, other)


def _blocks(job: Job) -> Iterator[tuple[Tile, Tile, Array, Array]]:
    runner = job.block_runner()
    rows = runner.rows
    for i in sample_slices(len(rows), most=1):
        with closing(runner.slabs([rows[i]])) as slabs:
            slab, row = next(slabs)
        for one, other in _pairs(row):
            yield one, other, runner.block(slab, one), runner.block(slab, other)
