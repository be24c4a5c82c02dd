"""``osteon dataset preview``: patches as a fit would see them, before and after augmentation."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from osteon.augment import Image, Labels, recording
from osteon.datasets import (
    Manifest,
    Pair,
    Part,
    check_mode,
    open_pairs,
    patch_source,
    resample_pair,
    scan_statistics,
)
from osteon.datasets.sampling import runs
from osteon.errors import InputError, OsteonWarning, Stopped, UsageError
from osteon.events import Reporter
from osteon.intensity import Statistics
from osteon.labels import LabelScheme
from osteon.reports.previews import PatchPair, check_target, write_preview
from osteon.settings import FitSettings, ValidationSettings
from osteon.settings.data import AugmentationSettings

#: Patches of a sheet.
COUNT = 12
MOST = 60


@dataclass(frozen=True)
class Preview:
    """A sheet of patches.

    Attributes:
        path: The file.
        rows: What it shows.
    """

    path: Path
    rows: tuple[PatchPair, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-compatible summary."""
        patches = [
            {"scan": row.scan, "where": row.where, "changes": list(row.changes)}
            for row in self.rows
        ]
        return {"preview": str(self.path), "patches": patches}


def preview_dataset(
    dataset: str | Path,
    *,
    out: str | Path,
    settings: FitSettings | None = None,
    count: int = COUNT,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> Preview:
    """Draw patches with their labels before and after augmentation, evenly over the scans.

    They are cut, normalised and augmented as in a fit with these settings, of all labelled scans
    (a fit keeps some back to measure by, and augments only the others). Of 2.5D patches the
    middle channel is shown, of 3D patches the middle slice. Holds the patches that are shown.

    Args:
        dataset: The manifest (TOML).
        out: The picture, ``.png``, or page, ``.html``.
        settings: Settings of the fit.
        count: How many patches.
        overwrite: Replace an existing file.
        reporter: Told of the progress.

    Returns:
        The sheet.

    Raises:
        InputError: If nothing is labelled, or a file is missing, damaged or unfit.
        OutputError: If the file exists or cannot be written.
        UsageError: If the suffix, the count or the settings are wrong.
        Stopped: If it was asked to stop.
    """
    reporter, settings = reporter or Reporter(), settings or FitSettings()
    path = check_target(out, overwrite=overwrite)
    if not 1 <= count <= MOST:
        raise UsageError(f"a preview shows 1 to {MOST} patches, not {count}", where="--count")
    manifest = Manifest.load(Path(dataset))
    pairs = _chosen(open_pairs(manifest), manifest, count)
    check_mode(pairs, settings.mode)
    found = scan_statistics(pairs, settings.normalisation.recipe, reporter=reporter)
    with _each_warning_once():
        rows = tuple(
            _rows(
                [_seen(pair, settings, found[pair.name]) for pair in pairs],
                settings,
                found,
                scheme=manifest.labels,
                count=count,
                reporter=reporter,
            )
        )
    write_preview(
        path,
        rows,
        scheme=manifest.labels,
        title=f"Patches of {Path(dataset).name}",
        notes=_notes(settings),
        overwrite=overwrite,
    )
    return Preview(path, rows)


def _chosen(pairs: Sequence[Pair], manifest: Manifest, count: int) -> list[Pair]:
    """Labelled scans, evenly spaced where there are more than patches."""
    labelled = [pair for pair in pairs if pair.labelled]
    if not labelled:
        raise InputError(
            "the dataset has no labelled slice",
            where=manifest.path,
            mend="osteon dataset check tells why; see mask, mask_slices and slices of its scans",
        )
    return [labelled[i] for i in _evenly(len(labelled), min(count, len(labelled)))]


def _seen(pair: Pair, settings: FitSettings, statistics: Statistics) -> Pair:
    if settings.voxel_size is None:
        return pair
    return resample_pair(pair, settings.voxel_size, mode=settings.mode, statistics=statistics)


def _evenly(n: int, count: int) -> list[int]:
    """Choose so many of the numbers below n, the middles of equal parts."""
    return [(2 * i + 1) * n // (2 * count) for i in range(count)]


def _rows(
    pairs: Sequence[Pair],
    settings: FitSettings,
    statistics: dict[str, Statistics],
    *,
    scheme: LabelScheme,
    count: int,
    reporter: Reporter,
) -> Iterator[PatchPair]:
    parts = [part for pair, n in _shares(pairs, count) for part in _parts(pair, settings, n)]
    by_name = {pair.name: pair for pair in pairs}
    # With slabs, neighbours of what is measured would be hidden; nothing is measured here.
    settings = settings.model_copy(update={"validation": ValidationSettings(method="none")})
    plain = settings.model_copy(update={"augmentation": AugmentationSettings(preset="none")})
    with reporter.stage("preview", total=len(parts), unit="patch") as progress:
        for number, part in enumerate(parts):
            if reporter.stopping:
                raise Stopped("stopped before the preview was written")
            pair = by_name[part.scan]

            def item(
                chosen: FitSettings, pair: Pair = pair, part: Part = part, number: int = number
            ) -> tuple[Image, Labels]:
                source = patch_source(
                    [pair],
                    [part],
                    settings=chosen,
                    statistics=statistics,
                    labels=scheme,
                    cache_bytes=0,
                )
                # Another epoch for each, or all would have the same place and augmentation.
                image, labels = source.item(number, number % len(source))
                return _middle(image, labels)

            before, before_labels = item(plain)
            with recording() as changes:
                after, after_labels = item(settings)
            yield PatchPair(
                part.scan,
                _where(part),
                before,
                before_labels,
                after,
                after_labels,
                tuple(changes),
                pair.image.geometry.voxel_size[2],
            )
            progress.advance(1)


def _shares(pairs: Sequence[Pair], count: int) -> list[tuple[Pair, int]]:
    """How many patches each scan gives; they differ by one at most."""
    edges = [i * count // len(pairs) for i in range(len(pairs) + 1)]
    return [(pair, edges[i + 1] - edges[i]) for i, pair in enumerate(pairs)]


def _parts(pair: Pair, settings: FitSettings, count: int) -> list[Part]:
    """Slices or blocks of a scan, evenly spaced over what is labelled."""
    labelled = list(pair.labelled)
    if settings.patches.skip_empty:
        labelled = _not_empty(pair, labelled, count)
    if not labelled:
        return []
    slices = [labelled[i] for i in _evenly(len(labelled), count)]
    if settings.mode != "3D":
        return [Part(pair.name, (z,)) for z in slices]
    return [Part(pair.name, _block(z, labelled, settings.patches.depth)) for z in slices]


def _not_empty(pair: Pair, labelled: Sequence[int], count: int) -> list[int]:
    """Slices with more than background: from even places, the next that has any."""
    found: list[int] = []
    if pair.labels is None:
        return found
    for first in _evenly(len(labelled), count):
        for z in (*labelled[first:], *reversed(labelled[:first])):
            if pair.labels.read(slice(z, z + 1)).any():
                found.append(z)
                break
    return found


def _block(z: int, labelled: Sequence[int], depth: int) -> tuple[int, ...]:
    run = next(run for run in runs(sorted(set(labelled))) if z in run)
    first = max(run.start, min(z - depth // 2, run.stop - depth))
    return tuple(range(first, min(first + depth, run.stop)))


def _middle(image: Image, labels: Labels) -> tuple[Image, Labels]:
    """The slice (y, x) of a patch that is shown."""
    if labels.ndim == 2:
        return image[image.shape[0] // 2], labels
    z = labels.shape[0] // 2
    return np.ascontiguousarray(image[0, z]), np.ascontiguousarray(labels[z])


def _where(part: Part) -> str:
    if len(part.slices) == 1:
        return f"slice {part.slices[0]}"
    return f"slices {part.slices[0]}–{part.slices[-1]}, the middle one"


def _notes(settings: FitSettings) -> list[str]:
    augmentation, patches = settings.augmentation, settings.patches
    strength = "" if augmentation.strength == 1 else f" of strength {augmentation.strength:g}"
    depth = f"{patches.depth} × " if settings.mode == "3D" else ""
    notes = [
        f"Patches: {settings.mode}, {depth}{patches.size} × {patches.size} px.",
        f"Normalisation: {settings.normalisation.recipe}.",
        f"Augmentation: {augmentation.preset}{strength}.",
        f"Seed: {settings.seed}.",
    ]
    if settings.voxel_size is not None:
        notes.insert(1, f"Resampled to {settings.voxel_size:g} µm.")
    return notes


@contextmanager
def _each_warning_once() -> Iterator[None]:
    """Give each warning once, whatever the number of patches it is about."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for text in dict.fromkeys(str(w.message) for w in caught):
        first = next(w for w in caught if str(w.message) == text)
        if isinstance(first.message, OsteonWarning):
            warnings.warn(first.message, stacklevel=3)
        else:
            warnings.warn_explicit(first.message, first.category, first.filename, first.lineno)
