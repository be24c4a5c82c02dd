"""Label volumes as bone and outline, and whether their slices are neighbours in space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from osteon.errors import InputError, UsageError, warn
from osteon.labels import BONE_PORES, IGNORE
from osteon.morphometry.ridge import Mask
from osteon.volume import Volume, VoxelSize

#: Value in a file → ``background``, ``bone``, ``pores`` or ``ignore``.
Remap = Mapping[int, str]
Box = tuple[slice, slice, slice]

BACKGROUND, BONE, PORES = (BONE_PORES.value(name) for name in ("background", "bone", "pores"))
#: Voxel sizes that differ by less, as a part, are the same.
SAME_SIZE = 0.01
_MOST_NAMED = 8
#: Pairs of neighbouring slices that are compared to judge contiguity.
_PAIRS = 8
#: Step within a slice that the step to the next slice is compared with, in pixels.
_STEP = 4
#: Below this ratio of the changes slices are neighbours, as in a prediction.
_MOST_CHANGE = 1.25


def check_fits(shape: tuple[int, ...], size: VoxelSize, other: Volume | None) -> None:
    """Refuse a scan or compartments that are not of these labels; warn if their voxels differ.

    Args:
        shape: (z, y, x) of the labels.
        size: Their voxel size in µm, None along an axis where unknown.
        other: What goes with them; None: nothing does.

    Raises:
        InputError: If shapes differ.
    """
    if other is None:
        return
    if other.shape != shape:
        raise InputError(
            f"it has the shape {other.shape} (z, y, x), the labels have {shape}",
            where=other.path,
            mend="give what belongs to these labels, uncropped and at the same voxel size",
        )
    theirs = other.geometry.voxel_size
    pairs = [(a, b) for a, b in zip(theirs, size, strict=True) if a and b]
    if any(abs(a / b - 1) > SAME_SIZE for a, b in pairs):
        words = [" × ".join(f"{v:g}" if v else "?" for v in s) for s in (theirs, size)]
        warn(
            "voxel-size-mismatch",
            f"its voxels are {words[0]} µm (z × y × x), those of the labels {words[1]} µm; "
            "measures are given by the labels'",
            where=other.path,
        )


def read_labels(volume: Volume, box: Box, *, remap: Remap | None) -> npt.NDArray[np.uint8]:
    """Read a block of labels as 0 background, 1 bone, 2 pores, 255 not labelled.

    Args:
        volume: The labels.
        box: What to read.
        remap: What the values in the file stand for; None: they are class values.

    Returns:
        uint8 (z, y, x).

    Raises:
        InputError: If the volume holds other values.
        UsageError: If the remap names an unknown class.
    """
    block = volume.read(*box)
    wanted = {BACKGROUND: BACKGROUND, BONE: BONE, PORES: PORES, IGNORE: IGNORE}
    if remap is not None:
        wanted = {value: _class(name) for value, name in remap.items()}
    values = [v.item() for v in _values(block)]
    foreign = [v for v in values if v not in wanted]
    if foreign:
        raise _foreign(volume, foreign, values, mapped=remap is not None)
    if remap is None:
        labels: npt.NDArray[np.uint8] = block.astype(np.uint8, copy=False)
        return labels
    out = np.zeros(block.shape, np.uint8)
    for value in values:
        out[block == value] = wanted[value]
    return out


def _values(block: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if block.dtype == np.uint8:  # counted, which is faster than sorted
        return np.flatnonzero(np.bincount(block.reshape(-1), minlength=1))
    return np.unique(block)


def _class(name: str) -> int:
    if name not in (*BONE_PORES.names, "ignore"):
        raise UsageError(
            f"there is no class '{name}' that is measured",
            where="remap",
            mend=f"use one of: {', '.join((*BONE_PORES.names, 'ignore'))}",
        )
    return BONE_PORES.value(name)


def _foreign(volume: Volume, foreign: list[Any], values: list[Any], *, mapped: bool) -> InputError:
    named = ", ".join(f"{v:g}" for v in foreign[:_MOST_NAMED])
    named += ", …" if len(foreign) > _MOST_NAMED else ""
    mend = "say what each value stands for, such as --remap 0=background --remap 255=bone"
    if len(values) > _MOST_NAMED:
        mend = "give the segmented volume, not the scan"
    what = "which the remap does not name" if mapped else "which are no classes"
    return InputError(
        f"the labels hold the values {named}, {what} (0 background, 1 bone, 2 pores)",
        where=volume.path,
        mend=mend,
    )


def judge_contiguity(volume: Volume, *, remap: Remap | None) -> tuple[bool, str]:
    """Judge from labels whether neighbouring slices are neighbours in space.

    From one slice to the next, labels change about as much as over a step within the slice;
    slices picked from far apart change more. Reads up to 8 pairs of slices.

    Args:
        volume: The labels.
        remap: See :func:`read_labels`.

    Returns:
        Whether they are, and why.

    Raises:
        InputError: If the volume does not hold labels.
    """
    depth, height, width = volume.shape
    if depth < 2:
        return False, "there is one slice"
    numbers = volume.slice_numbers
    if numbers is not None and bool(np.any(np.diff(numbers) != 1)):
        return False, "the numbers of the slices have gaps"
    between, within = 0.0, 0.0
    firsts = np.unique(np.linspace(0, depth - 2, _PAIRS).astype(int))
    for z in firsts:
        box = (slice(int(z), int(z) + 2), slice(0, height), slice(0, width))
        one, two = read_labels(volume, box, remap=remap)
        between += np.count_nonzero(one != two)
        steps = [one[_STEP:] != one[:-_STEP], one[:, _STEP:] != one[:, :-_STEP]]
        within += sum(np.count_nonzero(s) for s in steps) / 2
    if within == 0:
        return True, "the labels are the same everywhere"
    ratio = between / within
    return (
        ratio < _MOST_CHANGE,
        f"from one slice to the next the labels change {ratio:.2f} times as much as over {_STEP} "
        "pixels within a slice",
    )


def bone_of(labels: npt.NDArray[np.uint8]) -> tuple[Mask, Mask]:
    """Return bone, and everything inside the outline (bone and pores)."""
    bone: Mask = labels == BONE
    outline: Mask = bone | (labels == PORES)
    return bone, outline
