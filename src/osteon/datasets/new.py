"""Making a manifest from folders: DIR/<name>/{scan,mask}, each a folder or a file."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import cast

import numpy as np
from natsort import natsorted

from osteon.datasets.manifest import Manifest, ScanRow
from osteon.datasets.masks import open_file
from osteon.datasets.remaps import MOST_VALUES, propose_remap, propose_scheme
from osteon.errors import InputError, UsageError, warn
from osteon.events import Reporter
from osteon.tables.formats import FORMATS
from osteon.volume import Volume

#: 2D images, which are read as a volume of one slice.
_IMAGES = (".png", ".bmp", ".jpg", ".jpeg")


def new_manifest(
    folder: Path,
    *,
    specimen_regex: str | None = None,
    contiguous: bool = True,
    reporter: Reporter | None = None,
) -> Manifest:
    """Make a manifest of the scans in a folder.

    A scan is a folder with ``scan`` and, where it is labelled, ``mask`` in it: a folder of slices
    or a file of any known format (``scan.nii.gz`` …). The masks are read, one slice in memory at
    a time: 0/255 or gapped values get a remap, which is said in the row's notes and as a warning.

    Args:
        folder: The folder of folders; or a single scan's folder.
        specimen_regex: Regular expression whose first group, searched in a scan's name, is the
            specimen; None: each scan is a specimen of its own.
        contiguous: Whether neighbouring slices are neighbours in space. Where most numbers in the
            file names of a series leave others out, it is not taken for contiguous, with a warning.
        reporter: Told of the progress.

    Returns:
        The manifest, not saved; its paths are relative to the working directory.

    Raises:
        InputError: If the folder is missing or has no scans, or a mask is no label image.
        UsageError: If the expression is wrong or does not fit a name.
    """
    folder = Path(folder)
    found = _find(folder)
    specimens = {name: _specimen(name, specimen_regex) for name, _, _ in found}
    reporter = reporter or Reporter()
    seen: list[_Seen] = []
    with reporter.stage("look at masks", total=len(found), unit="scan") as progress:
        for name, image, mask in found:
            seen.append(_look(name, image, mask, contiguous=contiguous))
            progress.advance(message=name)
    scheme = propose_scheme([one.values for one in seen if one.values is not None])
    rows = []
    for (name, image, mask), one in zip(found, seen, strict=True):
        remap = propose_remap(one.values or (), scheme)
        if remap:
            _say(name, remap)
        rows.append(
            ScanRow(
                name=name,
                image=_relative(image),
                mask=None if mask is None else _relative(mask),
                specimen=specimens[name],
                contiguous=one.contiguous,
                remap=remap,
                mask_slices="number" if one.covers_some else "all",
                notes="remap proposed from the values in the mask: check it" if remap else "",
            )
        )
    return Manifest(scheme, tuple(rows))


@dataclass(frozen=True)
class _Seen:
    """What is seen of a scan and its mask; of no mask there are no values."""

    contiguous: bool
    values: frozenset[float] | None = None
    covers_some: bool = False


def _look(name: str, image: Path, mask: Path | None, *, contiguous: bool) -> _Seen:
    scan = open_file(image, gaps=True)
    if contiguous and slices_apart(scan):
        _say_apart(name)
        contiguous = False
    if mask is None:
        return _Seen(contiguous)
    volume = open_file(mask, gaps=True)
    return _Seen(contiguous, _values(volume), _covers_some(scan, volume))


def _find(folder: Path) -> list[tuple[str, Path, Path | None]]:
    if not folder.is_dir():
        raise InputError("there is no such folder", where=folder, mend="check the path")
    single = _entry(folder, "scan")
    if single is not None:
        return [(folder.resolve().name, single, _entry(folder, "mask"))]
    found = []
    children = [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")]
    for child in cast(list[Path], natsorted(children)):
        image = _entry(child, "scan")
        if image is not None:
            found.append((child.name, image, _entry(child, "mask")))
    if not found:
        raise InputError(
            "there are no scans in this folder",
            where=folder,
            mend="arrange it as <name>/scan and <name>/mask, each a folder of slices or a file, "
            f"such as {folder.name}/mouse1/scan and {folder.name}/mouse1/mask.nii.gz",
        )
    skipped = [p.name for p in children if p.name not in {name for name, _, _ in found}]
    if skipped:
        warn("folder-without-scan", f"no scan in {', '.join(sorted(skipped))}", where=folder)
    return found


def _entry(folder: Path, stem: str) -> Path | None:
    known = [s for row in FORMATS for s in cast(tuple[str, ...], row.capabilities["suffixes"])]
    names = {stem, *(stem + suffix for suffix in (*known, *_IMAGES))}
    found = [
        p
        for p in folder.iterdir()
        if p.name.lower() in names and (p.is_dir() or p.name.lower() != stem)
    ]
    if len(found) > 1:
        raise InputError(
            f"it is not clear which is the {stem}: {', '.join(sorted(p.name for p in found))}",
            where=folder,
            mend="keep one of them there",
        )
    return found[0] if found else None


def _specimen(name: str, expression: str | None) -> str:
    if expression is None:
        return name
    try:
        match = re.search(expression, name)
    except re.error as error:
        raise UsageError(
            f"the expression for specimens is wrong: {error}", where=expression
        ) from None
    specimen = match and (match.group(1) if match.re.groups else match.group(0))
    if not specimen:
        raise UsageError(
            f"the expression for specimens does not fit the scan '{name}'",
            where=expression,
            mend=r"its first group is the specimen: '(S\d+)_' finds S1 in S1_left",
        )
    return specimen


def _values(mask: Volume) -> frozenset[float]:
    found: set[float] = set()
    for z in range(mask.shape[0]):
        found.update(float(v) for v in np.unique(mask.read(slice(z, z + 1))))
        if len(found) > MOST_VALUES:
            raise InputError(
                f"the mask has more than {MOST_VALUES} different values: it seems to be a grey "
                "image, or saved as JPEG, which changes values",
                where=mask.path,
                mend="export the labels as TIFF, PNG or another lossless format",
            )
    return frozenset(found)


def _covers_some(image: Volume, mask: Volume) -> bool:
    """Whether the mask is of some slices, to be matched by their numbers."""
    if mask.shape[0] >= image.shape[0] or mask.shape[1:] != image.shape[1:]:
        return False
    own = set(mask.slice_numbers or ())
    return bool(own) and own <= set(image.slice_numbers or ())


def slices_apart(scan: Volume) -> bool:
    """Whether most slices are not followed by the next number, and nothing says how far apart.

    Args:
        scan: The scan.
    """
    numbers = scan.slice_numbers
    if numbers is None or len(numbers) < 2 or scan.geometry.voxel_size[0] is not None:
        return False
    return 2 * sum(b - a > 1 for a, b in pairwise(numbers)) > len(numbers) - 1


def _say_apart(name: str) -> None:
    warn(
        "slices-apart",
        "most slices are not followed by the next number: contiguous = false is put into the "
        "manifest, and 2.5D and 3D refuse this scan. Change it there if they touch in space",
        where=name,
    )


def _say(name: str, remap: dict[str, str]) -> None:
    said = ", ".join(f"{value} is {what}" for value, what in remap.items())
    warn(
        "remap-proposed",
        f"the mask has values that are no class numbers; taken for: {said}. "
        "Check it in the manifest",
        where=name,
    )


def _relative(path: Path) -> str:
    try:
        return Path(os.path.relpath(path)).as_posix()
    except ValueError:  # on another drive of Windows
        return path.absolute().as_posix()
