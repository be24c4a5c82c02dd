"""Looking once through a scan and its mask, slice by slice, for the data doctor."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from osteon.datasets.hashes import slice_hash
from osteon.datasets.masks import MaskVolume, Pair, UnknownLabelError
from osteon.datasets.remaps import MOST_VALUES
from osteon.errors import InputError
from osteon.intensity import sample_slices
from osteon.labels import IGNORE, LabelScheme
from osteon.volume import Array

#: Height and width of the small pictures by which scans are compared.
THUMBNAIL = 32


@dataclass
class Look:
    """What one pass through a scan has shown.

    Attributes:
        pair: The scan and its labels.
        hashes: One for each slice; None for a constant slice.
        constant: Slices in which every voxel has the same value.
        unfinite: Slices with NaN or infinite values.
        bad_voxels: Number of such values.
        thumbnails: (n, 1024), float32: small pictures of mean 0 and norm 1, of sampled slices.
        counts: Labelled voxels of each class.
        brightness: Sum of the grey values of each class.
        ignored: Voxels of labelled slices that are ignored.
        empty: Labelled slices with background alone.
        unknown: Values of the mask, if some are no class; else empty.
        failure: What stopped the reading of the mask.
        seconds: Time for reading, in seconds.
    """

    pair: Pair
    classes: int
    hashes: list[bytes | None] = field(default_factory=list)
    constant: list[int] = field(default_factory=list)
    unfinite: list[int] = field(default_factory=list)
    bad_voxels: int = 0
    thumbnails: list[npt.NDArray[np.float32]] = field(default_factory=list)
    ignored: int = 0
    empty: list[int] = field(default_factory=list)
    unknown: set[float] = field(default_factory=set)
    failure: InputError | None = None
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.counts: npt.NDArray[np.int64] = np.zeros(self.classes, np.int64)
        self.brightness: npt.NDArray[np.float64] = np.zeros(self.classes, np.float64)


def look(pair: Pair, scheme: LabelScheme, advance: Callable[[], bool]) -> Look:
    """Look through a scan; one slice of it and of its mask in memory at a time.

    Args:
        pair: The scan and its labels.
        scheme: The classes.
        advance: Called after each slice; the pass ends early when it returns False.

    Returns:
        What was seen.

    Raises:
        InputError: If the scan is damaged (damage of the mask is kept in ``failure``).
    """
    seen = Look(pair, len(scheme))
    labelled = set(pair.labelled)
    pictured = set(sample_slices(pair.image.shape[0]))
    for z in range(pair.image.shape[0]):
        start = time.perf_counter()
        image = pair.image.read(slice(z, z + 1))[0]
        seen.seconds += time.perf_counter() - start
        _see_image(seen, z, image, pictured=z in pictured)
        if pair.labels is not None and z in labelled and seen.failure is None:
            try:
                _see_labels(seen, pair.labels, z, image)
            except InputError as error:
                seen.failure = error
        if not advance():
            break
    return seen


def _see_image(seen: Look, z: int, image: Array, *, pictured: bool) -> None:
    first = image.flat[0]
    constant = bool((image == first).all()) or (image.dtype.kind == "f" and np.isnan(image).all())
    if constant:
        seen.constant.append(z)
    if image.dtype.kind == "f":
        bad = int(image.size - np.isfinite(image).sum())
        if bad:
            seen.bad_voxels += bad
            seen.unfinite.append(z)
    # Constant slices are all alike; their being alike says nothing.
    seen.hashes.append(None if constant else slice_hash(image))
    if pictured and not constant:
        picture = thumbnail(image)
        if picture is not None:
            seen.thumbnails.append(picture)


def _see_labels(seen: Look, labels: MaskVolume, z: int, image: Array) -> None:
    try:
        classes = labels.read(slice(z, z + 1))[0]
    except UnknownLabelError:
        where = labels.source[z]
        if len(seen.unknown) <= MOST_VALUES:
            raw = labels.mask.read(slice(where, where + 1))
            seen.unknown.update(float(v) for v in np.unique(raw))
        return
    counts = np.bincount(classes.ravel(), minlength=IGNORE + 1)
    seen.counts += counts[: seen.classes]
    seen.ignored += int(counts[IGNORE])
    if counts[0] and not counts[1 : seen.classes].any():
        seen.empty.append(z)
    finite = np.where(np.isfinite(image), image, 0) if image.dtype.kind == "f" else image
    sums = np.bincount(
        classes.ravel(), weights=finite.ravel().astype(np.float64), minlength=IGNORE + 1
    )
    seen.brightness += sums[: seen.classes]


def thumbnail(image: Array) -> npt.NDArray[np.float32] | None:
    """Make a small picture by which slices are compared, whatever their grey scale.

    Args:
        image: (y, x).

    Returns:
        1024 values of mean 0 and norm 1; None where nothing is to be seen.
    """
    edges = [np.linspace(0, n, THUMBNAIL + 1).astype(int)[:-1] for n in image.shape]
    if min(image.shape) < THUMBNAIL:
        return None
    values = np.nan_to_num(image.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    sums = np.add.reduceat(np.add.reduceat(values, edges[0], axis=0), edges[1], axis=1)
    heights, widths = (
        np.diff([*e, n]).astype(float) for e, n in zip(edges, image.shape, strict=True)
    )
    means = (sums / np.outer(heights, widths)).ravel()
    means -= means.mean()
    norm = float(np.linalg.norm(means))
    return (means / norm).astype(np.float32) if norm > 0 else None
