"""What a scan is called."""

from __future__ import annotations

from pathlib import Path

#: Endings that are part of a scan's name no longer than they say its format.
_ENDINGS = (".ome.zarr", ".ome.tiff", ".ome.tif", ".nii.gz")


def scan_name(scan: Path) -> str:
    """Return what a scan is called: its file or folder without the ending, or its dataset's entry.

    Args:
        scan: The file or folder.
    """
    name = scan.absolute().name
    if name.lower() == "scan" and scan.is_dir():  # a dataset's <name>/scan
        return scan.absolute().parent.name
    for ending in _ENDINGS:
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name if scan.is_dir() and scan.suffix != ".zarr" else scan.stem
