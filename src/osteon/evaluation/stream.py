"""Stream two label volumes past each other, a slab at a time, and count."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np

from osteon.errors import InputError, Stopped, UsageError, warn
from osteon.evaluation.details import Details, details
from osteon.evaluation.files import Row
from osteon.evaluation.result import Evaluation
from osteon.evaluation.scan import ScanEvaluation
from osteon.evaluation.values import LabelReader, Remap, spelled
from osteon.events import Reporter
from osteon.labels import BONE_PORES, IGNORE, LabelScheme
from osteon.metrics import Counts, confusion_matrix
from osteon.volume import Volume, VoxelSize

#: Memory for the blocks of both volumes that are held at a time.
SLAB_BYTES = 64 * 2**20

#: Relative difference of voxel sizes that is more than rounding in a header.
VOXEL_TOLERANCE = 0.01

_AXES = "zyx"


class EvaluationStopped(Stopped):
    """The evaluation was asked to stop: there is no result, because half a scan has no score."""


@dataclass(frozen=True)
class Pair:
    """A label volume and the truth it is held against.

    Attributes:
        name: Name of the scan in tables; different for every pair.
        truth: True labels; 255 where there is none.
        labels: Labels to evaluate.
        specimen: The specimen the scan is of; by default the scan's name.
        remap: What each value in ``truth`` stands for: a class, or ``ignore``.
        labels_remap: What each value in ``labels`` stands for: a class.
        contiguous: Whether neighbouring slices are neighbours in space; if not, surface and
            topology are those of single slices.
    """

    name: str
    truth: Volume
    labels: Volume
    specimen: str | None = None
    remap: Remap | None = None
    labels_remap: Remap | None = None
    contiguous: bool = True


def evaluate_pair(
    truth: Volume,
    labels: Volume,
    *,
    scheme: LabelScheme = BONE_PORES,
    remap: Remap | None = None,
    labels_remap: Remap | None = None,
    name: str = "scan",
    reporter: Reporter | None = None,
    slab_bytes: int = SLAB_BYTES,
) -> ScanEvaluation:
    """Count how the voxels of one scan were labelled, slice by slice.

    Memory: the blocks held at a time take at most ``slab_bytes`` (or one row of voxels through
    both volumes, if that is more), besides 1 MB of temporaries, the result (8 K² bytes a slice)
    and what the volumes themselves hold to decode.

    Args:
        truth: True labels (z, y, x), whole numbers; 255 where there is no label. A truth of
            nothing but 0 and 255 is taken for an unmapped 0/255 mask and refused: give ``remap``.
        labels: Labels to evaluate, of the same shape; no value but classes, anywhere.
        scheme: The classes.
        remap: What each value in ``truth`` stands for: a class, or ``ignore``.
        labels_remap: What each value in ``labels`` stands for: a class.
        name: Name of the scan in tables.
        reporter: Told of the progress, in slices; asked whether to stop.
        slab_bytes: Memory for the blocks, in bytes.

    Returns:
        The counts of the scan.

    Raises:
        InputError: If the shapes differ, a volume does not hold labels or holds values that
            are no class, or nothing in the truth is labelled.
        UsageError: If a remap names an unknown class.
        EvaluationStopped: If the reporter was asked to stop.
    """
    _check_shapes(truth, labels)
    size = _voxel_size(truth, labels)
    readers = (
        LabelReader(truth, scheme=scheme, remap=remap, role="truth"),
        LabelReader(labels, scheme=scheme, remap=labels_remap, role="labels"),
    )
    counts = _count(readers, reporter=reporter or Reporter(), slab_bytes=slab_bytes)
    ignored = _check_truth(readers[0], counts, mapped=remap is not None)
    return ScanEvaluation(
        name=name,
        scheme=scheme,
        slices=counts,
        shape=truth.shape,
        voxel_size=size,
        ignored=ignored,
        truth_path=str(truth.path),
        labels_path=str(labels.path),
    )


def evaluate(
    pairs: Iterable[Pair],
    *,
    scheme: LabelScheme = BONE_PORES,
    reporter: Reporter | None = None,
    slab_bytes: int = SLAB_BYTES,
    what: Details | None = None,
) -> Evaluation:
    """Evaluate several scans, one after the other; see :func:`evaluate_pair`.

    Args:
        pairs: The scans; taken one by one, so that they can be opened one by one.
        scheme: The classes.
        reporter: Told of the progress, in slices; asked whether to stop.
        slab_bytes: Memory for the blocks of one scan, in bytes.
        what: What is measured besides the overlap: surface, topology (they take more memory,
            see docs/evaluation.md); None: nothing.

    Returns:
        The evaluation.

    Raises:
        InputError: If a pair cannot be compared; the message names the file.
        UsageError: If there is no pair, or two have the same name.
        EvaluationStopped: If the reporter was asked to stop.
    """
    scans: list[ScanEvaluation] = []
    for pair in pairs:
        if any(pair.name == scan.name for scan in scans):
            raise UsageError(
                f"two scans are called '{pair.name}'", mend="give every scan a name of its own"
            )
        scan = evaluate_pair(
            pair.truth,
            pair.labels,
            scheme=scheme,
            remap=pair.remap,
            labels_remap=pair.labels_remap,
            name=pair.name,
            reporter=reporter,
            slab_bytes=slab_bytes,
        )
        more: tuple[Row, ...] = ()
        remarks: tuple[str, ...] = ()
        if what is not None:
            more, remarks = details(
                _readers(pair, scheme),
                what=what,
                voxel_size=scan.voxel_size,
                contiguous=pair.contiguous,
                reporter=reporter or Reporter(),
            )
        scans.append(replace(scan, specimen=pair.specimen, more=more, remarks=remarks))
    return Evaluation(tuple(scans))


def _readers(pair: Pair, scheme: LabelScheme) -> tuple[LabelReader, LabelReader]:
    return (
        LabelReader(pair.truth, scheme=scheme, remap=pair.remap, role="truth"),
        LabelReader(pair.labels, scheme=scheme, remap=pair.labels_remap, role="labels"),
    )


def _check_truth(truth: LabelReader, counts: Counts, *, mapped: bool) -> int:
    """Return how many voxels have no true label; refuse a truth that says nothing."""
    total = int(counts.sum())
    ignored = math.prod(truth.volume.shape) - total
    if total == 0:
        raise InputError(
            "the truth has no labelled voxel: every voxel is ignored",
            where=truth.volume.path,
            mend="give a mask that labels at least some voxels, or map its values to classes",
        )
    only_background = int(counts[:, 0].sum()) == total
    if not mapped and ignored and only_background:
        raise InputError(
            f"the truth holds nothing but 0 and {IGNORE}: it looks like a 0/255 mask, but "
            f"{IGNORE} means 'not labelled'",
            where=truth.volume.path,
            mend="say what the values stand for: "
            + spelled([0, IGNORE], list(truth.scheme.names[:2]), role="truth")
            + ", or "
            + spelled([0, IGNORE], [truth.scheme.names[0], "ignore"], role="truth"),
        )
    return ignored


def _count(
    readers: tuple[LabelReader, LabelReader], *, reporter: Reporter, slab_bytes: int
) -> Counts:
    truth, labels = readers
    scheme, shape = truth.scheme, truth.volume.shape
    classes = len(scheme)
    counts = np.zeros((shape[0], classes, classes), np.int64)
    with reporter.stage("evaluate", total=shape[0], unit="slice") as progress:
        for z, y in blocks(readers, slab_bytes=slab_bytes):
            if reporter.stopping:
                raise EvaluationStopped(
                    f"evaluation stopped at slice {z.start} of {shape[0]}", where=labels.volume.path
                )
            _count_block(readers, (z, y), counts)
            if y.stop == shape[1]:
                progress.advance(z.stop - z.start)
    return counts


def _count_block(
    readers: tuple[LabelReader, LabelReader], where: tuple[slice, slice], counts: Counts
) -> None:
    # A function of its own, so that a block is let go before the next one is read.
    truth, labels = readers
    classes = counts.shape[1]
    true, predicted = truth.read(*where), labels.read(*where)
    if predicted.max(initial=0) >= classes:
        raise labels.foreign(predicted, seen=np.flatnonzero(counts.sum((0, 1))))
    for index, (t, p) in enumerate(zip(true, predicted, strict=True), where[0].start):
        try:
            counts[index] += confusion_matrix(t, p, classes=classes)
        except InputError as error:
            raise truth.foreign(true, seen=np.flatnonzero(counts.sum((0, 2)))) from error


def blocks(
    readers: tuple[LabelReader, LabelReader], *, slab_bytes: int
) -> Iterator[tuple[slice, slice]]:
    """Cut two volumes of the same shape into blocks of whole rows that fit into memory.

    Args:
        readers: The volumes.
        slab_bytes: Memory for a block of both, in bytes.

    Yields:
        Ranges (z, y): whole slices if at least one fits, in steps of the chunks' depth where
        that fits (so that no chunk is decoded twice); else parts of single slices.
    """
    depth, rows, columns = readers[0].volume.shape
    row_bytes = max(1, columns * sum(r.bytes_per_voxel for r in readers))
    n = slab_bytes // (row_bytes * max(1, rows))
    if n < 1:
        step = max(1, slab_bytes // row_bytes)
        for z in range(depth):
            for y in range(0, rows, step):
                yield slice(z, z + 1), slice(y, min(rows, y + step))
        return
    chunk = max(r.volume.chunks[0] for r in readers)
    n = n // chunk * chunk or n
    for z in range(0, depth, n):
        yield slice(z, min(depth, z + n)), slice(0, rows)


def _check_shapes(truth: Volume, labels: Volume) -> None:
    if truth.shape == labels.shape:
        if 0 in truth.shape:
            raise InputError(f"the volumes are empty: shape {truth.shape}", where=truth.path)
        return
    fits = [
        order
        for order in permutations(range(3))
        if tuple(labels.shape[i] for i in order) == truth.shape
    ]
    # The plainest explanation first: one swap of two axes rather than a rotation of all three.
    fits.sort(key=lambda order: sum(i != k for k, i in enumerate(order)))
    mend = "evaluate against the truth of the same scan, uncropped and at the same voxel size"
    if fits:
        moved = [_AXES[k] for k, i in enumerate(fits[0]) if i != k]
        if len(moved) == 2:
            mend = f"they would match with the axes {moved[0]} and {moved[1]} of one swapped"
        else:
            order = ", ".join(_AXES[i] for i in fits[0])
            mend = f"they would match with the axes of the labels taken in the order ({order})"
        mend += "; check for flips, too: a shape does not show them"
    raise InputError(
        f"truth and labels differ in shape (z, y, x): {truth.shape} and {labels.shape}",
        where=f"{truth.path} and {labels.path}",
        mend=mend,
    )


def _voxel_size(truth: Volume, labels: Volume) -> VoxelSize:
    """Return the truth's voxel size, filled up from the labels'; warn where they disagree."""
    pairs = list(zip(truth.geometry.voxel_size, labels.geometry.voxel_size, strict=True))
    if any(a and b and abs(a - b) > VOXEL_TOLERANCE * min(a, b) for a, b in pairs):
        warn(
            "voxel-size-mismatch",
            f"voxel sizes (z, y, x) differ: {truth.geometry.voxel_size} µm in the truth and "
            f"{labels.geometry.voxel_size} µm in the labels; volumes are given by the truth's",
            where=labels.path,
        )
    z, y, x = (a if a is not None else b for a, b in pairs)
    return z, y, x
