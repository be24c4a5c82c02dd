"""The passes of a 2D model across y and x, which are finished before the one across z."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import asdict, replace

import numpy as np

from osteon.events import Reporter
from osteon.prediction.context import Context, kept_context, seen_across, within_bone
from osteon.prediction.plan import plan_from_dict, plan_prediction
from osteon.prediction.running import Job
from osteon.prediction.sides import (
    AXES,
    Sides,
    SideVolume,
    bundle_of,
    in_chunks,
    put,
    quantised,
    remove_copy,
    unfinished,
)
from osteon.prediction.slices import SliceRunner
from osteon.prediction.stopping import heed
from osteon.prediction.store import Store, slices_in
from osteon.volume import Volume

#: What the passes leave of the memory for the activations: bundles take an eighth, see there.
_LEFT = 0.75


def with_sides(job: Job, store: Store) -> Job:
    """Return a prediction that takes the mean with what the passes across y and x have found.

    Args:
        job: The prediction.
        store: The work area, in which they are finished.
    """
    if job.wanted.axes == 1:
        return job
    classes = len(job.spec.labels)
    return replace(job, sides=Sides(store.folder, shape=job.seen.shape, classes=classes))


def left_across(job: Job, store: Store, *, memory: int) -> dict[int, int]:
    """Count the slices across y and x that no start has run yet.

    Args:
        job: The prediction.
        store: The work area.
        memory: Memory for activations and slices in flight, in bytes.

    Returns:
        Their number by axis; nothing where the scan is seen along z alone.
    """
    if job.wanted.axes == 1:
        return {}
    return {axis: slices_in(_unfinished(job, store, axis, memory=memory)) for axis in AXES}


def run_sides(job: Job, store: Store, *, memory: int, reporter: Reporter) -> None:
    """Run the passes across y and x, but for what an earlier start has finished.

    Memory: as planned for slices across each axis, and up to 64 slices of it together.

    Args:
        job: The prediction.
        store: The work area.
        memory: Memory for activations and slices in flight, in bytes.
        reporter: Told of the progress.

    Raises:
        OsteonError: As :func:`osteon.prediction.predict`.
    """
    if job.wanted.axes == 1:
        return
    left = {axis: _unfinished(job, store, axis, memory=memory) for axis in AXES}
    if any(left.values()):
        source = in_chunks(job.seen, store.folder)
        for axis, parts in left.items():
            if parts:
                _run_side(job, store, source, axis, memory=memory, reporter=reporter)
    remove_copy(store.folder)


def _unfinished(job: Job, store: Store, axis: int, *, memory: int) -> list[slice]:
    classes = len(job.spec.labels)
    bundle = bundle_of(job.seen.shape, axis, classes=classes, memory=memory)
    return unfinished(store, axis, length=job.seen.shape[axis], bundle=bundle)


def _run_side(
    job: Job, store: Store, source: Volume, axis: int, *, memory: int, reporter: Reporter
) -> None:
    classes, total = len(job.spec.labels), job.seen.shape[axis]
    parts = _unfinished(job, store, axis, memory=memory)
    bundle = bundle_of(job.seen.shape, axis, classes=classes, memory=memory)
    runner = _runner(job, store, SideVolume(source, axis, bundle=bundle), axis, memory=memory)
    done = total - slices_in(parts)
    name = "across " + "zyx"[axis]
    with reporter.stage(name, total=total, unit="slice", done=done) as progress:
        for part in parts:
            odds = np.empty((classes, part.stop - part.start, *runner.seen.shape[1:]), np.uint16)
            with closing(runner.run(part, classes=classes)) as slices:
                for i, logits in slices:
                    odds[:, i - part.start] = quantised(logits[0])
                    progress.advance()
                    heed(reporter, f"a part of the pass {name}", where=job.volume.path, kept=True)
            put(store.folder, axis, part, odds)


def _runner(job: Job, store: Store, side: SideVolume, axis: int, *, memory: int) -> SliceRunner:
    kept = store.kept(f"side {axis}")
    if kept:
        plan = plan_from_dict(kept)
    else:
        held = job.plan.context.held if job.plan.context else 0
        allowed = math.floor(_LEFT * memory) - held
        spec = replace(job.spec, context=None)
        plan = plan_prediction(side, job.backend, spec=spec, memory=allowed, logits=True)
        store.keep(**{f"side {axis}": asdict(plan)})
    context: Context | None = within_bone if job.decisions.within else None
    if job.plan.context is not None:
        inside = kept_context(store)
        context = seen_across(axis, job.seen.shape, job.plan.context, inside)
    stats = job.decisions.statistics
    return SliceRunner(side, stats, job.backend, plan, 1, job.rules, context)
