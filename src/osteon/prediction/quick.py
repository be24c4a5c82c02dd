"""``--speed fast`` and ``int8``: an int8 network made from slices of the scan, if labels stay.

Slices at even distances are taken from the scan. Most are what the network is quantised from; the
others are held back, and labelled in full precision and in int8. The outcome stands in the journal
of the prediction, and the quantised network beside it, so that a later start goes on with it.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from osteon.backends import Backend
from osteon.errors import OutputError, UsageError, warn
from osteon.events import Reporter
from osteon.intensity import sample_slices
from osteon.prediction.forecast import extent_at_once, seconds_of_network
from osteon.prediction.plan import InputRules, input_rules
from osteon.prediction.running import Job
from osteon.prediction.stopping import heed
from osteon.prediction.store import Store, slices_in
from osteon.prediction.worth import Worth, worth

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]
#: Share of the voxels of held-back slices that must have the same label.
AGREEMENT = 0.999
#: Int8 that is not so many times faster is not worth any difference.
SPEED_UP = 1.1
#: Slices that are looked at (3D: each with the blocks it lies in), one in three of them held back.
PLACES, ONE_IN = {2: 12, 3: 3}, 3
#: Extent of the samples, ([z,] y, x), and how many are taken of a slice: the one of highest
#: contrast of some at random, and one at random.
SAMPLE = {2: (320, 320), 3: (64, 64, 64)}
SAMPLES = 2
_TRIES = 8
#: Inputs of a held-back slice (or slab of blocks) that are run; a whole slice is one.
MOST_INPUTS = 9
_FILE, _KEPT = "int8.xml", "fast"


class Quantises(Protocol):
    """What :class:`osteon.backends.quantised.Quantiser` does.

    Attributes:
        must_pay: Whether int8 is wanted only where it saves time.
    """

    must_pay: bool

    def make(self, samples: Sequence[Images], path: Path) -> None:
        """Quantise the network and write it."""

    def open(self, path: Path) -> Backend:
        """Open what was written."""


@dataclass(frozen=True)
class Fast:
    """Whether int8 is used, and why.

    Attributes:
        used: Whether it is.
        why: The reason, in words.
        agreement: Share of equal labels in held-back slices; None where it was not measured.
        speed_up: How many times faster it was there.
        crc32: Checksum of the quantised network.
        needed_seconds: What full precision was estimated to take; None where it was not.
        saved_seconds: What int8 was estimated to save of it.
        cost_seconds: What making and checking it was estimated to take.
        spent_seconds: What that took; None where it was not done.
    """

    used: bool
    why: str
    agreement: float | None = None
    speed_up: float | None = None
    crc32: int | None = None
    needed_seconds: float | None = None
    saved_seconds: float | None = None
    cost_seconds: float | None = None
    spent_seconds: float | None = None


@dataclass
class _Noting:
    """A backend that calls something with every input, in the place of the network."""

    job: Job
    note: Any
    bytes_per_pixel: int = 0
    description: str = "noting"
    calls: int = 0

    def labels(self, batch: Images) -> Labels:
        found: Labels | None = self.note(self.calls, batch)
        self.calls += 1
        return np.zeros((len(batch), *batch.shape[2:]), np.uint8) if found is None else found

    def run(self, batch: Images) -> Images:
        self.note(self.calls, batch)
        self.calls += 1
        classes = len(self.job.spec.labels)
        return np.zeros((len(batch), classes, *batch.shape[2:]), np.float32)

    def over(self, z: int) -> int:
        """See what the network sees when a slice is labelled; return the number of inputs."""
        self.calls = 0
        job = replace(self.job, backend=self)
        with closing(job.labels(slice(z, z + 1))) as slabs:
            for _ in slabs:
                pass
        return self.calls


@dataclass
class _Run:
    """Labels of chosen inputs by one backend, and the seconds that it took."""

    backend: Backend
    chosen: Mapping[int, Sequence[int]]
    labels: list[Labels] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def over(self, job: Job, reporter: Reporter) -> None:
        with reporter.stage("compare", total=len(self.chosen), unit="slice") as progress:
            for z, inputs in self.chosen.items():
                _Noting(job, lambda i, batch, of=inputs: self._note(batch, run=i in of)).over(z)
                progress.advance()
                heed(reporter, "a part of the comparison", where=job.volume.path)

    def _note(self, batch: Images, *, run: bool) -> Labels | None:
        if not run:
            return None
        if not self.labels:
            self.backend.labels(batch)  # the first call of a shape takes longer
        start = time.perf_counter()
        found = self.backend.labels(batch)
        self.seconds.append((time.perf_counter() - start) / batch.size)
        self.labels.append(found)
        return found


def quicken(
    job: Job,
    store: Store,
    *,
    quantiser: Quantises | str,
    across: Mapping[int, int] | None = None,
    reporter: Reporter,
) -> tuple[Job, Fast]:
    """Give a prediction an int8 network, if that gives the same labels, faster.

    The coarse pass of models that look twice stays in full precision.

    Memory: beside the plan, the samples and labels of the held-back slices.

    Args:
        job: The prediction.
        store: Keeps the decision and the network; those that it holds are taken.
        quantiser: Makes the int8 network; or why there can be none.
        across: Slices that are to be run across other axes, by axis.
        reporter: Told of the progress.

    Returns:
        The prediction, with the int8 network where that is used, and the decision.

    Raises:
        OsteonError: If the scan is damaged or the network cannot be kept.
    """
    path = store.folder / _FILE
    kept = store.kept(_KEPT)
    if kept:
        decided = Fast(**kept)
        _check_kept(decided, path, quantiser)
    else:
        told = job.taken()
        left = slices_in(store.missing())
        needed = partial(seconds_of_network, job, left, across=across)
        decided = _decide(job, needed, path=path, quantiser=quantiser, reporter=reporter)
        job.taken()  # of the slices that were looked at: they are counted when labelled
        job.count(told)
        store.keep(**{_KEPT: asdict(decided)})
    if not decided.used or isinstance(quantiser, str):
        warn("full-precision", f"int8 is not used: {decided.why}", where=job.volume.path)
        return job, decided
    reporter.message("predict", f"fast: int8, {decided.why}")
    return replace(job, backend=quantiser.open(path)), decided


def _check_kept(decided: Fast, path: Path, quantiser: Quantises | str) -> None:
    """Refuse to go on in another arithmetic than the one begun in."""
    if not decided.used:
        return
    if isinstance(quantiser, str):
        raise UsageError(
            f"this was begun in int8, which cannot be run any more: {quantiser}",
            where=path,
            mend="mend that, or begin anew with --overwrite",
        )
    if decided.crc32 != _checksum(path):
        raise OutputError(
            "the quantised network that was kept is damaged",
            where=path,
            mend="begin anew with --overwrite",
        )


def _decide(
    job: Job,
    needed: Callable[[], float],
    *,
    path: Path,
    quantiser: Quantises | str,
    reporter: Reporter,
) -> Fast:
    if isinstance(quantiser, str):
        return Fast(False, quantiser)
    places = sample_slices(job.volume.shape[0], most=PLACES[job.spec.network.dimensions])
    if len(places) == 1:
        return Fast(False, "the scan has one slice, so that none can be held back")
    pay = _worth(job, needed(), places)
    reporter.message("predict", f"fast: {pay.in_words()}")
    estimate = replace(
        Fast(False, f"it would not save time: {pay.in_words()}"),
        needed_seconds=round(pay.needed, 1),
        saved_seconds=round(pay.saved, 1),
        cost_seconds=round(pay.cost, 1),
    )
    if quantiser.must_pay and not pay.pays:
        return estimate
    start = time.perf_counter()
    job = replace(job, air=None)  # what is compared may be air: it is run as the rest is
    samples, chosen = _looked_at(job, places, reporter=reporter)
    try:
        with reporter.stage("quantise"):
            quantiser.make(samples, path)
    except UsageError as error:
        return replace(estimate, why=error.what)
    found = _compared(job, chosen, path=path, quantiser=quantiser, reporter=reporter)
    return replace(
        found,
        needed_seconds=estimate.needed_seconds,
        saved_seconds=estimate.saved_seconds,
        cost_seconds=estimate.cost_seconds,
        spent_seconds=round(time.perf_counter() - start, 1),
    )


def _worth(job: Job, needed: float, places: Sequence[int]) -> Worth:
    held = len(places[1::ONE_IN])
    dimensions = job.spec.network.dimensions
    extent = zip(extent_at_once(job), SAMPLE[dimensions], strict=True)
    one = math.prod(min(n, most) for n, most in extent)
    return worth(
        job,
        needed,
        samples=SAMPLES * one * (len(places) - held),
        places=held,
        inputs=MOST_INPUTS,
    )


def _looked_at(
    job: Job, places: Sequence[int], *, reporter: Reporter
) -> tuple[list[Images], dict[int, Sequence[int]]]:
    """Samples of most slices; and of those held back, which of their inputs are compared."""
    held, rules = places[1::ONE_IN], input_rules(job.spec.network)
    samples: list[Images] = []
    chosen: dict[int, Sequence[int]] = {}
    rng = np.random.default_rng(0)
    with reporter.stage("samples", total=len(places), unit="slice") as progress:
        for z in places:
            taken: list[Images] = []

            def note(_: int, batch: Images, to: list[Images] = taken) -> None:
                to += _samples(batch, rules, rng)

            count = _Noting(job, note).over(z)
            if z in held:
                chosen[z] = sample_slices(count, most=MOST_INPUTS)
            else:
                samples += _typical(taken)
            progress.advance()
            heed(reporter, "the looking for samples", where=job.volume.path)
    return samples, chosen


def _compared(
    job: Job,
    chosen: Mapping[int, Sequence[int]],
    *,
    path: Path,
    quantiser: Quantises,
    reporter: Reporter,
) -> Fast:
    full = _Run(job.backend, chosen)
    full.over(job, reporter)
    release = getattr(job.backend, "release", None)
    if release is not None:
        release()  # so that the activations of both are not held at once
    quick = _Run(quantiser.open(path), chosen)
    quick.over(job, reporter)
    pairs = list(zip(full.labels, quick.labels, strict=True))
    equal = sum(int((a == b).sum()) for a, b in pairs) / sum(a.size for a, _ in pairs)
    faster = float(np.median(full.seconds) / np.median(quick.seconds))
    what = f"{len(chosen)} held-back slice(s)"
    why = f"{equal:.3%} of the voxels of {what} have the same label, {faster:.1f} times as fast"
    if equal < AGREEMENT:
        return Fast(False, f"only {why}; {AGREEMENT:.1%} are asked for", equal, faster)
    if quantiser.must_pay and faster < SPEED_UP:
        return Fast(False, f"it is hardly faster: {why}", equal, faster)
    return Fast(True, why, equal, faster, _checksum(path))


def _samples(batch: Images, rules: InputRules, rng: np.random.Generator) -> list[Images]:
    """Cut parts out of an input at random; keep one at random and the one of highest contrast."""
    extent = [
        min(whole, max(least, most // step * step))
        for whole, most, least, step in zip(
            batch.shape[2:], SAMPLE[batch.ndim - 2], rules.least, rules.divisors, strict=True
        )
    ]
    made = []
    for _ in range(_TRIES):
        starts = [
            int(rng.integers(0, whole - size + 1))
            for whole, size in zip(batch.shape[2:], extent, strict=True)
        ]
        window = (slice(a, a + size) for a, size in zip(starts, extent, strict=True))
        made.append(batch[(slice(0, 1), slice(None), *window)])
    return [part.copy() for part in _typical(made)]


def _typical(samples: Sequence[Images]) -> list[Images]:
    """The sample of highest contrast, and the first: one of many at random."""
    if not samples:
        return []
    best = max(range(len(samples)), key=lambda i: float(samples[i].std()))
    return [samples[best], *([samples[0]] if best else [])]


def _checksum(path: Path) -> int:
    """Checksum of a quantised network's files."""
    crc = 0
    try:
        for part in (path, path.with_suffix(".bin")):
            crc = zlib.crc32(part.read_bytes(), crc)
    except OSError:
        return -1
    return crc
