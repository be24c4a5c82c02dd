"""The entries of the disk cache: how large they may be, and which make room for others.

An entry is a folder, put in place by a rename when it is whole.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osteon.errors import OutputError
from osteon.files import parse_memory, remove, writing
from osteon.formats.cache.users import MEND, Use, cache_folder, cache_root, held, room

#: Environment variable that bounds its size, such as 50GB.
SIZE_VARIABLE = "OSTEON_CACHE_SIZE"
#: The bound without that variable: so many bytes, and no more than this share of the disk's
#: free space.
DEFAULT_BOUND, DEFAULT_SHARE = 100 * 10**9, 0.2
SCHEMA = 2
_DOCUMENT, _USED = "entry.json", "used"
_counter = itertools.count()


class NoRoomError(OutputError):
    """An entry does not fit into the bound of the cache."""


@dataclass(frozen=True)
class Entry:
    """One copy in the cache.

    Attributes:
        path: Its folder.
        source: The file or folder it is a copy of.
        bytes: Its size on disk; of one that is being made the expected size.
        made: When it was made, in seconds since 1970.
        used: When it was last opened, in seconds since 1970.
        in_use: Whether a living process has it open, or makes it.
    """

    path: Path
    source: Path
    bytes: int
    made: float
    used: float
    in_use: bool

    @property
    def source_exists(self) -> bool:
        """Whether what it is a copy of is still there."""
        return self.source.exists()

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-compatible description."""
        return {
            "entry": self.path.name,
            "source": str(self.source),
            "source_exists": self.source_exists,
            "bytes": self.bytes,
            "made": self.made,
            "used": self.used,
            "in_use": self.in_use,
        }


def cache_bound() -> int:
    """Return how many bytes the entries may take together.

    Raises:
        UsageError: If ``OSTEON_CACHE_SIZE`` is set and is not a size.
    """
    chosen = os.environ.get(SIZE_VARIABLE)
    if chosen:
        return parse_memory(chosen, where=SIZE_VARIABLE)
    near = cache_root().absolute()
    while not near.is_dir() and near != near.parent:
        near = near.parent
    # What the cache takes already counts as free, or the bound would sink as the cache fills.
    free = shutil.disk_usage(near).free + sum(entry.bytes for entry in _listed())
    return min(DEFAULT_BOUND, int(free * DEFAULT_SHARE))


def entries() -> list[Entry]:
    """List the whole entries, the last used first."""
    return sorted(_listed(), key=lambda entry: -entry.used)


def clear_cache(*, older_than_days: float = 0.0) -> list[Entry]:
    """Remove the entries that no living process uses, and what dead processes left behind.

    Args:
        older_than_days: Keep those that were used since so many days.

    Returns:
        What was removed.

    Raises:
        OutputError: If the cache cannot be written.
    """
    if not cache_folder().is_dir():
        return []
    limit = time.time() - older_than_days * 86400
    with room():
        _sweep()
        for lock in (cache_root() / "locks").glob("*.making"):
            if not held(lock.name):
                remove(lock)
        old = [e for e in _listed() if not e.in_use and (older_than_days <= 0 or e.used <= limit)]
        gone = [(entry, _put_away(entry.path)) for entry in old]
    for _, path in gone:
        if path is not None:
            remove(path)
    return [entry for entry, path in gone if path is not None]


def open_entry(key: str) -> tuple[Path, Use] | None:
    """Find an entry, record that it is used, and keep it from being removed.

    Args:
        key: Its name.

    Returns:
        Its folder, and what protects it as long as it lives; None if there is no such entry.
    """
    path = cache_folder() / key
    if not path.is_dir():
        return None
    try:
        with room():
            use = Use(key)
            found = (path / _DOCUMENT).is_file()
            if found:
                (path / _USED).touch()
    except (OSError, OutputError):
        # A cache that others made and this user may not write: nor can he remove from it.
        return (path, Use(None)) if (path / _DOCUMENT).is_file() else None
    return (path, use) if found else None


def new_part(key: str, document: Mapping[str, Any]) -> Path:
    """Make room for an entry, and the folder in which it is made.

    Args:
        key: Name of the entry.
        document: ``source``, and ``bytes`` as expected.

    Returns:
        The folder.

    Raises:
        NoRoomError: If it does not fit into the bound, even alone or beside what is in use.
        OutputError: If the cache cannot be written.
    """
    path = cache_folder() / f".{key}.{os.getpid()}-{next(_counter)}.part"
    with writing(path, mend=MEND):
        with room():
            _sweep(being_made=key)
            gone = _make_room(int(document["bytes"]), source=Path(document["source"]))
            path.mkdir()
            try:
                _write_document(path, document)
            except OSError:
                remove(path)
                raise
        for old in gone:
            remove(old)
    return path


def put_entry(part: Path, key: str, document: Mapping[str, Any]) -> None:
    """Put a whole entry in place, within the bound.

    Args:
        part: The folder in which it was made.
        key: Name of the entry.
        document: What :func:`new_part` got.

    Raises:
        NoRoomError: If it turned out too large.
        OutputError: If the cache cannot be written.
    """
    with writing(part, mend=MEND):
        with room():
            # Without its document the part does not count as being made beside itself.
            (part / _DOCUMENT).unlink()
            size = sum(p.stat().st_size for p in part.rglob("*") if p.is_file())
            gone = _make_room(size, source=Path(document["source"]))
            _write_document(part, {**document, "bytes": size})
            (part / _USED).touch()
            target = cache_folder() / key
            broken = _put_away(target) if target.is_dir() else None
            part.rename(target)
        for old in (*gone, broken):
            if old is not None:
                remove(old)


def _write_document(folder: Path, document: Mapping[str, Any]) -> None:
    text = json.dumps({"schema": SCHEMA, "made": time.time(), **document}, indent=1)
    (folder / _DOCUMENT).write_text(text, encoding="utf-8")


def _make_room(needed: int, *, source: Path) -> list[Path]:
    """Put the least recently used entries away until another fits in; return where they are."""
    bound = cache_bound()
    told = f"a copy of this scan takes {needed / 1e9:.3g} GB, the disk cache may take"
    mend = f"set {SIZE_VARIABLE} to more, such as {needed * 1.3 / 1e9:.1f}GB"
    if needed > bound:
        raise NoRoomError(f"{told} {bound / 1e9:.3g} GB", where=source, mend=mend)
    found = _listed()
    total = sum(entry.bytes for entry in found) + _reserved()
    free = [entry for entry in sorted(found, key=lambda entry: entry.used) if not entry.in_use]
    fixed = total - sum(entry.bytes for entry in free)
    if fixed + needed > bound:
        what = f"{told} {bound / 1e9:.3g} GB, of which {fixed / 1e9:.3g} GB are in use"
        raise NoRoomError(what, where=source, mend=mend + ", or wait for the other runs to end")
    gone = []
    for entry in free:
        path = _put_away(entry.path) if total + needed > bound else None
        if path is not None:
            gone.append(path)
            total -= entry.bytes
    return gone


def _put_away(entry: Path) -> Path | None:
    """Rename an entry, so that nobody finds the rest of it while it is being removed."""
    path = entry.with_name(f".{entry.name}.{os.getpid()}-{next(_counter)}.gone")
    try:
        entry.rename(path)
    except OSError:  # Windows, with a file of it open
        return None
    return path


def _reserved() -> int:
    documents = (_document(part) for part in cache_folder().glob(".*.part"))
    return sum(int(d["bytes"]) for d in documents if d is not None)


def _listed() -> list[Entry]:
    found = []
    for path in cache_folder().glob("*"):
        document = None if path.name.startswith(".") else _document(path)
        if document is not None:
            used = path / _USED
            found.append(
                Entry(
                    path,
                    Path(str(document["source"])),
                    int(document["bytes"]),
                    float(document["made"]),
                    used.stat().st_mtime if used.exists() else float(document["made"]),
                    in_use=held(f"{path.name}.*.using") or held(f"{path.name}.making"),
                )
            )
    return found


def _document(folder: Path) -> dict[str, Any] | None:
    try:
        data = json.loads((folder / _DOCUMENT).read_text(encoding="utf-8"))
        whole = isinstance(data, dict) and data.keys() >= {"source", "bytes", "made"}
    except (OSError, ValueError):
        return None
    return data if whole else None


def _sweep(*, being_made: str | None = None) -> None:
    """Remove what dead processes left behind, and entries of older versions of osteon.

    Args:
        being_made: The entry whose lock this process holds: the parts of others are left over.
    """
    for path in cache_folder().iterdir():
        key = path.name.removeprefix(".").split(".")[0]
        if path.name.startswith(".") and path.suffix in (".part", ".gone"):
            left = key == being_made or not held(f"{key}.making")
        else:
            left = path.is_dir() and _document(path) is None
        if left:
            remove(path)
