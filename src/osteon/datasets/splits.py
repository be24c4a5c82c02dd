"""Which slices a network is fitted to and which measure it; specimens are never split apart."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from osteon.datasets.manifest import Manifest, ScanRow
from osteon.datasets.randomness import Purpose, generator
from osteon.errors import InputError, UsageError
from osteon.settings import ValidationSettings

#: For each scan the number of its slices, or the indexes of those that are labelled.
Shapes = Mapping[str, int | Sequence[int]]


@dataclass(frozen=True)
class Part:
    """Slices of one scan.

    Attributes:
        scan: Name of the scan.
        slices: Slice indexes, ascending.
    """

    scan: str
    slices: tuple[int, ...]


@dataclass(frozen=True)
class Split:
    """What is learned from and what is measured.

    Attributes:
        training: Parts that are learned from.
        validation: Parts that are measured each epoch; empty with ``method=none``.
        notes: What a reader of the results has to know.
    """

    training: tuple[Part, ...]
    validation: tuple[Part, ...]
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Return a JSON-compatible dictionary; :meth:`from_dict` reads it back."""
        return {
            **{
                key: [{"scan": part.scan, "slices": list(part.slices)} for part in parts]
                for key, parts in (("training", self.training), ("validation", self.validation))
            },
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Split:
        """Build a split from :meth:`as_dict`.

        Args:
            data: The dictionary.

        Raises:
            InputError: If an entry is missing or wrong.
        """
        try:
            training, validation = (
                tuple(Part(str(p["scan"]), tuple(int(z) for z in p["slices"])) for p in data[key])
                for key in ("training", "validation")
            )
            return cls(training, validation, tuple(str(note) for note in data["notes"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"the split cannot be read: {error}") from None


def split(manifest: Manifest, settings: ValidationSettings, *, seed: int, shapes: Shapes) -> Split:
    """Divide the labelled slices of a dataset into training and validation.

    Args:
        manifest: The dataset; scans that ``shapes`` lacks are left out.
        settings: The method and its numbers.
        seed: Seed of the choice of specimens.
        shapes: See :data:`Shapes`; from :func:`osteon.datasets.masks.scan_shapes`.

    Returns:
        The split.

    Raises:
        UsageError: If it cannot be made as asked; the message says what can.
        InputError: If there is no labelled slice at all.
    """
    rows = [row for row in manifest.scans if row.name in shapes]
    parts = [Part(row.name, _labelled(row, shapes[row.name])) for row in rows]
    used = [(row, part) for row, part in zip(rows, parts, strict=True) if part.slices]
    notes = [
        f"scan '{part.scan}' has no labelled slice and is left out"
        for part in parts
        if not part.slices
    ]
    if not used:
        raise InputError("the dataset has no labelled slice", where=manifest.path)
    if settings.method == "none":
        notes.append("nothing was kept back: no figure says how well the model generalises")
        return Split(tuple(part for _, part in used), (), tuple(notes))
    if settings.method == "slabs":
        made = _slabs(used, settings)
    else:
        made = _by_specimen(used, _validation_specimens(used, settings, seed))
    validation = tuple(_thinned(part, settings.max_slices) for part in made.validation)
    if validation != made.validation:
        notes.append(f"validation measures at most {settings.max_slices} slices of each scan")
    return Split(made.training, validation, (*made.notes, *notes))


def folds(manifest: Manifest, *, k: int, seed: int, shapes: Shapes) -> list[Split]:
    """Divide a dataset into folds for cross-validation: each specimen validates once.

    Args:
        manifest: The dataset; scans that ``shapes`` lacks are left out.
        k: Number of folds, at least 2 and at most the number of specimens.
        seed: Seed of the order of the specimens.
        shapes: See :data:`Shapes`.

    Returns:
        One split a fold; the numbers of specimens of two folds differ by at most one.

    Raises:
        UsageError: If there are fewer specimens than folds.
    """
    parts = [
        (row, Part(row.name, _labelled(row, shapes[row.name])))
        for row in manifest.scans
        if row.name in shapes
    ]
    used = [(row, part) for row, part in parts if part.slices]
    specimens = _shuffled({row.specimen for row, _ in used}, seed, Purpose.FOLDS)
    if not 2 <= k <= len(specimens):
        raise UsageError(
            f"{k} folds cannot be made of {len(specimens)} specimens",
            where=manifest.path,
            mend="choose 2 folds at least, and no more than there are specimens",
        )
    return [_by_specimen(used, set(specimens[fold::k])) for fold in range(k)]


Used = Sequence[tuple[ScanRow, Part]]


def _labelled(row: ScanRow, shape: int | Sequence[int]) -> tuple[int, ...]:
    indexes = range(shape) if isinstance(shape, int) else shape
    first, last = row.slices or (0, None)
    return tuple(sorted(z for z in indexes if z >= first and (last is None or z < last)))


def _shuffled(names: set[str], seed: int, purpose: Purpose) -> list[str]:
    ordered = sorted(names)
    return [ordered[i] for i in generator(seed, purpose=purpose).permutation(len(ordered))]


def _validation_specimens(used: Used, settings: ValidationSettings, seed: int) -> set[str]:
    specimens = {row.specimen for row, _ in used}
    if len(specimens) < 2:
        raise UsageError(
            "there is only one specimen, so none can be kept back to measure the fit",
            where=f"specimen {specimens.pop()}",
            mend="add specimens, or split it in slabs (validation.method=slabs, optimistic), or "
            "measure nothing (validation.method=none)",
        )
    if settings.specimens is None:
        count = min(max(1, int(len(specimens) * settings.share + 0.5)), len(specimens) - 1)
        return set(_shuffled(specimens, seed, Purpose.SPLIT)[:count])
    chosen = set(settings.specimens)
    for name in settings.specimens:
        if name not in specimens:
            near = difflib.get_close_matches(name, specimens, n=2, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}? " if near else ""
            raise UsageError(
                f"there is no labelled specimen '{name}'",
                where="validation.specimens",
                mend=f"{hint}the specimens are: {', '.join(sorted(specimens))}",
            )
    if not chosen or chosen == specimens:
        raise UsageError(
            "no specimen is left to learn from" if chosen else "no specimen is named",
            where="validation.specimens",
            mend="name at least one, and leave at least one",
        )
    return chosen


def _by_specimen(used: Used, chosen: set[str]) -> Split:
    return Split(
        tuple(part for row, part in used if row.specimen not in chosen),
        tuple(part for row, part in used if row.specimen in chosen),
    )


def _slabs(used: Used, settings: ValidationSettings) -> Split:
    for row, _ in used:
        if not row.contiguous:
            raise UsageError(
                "slabs need neighbouring slices to be neighbours in space: a gap counted in slices "
                "means nothing in this scan (contiguous = false)",
                where=f"scan {row.name}",
                mend="keep back specimens (validation.method=specimens) or nothing (none)",
            )
    training, validation = [], []
    for _, part in used:
        count = max(1, int(len(part.slices) * settings.share + 0.5))
        kept = part.slices[-count:]
        rest = tuple(z for z in part.slices if z < kept[0] - settings.gap)
        if not rest:
            raise UsageError(
                f"of {len(part.slices)} labelled slices, {count} to measure and a gap of "
                f"{settings.gap} leave none to learn from",
                where=f"scan {part.scan}",
                mend="lower validation.gap or validation.share, or label more slices",
            )
        training.append(Part(part.scan, rest))
        validation.append(Part(part.scan, kept))
    note = (
        "validation slices come from the same scans as training (slabs, with a gap of "
        f"{settings.gap} slices between): the figures are optimistic and say nothing of other "
        "specimens"
    )
    return Split(tuple(training), tuple(validation), (note,))


def _thinned(part: Part, most: int | None) -> Part:
    n = len(part.slices)
    if most is None or n <= most:
        return part
    return Part(part.scan, tuple(part.slices[(2 * i + 1) * n // (2 * most)] for i in range(most)))
