"""What one pass over a scan and its labels finds: hashes, and the voxels of each class."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from osteon.datasets.hashes import ContentHash
from osteon.datasets.masks import Pair
from osteon.datasets.splits import Part
from osteon.errors import InputError, Stopped, UsageError, warn
from osteon.events import Reporter
from osteon.labels import IGNORE
from osteon.volume import Array

#: Value of the label scheme's first class.
BACKGROUND = 0

#: Voxels counted at a time: what is made of them stays in the processor's cache.
_CHUNK = 1 << 17
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, eq=False)
class Survey:
    """What one scan and its labels hold.

    Attributes:
        image_hash: :func:`osteon.datasets.content_hash` of the scan.
        label_hash: That of its labels on the scan's grid; None without a mask.
        class_counts: int64 (z, K), read-only: voxels of each class in each slice; 0 where
            nothing is labelled.
    """

    image_hash: str
    label_hash: str | None
    class_counts: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        frozen = self.class_counts.view()
        frozen.flags.writeable = False
        object.__setattr__(self, "class_counts", frozen)

    @property
    def labelled_voxels(self) -> npt.NDArray[np.int64]:
        """(z,): voxels of each slice that have a label, which is not to be ignored."""
        voxels: npt.NDArray[np.int64] = self.class_counts.sum(axis=1)
        return voxels

    @property
    def hashes(self) -> dict[str, str]:
        """The hashes, under ``image`` and ``labels``, as a run's record has them."""
        labels = {} if self.label_hash is None else {"labels": self.label_hash}
        return {"image": self.image_hash, **labels}

    def as_dict(self) -> dict[str, object]:
        """Return a JSON-compatible dictionary; :meth:`from_dict` reads it back."""
        return {**self.hashes, "class_counts": self.class_counts.tolist()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Survey:
        """Build a survey from :meth:`as_dict`.

        Args:
            data: The dictionary.

        Raises:
            InputError: If an entry is missing or wrong.
        """
        try:
            rows = data["class_counts"]
            flat = [count for row in rows for count in row]
            if not rows or any(len(row) != len(rows[0]) for row in rows):
                raise ValueError("class_counts is not a table")
            if any(type(count) is not int or count < 0 for count in flat):
                raise ValueError("class_counts has what is not a number of voxels")
            labels = data.get("labels")
            return cls(
                _checked(data["image"]),
                None if labels is None else _checked(labels),
                np.array(flat, dtype=np.int64).reshape(len(rows), -1),
            )
        except KeyError as error:
            raise InputError(f"the survey cannot be read: it has no {error}") from None
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"the survey cannot be read: {error}") from None


def survey(pair: Pair, *, classes: int, reporter: Reporter | None = None) -> Survey:
    """Hash a scan and its labels, and count the labels, in one pass.

    Memory: one slice of the scan and one of the labels, besides the result (8 K bytes a slice)
    and what the volumes themselves hold to decode.

    Args:
        pair: The scan and its labels.
        classes: Number of classes K.
        reporter: Told of the progress, in slices; asked whether to stop.

    Returns:
        The survey.

    Raises:
        InputError: If a file is damaged, or a mask has values that are no class.
        Stopped: If the reporter was asked to stop; nothing has been written.
    """
    reporter = reporter or Reporter()
    image, labels = pair.image, pair.labels
    image_hash = ContentHash(image)
    label_hash = None if labels is None else ContentHash(labels)
    depth = image.shape[0]
    counts = np.zeros((depth, classes), dtype=np.int64)
    with reporter.stage("survey", total=depth, unit="slice") as progress:
        for z in range(depth):
            if reporter.stopping:
                raise Stopped("stopped before the first step; nothing was written")
            image_hash.add(image.read(slice(z, z + 1)))
            if labels is not None and label_hash is not None:
                block = labels.read(slice(z, z + 1))
                label_hash.add(block)
                counts[z] = _count(block, classes, where=f"{labels.path}, slice {z}")
            progress.advance()
    return Survey(
        image_hash.hexdigest(), None if label_hash is None else label_hash.hexdigest(), counts
    )


def class_weights(
    surveys: Mapping[str, Survey], parts: Sequence[Part], classes: int
) -> tuple[float, ...]:
    """Weigh classes inversely to how often they occur in the slices of a split.

    Of the classes that occur, wₖ = (1/nₖ) / mean(1/nⱼ) with nₖ the voxels of the class: their
    mean is 1. A class that does not occur gets 1, and a warning (``class-without-voxels``): it
    cannot be learned.

    Args:
        surveys: By name of the scan.
        parts: The slices, such as a split's training parts.
        classes: Number of classes K.

    Returns:
        K weights.

    Raises:
        UsageError: If a scan of the parts was not surveyed, with that number of classes, or
            has fewer slices.
        InputError: If nothing is labelled in the slices.
    """
    counts = np.zeros(classes, dtype=np.int64)
    for part in parts:
        counts += _of_part(surveys, part, classes)
    found = counts > 0
    if not found.any():
        raise InputError(
            "no voxel is labelled in the slices to be learned from, so classes have no weights",
            where=", ".join(part.scan for part in parts) or None,
        )
    inverse = 1 / counts[found]
    weights = np.ones(classes)
    weights[found] = inverse / inverse.mean()
    if not found.all():
        numbers = ", ".join(str(k) for k in np.flatnonzero(~found))
        warn(
            "class-without-voxels",
            f"no voxel of class {numbers} is labelled in the slices to be learned from: its weight "
            "is 1, and it cannot be learned",
        )
    return tuple(float(weight) for weight in weights)


def empty_slices(survey: Survey) -> frozenset[int]:
    """Name the slices whose labels are all background.

    Args:
        survey: The survey of a scan.

    Returns:
        Indexes of the slices in which something is labelled and all that is labelled is of
        the first class (value 0). A slice without any label is not among them.
    """
    background = survey.class_counts[:, BACKGROUND]
    empty = (background > 0) & (background == survey.labelled_voxels)
    return frozenset(int(z) for z in np.flatnonzero(empty))


def _count(block: Array, classes: int, *, where: str) -> npt.NDArray[np.int64]:
    # A comparison a class is many times faster than a histogram where classes are few.
    values = (*range(classes), IGNORE)
    counts = np.zeros(len(values), dtype=np.int64)
    flat = block.reshape(-1)
    for start in range(0, flat.size, _CHUNK):
        part = flat[start : start + _CHUNK]
        counts += [np.count_nonzero(part == value) for value in values]
    if counts.sum() != flat.size:
        strange = flat[~np.isin(flat, values)][0]
        raise InputError(
            f"the labels have {strange}, which is none of {classes} classes", where=where
        )
    return counts[:classes]


def _of_part(surveys: Mapping[str, Survey], part: Part, classes: int) -> npt.NDArray[np.int64]:
    if part.scan not in surveys:
        raise UsageError(f"scan '{part.scan}' was not surveyed")
    counts = surveys[part.scan].class_counts
    if counts.shape[1] != classes:
        raise UsageError(
            f"scan '{part.scan}' was surveyed for {counts.shape[1]} classes, not {classes}"
        )
    if part.slices and not 0 <= min(part.slices) <= max(part.slices) < len(counts):
        raise UsageError(
            f"the split names slices {min(part.slices)}..{max(part.slices)} of scan "
            f"'{part.scan}', which has {len(counts)}"
        )
    of_slices: npt.NDArray[np.int64] = counts[list(part.slices)].sum(axis=0)
    return of_slices


def _checked(text: Any) -> str:
    if not isinstance(text, str) or not _SHA256.fullmatch(text):
        raise ValueError(f"'{text}' is not a SHA-256")
    return text
