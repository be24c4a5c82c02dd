"""Whether air is skipped: parts of a scan that would be are run all the same, before any block.

Some slices are drawn at random (the same ones every time), one of each of as many equal parts of
the scan, and what would be skipped of them is found. A random sample of that is run: if any voxel
of it is labelled other than background, nothing is skipped. Whole slices are audited as a whole,
and what is cut out of two of them must get the same labels as in the slice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from osteon.events import Reporter
from osteon.intensity import statistics
from osteon.patches import Tile
from osteon.prediction.air import Air, brightness, left_to_run, pixels
from osteon.prediction.blocks import BlockRunner
from osteon.prediction.features import RECIPE
from osteon.prediction.running import Job
from osteon.prediction.slices import SliceRunner, Stack
from osteon.prediction.stopping import heed
from osteon.volume import Array

#: Slices that are looked at (3D: rows of blocks) for what would be skipped.
LOOKED_AT = {2: 16, 3: 3}
#: An audit takes at most this share of what skipping saves ...
SHARE = 0.25
#: ... and so many whole slices, tiles or blocks; with fewer than the least, nothing is skipped.
MOST = {"slices": 8, "tiles": 64, "blocks": 16}
LEAST = 2
#: Less than this share of the work is not worth it.
LEAST_SAVING = 0.05
#: Context that is tried around what is cut out of a slice, in pixels.
MARGINS = (32, 64, 128)
#: Slices whose labels are compared with those of what is cut out of them, and the share of its
#: voxels that must agree.
COMPARED, AGREEMENT = 2, 0.999
#: Seed of the random choice.
SEED = 5
_T = TypeVar("_T")


def decide_air(job: Job, *, reporter: Reporter) -> Air:
    """Decide whether parts that hold only air are skipped.

    Memory: as for labelling; a whole slice and its labels twice.

    Args:
        job: The prediction, in which all is run.
        reporter: Told of the progress.

    Returns:
        The decision; the same scan, model and settings always give the same.

    Raises:
        InputError: If the scan is damaged.
        PredictionStopped: If it was asked to stop.
    """
    own = job.decisions.statistics
    edges = own if own.recipe == RECIPE else statistics(job.volume, RECIPE, reporter=reporter)
    below = brightness(edges, own)
    if below is None:
        return Air(False, "the scan shows no edges of bone by which air could be told")
    air = Air(True, "", below)
    if job.spec.mode == "3D":
        return _of_blocks(job, air, reporter=reporter)
    runner = replace(job.slice_runner(), air=air, skipped=None)
    if job.plan.tile is None:
        return _of_slices(job, runner, air, reporter=reporter)
    return _of_tiles(job, runner, air, reporter=reporter)


def _drawn(number: int, *, most: int) -> list[int]:
    """One at random of each of so many equal parts."""
    n = min(number, most)
    rng = np.random.default_rng(SEED)
    return [int(rng.integers(i * number // n, (i + 1) * number // n)) for i in range(n)]


def _looked(job: Job, runner: SliceRunner, reporter: Reporter) -> Iterator[Stack]:
    places = _drawn(job.seen.shape[0], most=LOOKED_AT[2])
    with reporter.stage("air", total=len(places), unit="slice") as progress:
        for z in places:
            with closing(runner.stacks(slice(z, z + 1), look=True)) as stacks:
                yield next(stacks)
            progress.advance()
            heed(reporter, "the search for air", where=job.volume.path)


def _budget(saving: float, units: float, kind: str) -> int:
    """How many parts of a scan are audited: a share of the parts that are skipped."""
    return min(MOST[kind], int(SHARE * saving * units))


def _too_little(saving: float, air: Air) -> Air:
    return replace(
        air, skip=False, saving=saving, why=f"only {saving:.0%} of the scan's work is air"
    )


def _too_small(saving: float, air: Air) -> Air:
    return replace(
        air,
        skip=False,
        saving=saving,
        why=f"{saving:.0%} of the work would be saved, and to audit that takes as long: the scan "
        "is small",
    )


def _failed(air: Air, *, saving: float, audited: int, what: str, value: int, job: Job) -> Air:
    name = job.spec.labels.names[value]
    return replace(
        air,
        skip=False,
        saving=saving,
        audited=audited,
        why=f"of {audited} {what} that would be skipped one holds what the model labels {name}",
    )


def _passed(air: Air, *, saving: float, audited: int, what: str) -> Air:
    return replace(
        air,
        saving=saving,
        audited=audited,
        why=f"about {saving:.0%} of the work is saved; {audited} {what} that would be skipped were "
        "run, and hold nothing but background",
    )


def _of_tiles(job: Job, runner: SliceRunner, air: Air, *, reporter: Reporter) -> Air:
    """2D and 2.5D, where slices go through the network as tiles."""
    tiles, found = runner.tiles, []
    looked = 0
    for stack in _looked(job, runner, reporter):
        looked += 1
        left = [] if stack.cells is None else runner.left(stack.cells)
        found += [(stack.z, tile) for tile in tiles if tile not in left]
    saving = len(found) / (looked * len(tiles))
    if saving < LEAST_SAVING:
        return _too_little(saving, air)
    number = min(_budget(saving, job.seen.shape[0] * len(tiles), "tiles"), len(found))
    if number < LEAST:
        return _too_small(saving, air)
    chosen = _sample(found, number)
    done = 0
    with reporter.stage("audit", total=number, unit="tile") as progress:
        for z in sorted({z for z, _ in chosen}):
            with closing(runner.stacks(slice(z, z + 1), look=False)) as stacks:
                stack = runner.in_context(next(stacks))
            for tile in [tile for at, tile in chosen if at == z]:
                done += 1
                labels = runner.tile(stack, tile)[tile.inner]
                if labels.any():
                    return _failed(
                        air,
                        saving=saving,
                        audited=done,
                        what="tiles",
                        value=_first(labels),
                        job=job,
                    )
                progress.advance()
                heed(reporter, "a part of the audit", where=job.volume.path)
    return _passed(air, saving=saving, audited=number, what="tiles")


def _sample(found: Sequence[_T], number: int) -> list[_T]:
    chosen = np.random.default_rng(SEED).choice(len(found), number, replace=False)
    return [found[i] for i in sorted(chosen.tolist())]


def _first(labels: Array) -> int:
    return int(labels[labels != 0][0])


def _of_slices(job: Job, runner: SliceRunner, air: Air, *, reporter: Reporter) -> Air:
    """2D and 2.5D, where slices go through the network whole."""
    whole = runner.tiles[0]
    cells = [
        (stack.z, stack.cells)
        for stack in _looked(job, runner, reporter)
        if stack.cells is not None
    ]
    # A network that labels by all of its input is not given less of it.
    margins = () if job.spec.network.global_context else MARGINS
    saved: dict[int | None, float] = {}
    for margin in (*margins, None):
        left = [
            left_to_run(one, whole, margin=margin, divisors=job.rules.divisors) for _, one in cells
        ]
        run = sum(pixels(tile.read) for tiles in left for tile in tiles)
        saved[margin] = 1 - run / (len(cells) * pixels(whole.read))
    most = max(saved.values())
    if most < LEAST_SAVING:
        return _too_little(most, air)
    number = min(_budget(most, job.seen.shape[0], "slices"), len(cells))
    if number < LEAST:
        return _too_small(most, air)
    chosen = _sample(cells, number)
    return _audited_slices(job, runner, air, chosen=chosen, saved=saved, reporter=reporter)


def _audited_slices(
    job: Job,
    runner: SliceRunner,
    air: Air,
    *,
    chosen: Sequence[tuple[int, npt.NDArray[np.bool_]]],
    saved: dict[int | None, float],
    reporter: Reporter,
) -> Air:
    whole = runner.tiles[0]
    compared: list[tuple[Stack, npt.NDArray[np.bool_], Array]] = []
    most = max(saved.values())
    with reporter.stage("audit", total=len(chosen), unit="slice") as progress:
        for done, (z, cells) in enumerate(chosen, start=1):
            with closing(runner.stacks(slice(z, z + 1), look=False)) as stacks:
                stack = runner.in_context(next(stacks))
            labels = runner.tile(stack, whole)
            outside = labels.copy()
            for tile in left_to_run(cells, whole, margin=0, divisors=job.rules.divisors):
                outside[tile.core] = 0
            if outside.any():
                return _failed(
                    air, saving=most, audited=done, what="slices", value=_first(outside), job=job
                )
            if cells.any() and len(compared) < COMPARED:
                compared.append((stack, cells, labels))
            progress.advance()
            heed(reporter, "a part of the audit", where=job.volume.path)
    for margin, saving in saved.items():
        if margin is None or saving < LEAST_SAVING:
            continue
        agreement = _agreement(runner, compared, margin=margin)
        if agreement >= AGREEMENT:
            found = replace(air, margin=margin, agreement=agreement)
            passed = _passed(found, saving=saving, audited=len(chosen), what="slices")
            return replace(
                passed,
                why=f"{passed.why}; what is cut out with {margin} pixels around it gets the same "
                f"labels in {agreement:.3%} of its voxels",
            )
    if saved[None] < LEAST_SAVING:
        return replace(
            air,
            skip=False,
            saving=most,
            audited=len(chosen),
            why="what is cut out of slices gets other labels than in the slice",
        )
    return _passed(air, saving=saved[None], audited=len(chosen), what="slices")


def _agreement(
    runner: SliceRunner,
    compared: Sequence[tuple[Stack, npt.NDArray[np.bool_], Array]],
    *,
    margin: int,
) -> float:
    equal = total = 0
    for stack, cells, labels in compared:
        whole = runner.tiles[0]
        for tile in left_to_run(cells, whole, margin=margin, divisors=runner.rules.divisors):
            cut = runner.tile(stack, tile)[tile.inner]
            equal += int((cut == labels[tile.core]).sum())
            total += cut.size
    return equal / total if total else 1.0


def _of_blocks(job: Job, air: Air, *, reporter: Reporter) -> Air:
    runner = replace(job.block_runner(), air=air, skipped=None)
    rows = runner.rows
    places = sorted(set(_drawn(len(rows), most=LOOKED_AT[3])))
    found: list[tuple[int, Tile]] = []
    with reporter.stage("air", total=len(places), unit="row of blocks") as progress:
        for i in places:
            with closing(runner.slabs([rows[i]])) as slabs:
                slab, row = next(slabs)
            left = runner.left(slab, row, {})
            found += [(i, tile) for tile in row if tile not in left]
            progress.advance()
            heed(reporter, "the search for air", where=job.volume.path)
    blocks = sum(len(row) for row in rows)
    saving = len(found) / sum(len(rows[i]) for i in places)
    if saving < LEAST_SAVING:
        return _too_little(saving, air)
    number = min(_budget(saving, blocks, "blocks"), len(found))
    if number < LEAST:
        return _too_small(saving, air)
    return _audited_blocks(
        job, runner, air, chosen=_sample(found, number), saving=saving, reporter=reporter
    )


def _audited_blocks(
    job: Job,
    runner: BlockRunner,
    air: Air,
    *,
    chosen: Sequence[tuple[int, Tile]],
    saving: float,
    reporter: Reporter,
) -> Air:
    done, rows = 0, runner.rows
    with reporter.stage("audit", total=len(chosen), unit="block") as progress:
        for i in sorted({i for i, _ in chosen}):
            with closing(runner.slabs([rows[i]])) as slabs:
                slab, _ = next(slabs)
            for tile in [tile for at, tile in chosen if at == i]:
                done += 1
                labels = runner.block(slab, tile)[tile.inner]
                if labels.any():
                    return _failed(
                        air, saving=saving, audited=done, what="blocks",
                        value=_first(labels), job=job,
                    )  # fmt: skip
                progress.advance()
                heed(reporter, "a part of the audit", where=job.volume.path)
    return _passed(air, saving=saving, audited=len(chosen), what="blocks")
