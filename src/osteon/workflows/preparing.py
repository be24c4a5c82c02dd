"""``osteon dataset``: manifests and their examination."""

from __future__ import annotations

from pathlib import Path

from osteon.datasets import Finding, Manifest, check, new_manifest
from osteon.errors import OutputError
from osteon.events import Reporter
from osteon.settings import FitSettings


def new_dataset(
    folder: str | Path,
    *,
    out: str | Path,
    specimen_regex: str | None = None,
    contiguous: bool = True,
    overwrite: bool = False,
) -> Manifest:
    """Make a manifest of the scans below a folder, ``folder/<name>/{scan,mask}``.

    Args:
        folder: The folder.
        out: The manifest to write (TOML).
        specimen_regex: Its first group, found in a scan's name, is the specimen; None: each scan
            is a specimen of its own.
        contiguous: Whether neighbouring slices are neighbours in space.
        overwrite: Replace an existing manifest.

    Returns:
        The saved manifest.

    Raises:
        InputError: If there is no scan, or a file is damaged.
        OutputError: If the manifest exists or cannot be written.
        UsageError: If the expression is wrong.
    """
    out = Path(out)
    if out.exists() and not overwrite:
        raise OutputError(
            "this manifest exists already", where=out, mend="choose another name, or --overwrite"
        )
    manifest = new_manifest(Path(folder), specimen_regex=specimen_regex, contiguous=contiguous)
    return manifest.save(out, overwrite=overwrite)


def check_dataset(
    dataset: str | Path,
    *,
    settings: FitSettings | None = None,
    reporter: Reporter | None = None,
) -> list[Finding]:
    """Examine a dataset for what would spoil a fit. Reads every slice once.

    Args:
        dataset: The manifest.
        settings: Settings of the fit that is planned.
        reporter: Told of the progress.

    Returns:
        The findings, the gravest first.

    Raises:
        InputError: If the manifest cannot be read.
    """
    return check(
        Manifest.load(Path(dataset)),
        settings=settings or FitSettings(),
        reporter=reporter or Reporter(),
    )
