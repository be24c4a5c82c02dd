"""The ``.log`` that SkyScan (Bruker) scanners and NRecon leave beside the slices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from osteon.errors import warn
from osteon.formats.base import reading

_SECTIONS = {"system", "acquisition", "reconstruction"}
#: In order of trust: what was reconstructed, then what was acquired.
_SIZE_KEYS = (
    ("reconstruction", "pixel size (um)"),
    ("acquisition", "image pixel size (um)"),
    ("system", "image pixel size (um)"),
)
_STEP_KEY = ("reconstruction", "section to section step")
_WIDTH_KEY = ("reconstruction", "result image width (pixels)")
_MOST_BYTES = 4 << 20  # a log is a few kB; anything larger is another kind of log


@dataclass(frozen=True)
class SkyScanLog:
    """What a log says.

    Attributes:
        path: The log.
        entries: ``section/key`` as written → value.
    """

    path: Path
    entries: dict[str, str]

    def _number(self, place: tuple[str, str]) -> float | None:
        wanted = "/".join(place)
        for key, value in self.entries.items():
            if key.lower() == wanted:
                try:  # some are written with the decimal comma of the computer's language
                    number = float(value.replace(",", "."))
                except ValueError:
                    return None
                return number if math.isfinite(number) and number > 0 else None
        return None

    @property
    def pixel_size(self) -> float | None:
        """Pixel size in the slice, µm; None where the log does not state it."""
        return next((n for n in map(self._number, _SIZE_KEYS) if n is not None), None)

    @property
    def step(self) -> int:
        """Every how many lines of the detector a slice was reconstructed."""
        return round(self._number(_STEP_KEY) or 1) or 1

    @property
    def width(self) -> int | None:
        """Width of the slices in pixels, where stated."""
        number = self._number(_WIDTH_KEY)
        return None if number is None else round(number)


def parse_log(path: Path) -> SkyScanLog | None:
    """Read a log.

    Args:
        path: A file that ends in ``.log``.

    Returns:
        Its entries; None if it is not a SkyScan log.

    Raises:
        InputError: If it cannot be read.
    """
    with reading(path, what="the scanner's log"):
        if path.stat().st_size > _MOST_BYTES:
            return None
        text = path.read_text(encoding="latin-1")
    entries: dict[str, str] = {}
    section = ""
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip()
        elif "=" in line and section:
            key, _, value = line.partition("=")
            entries[f"{section}/{key.strip()}"] = value.strip()
    if not any(key.split("/")[0].lower() in _SECTIONS for key in entries):
        return None
    return SkyScanLog(path, entries)


def find_log(folder: Path, candidates: list[Path], *, stem: str) -> SkyScanLog | None:
    """Choose the log that belongs to the slices of a folder.

    Args:
        folder: The folder, for messages.
        candidates: Files that end in ``.log``.
        stem: Name of a slice without suffix: the log of the same scan begins like it.

    Returns:
        The log; None where there is none, or several that do not agree (with a warning).

    Raises:
        InputError: If a log cannot be read.
    """
    logs = [log for log in map(parse_log, candidates) if log is not None]
    if not logs:
        return None
    named = [log for log in logs if stem.lower().startswith(log.path.stem.lower())]
    logs = sorted(named or logs, key=lambda log: -len(log.path.stem))
    if named or len({(log.pixel_size, log.step) for log in logs}) == 1:
        return logs[0]
    names = ", ".join(sorted(log.path.name for log in logs))
    warn(
        "ambiguous-skyscan-log",
        f"the logs {names} state different voxel sizes and none is named like the slices; "
        "the voxel size is unknown",
        where=folder,
    )
    return None
