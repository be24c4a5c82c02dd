"""Where the disk cache lies, and who makes and who uses its entries.

Locks of the operating system, which end with their process however it ends, say so.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import weakref
from collections.abc import Iterator
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from osteon.errors import Stopped
from osteon.events import Reporter
from osteon.files import remove, writing

#: Environment variable that moves the cache to another folder.
VARIABLE = "OSTEON_CACHE_DIR"
#: What to do if the cache cannot be written.
MEND = f"set {VARIABLE} to a folder on a disk with more room, or make room by `osteon cache clear`"
_WAIT_S = 0.2
_counter = itertools.count()


def cache_root() -> Path:
    """Return the folder of everything osteon keeps on this machine; it need not exist yet."""
    chosen = os.environ.get(VARIABLE)
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("osteon", False))


def cache_folder() -> Path:
    """Return the folder of the copies of volumes; it need not exist yet."""
    return cache_root() / "volumes"


class Use:
    """Keeps an entry from being removed as long as this object and its process live.

    Args:
        key: Name of the entry; None protects nothing.

    Raises:
        OSError: If the lock cannot be written.
    """

    def __init__(self, key: str | None):
        if key is None:
            return
        name = f"{key}.{os.getpid()}-{next(_counter)}.using"
        lock = _file_lock(name)
        lock.acquire()
        weakref.finalize(self, _end_use, lock, os.getpid())


def _end_use(lock: FileLock, pid: int) -> None:
    # A forked child has a copy of this object: its end must not end the parent's protection.
    if os.getpid() == pid:
        lock.release()
        remove(Path(lock.lock_file))


@contextlib.contextmanager
def making(key: str, reporter: Reporter, *, source: Path) -> Iterator[None]:
    """Be the only one who makes an entry; wait for another that does.

    Args:
        key: Name of the entry.
        reporter: Told of the wait, and asked whether to stop.
        source: What it is a copy of.

    Raises:
        Stopped: If it was asked to stop while waiting.
        OutputError: If the cache cannot be written.
    """
    with writing(cache_folder(), mend=MEND):
        cache_folder().mkdir(parents=True, exist_ok=True)
        lock = _file_lock(f"{key}.making")
        waiting = False
        while True:
            try:
                lock.acquire(timeout=_WAIT_S)
                break
            except Timeout:
                if reporter.stopping:
                    raise stopped(source) from None
                if not waiting:
                    reporter.message("cache", f"waiting for the copy that is made of {source}")
                waiting = True
    try:
        yield
    finally:
        lock.release()


def stopped(source: Path) -> Stopped:
    """Return the error of a copy that was stopped.

    Args:
        source: What was copied.
    """
    return Stopped("stopped while copying to the disk cache; nothing was kept", where=source)


def held(pattern: str) -> bool:
    """Say whether a living process holds a lock; removes those that dead ones left.

    Args:
        pattern: Names of the locks, as of :meth:`pathlib.Path.glob`.
    """
    found = False
    for path in (cache_root() / "locks").glob(pattern):
        lock = _file_lock(path.name)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            found = True
            continue
        except OSError:
            found = True  # another user's: it may be alive
            continue
        if path.suffix == ".using":
            remove(path)
        lock.release()
    return found


@contextlib.contextmanager
def room() -> Iterator[None]:
    """Be the only one who adds, opens or removes entries; held for moments only."""
    with writing(cache_root(), mend=MEND), _file_lock("room.lock"):
        yield


def _file_lock(name: str) -> FileLock:
    folder = cache_root() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    # Not of a thread: the last reference to a volume may go in another than the one that opened it.
    return FileLock(folder / name, thread_local=False)
