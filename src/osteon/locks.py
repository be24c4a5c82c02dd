"""One way to be alone at a folder or file: a lock of the operating system.

It ends with its process however that ends, so that one left by a killed process is in nobody's way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from osteon.errors import OutputError
from osteon.files import writing


def lock(path: Path, *, taken: str, mend: str, patience_s: float = 0.0) -> FileLock:
    """Take a lock; see :func:`locked` for one that is held while a block runs.

    Args:
        path: The file that stands for it; its folder is made, and both stay when it is released.
        taken: What is wrong where another process has it.
        mend: What to do about that.
        patience_s: Seconds to wait for the other process.

    Returns:
        The lock, taken: it is given free by ``release()`` or the end of the process. Any thread may
        release it.

    Raises:
        OutputError: If another process has it (where: the folder), or it cannot be written.
    """
    made = FileLock(path, timeout=patience_s, thread_local=False)
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            made.acquire()
        except Timeout:
            raise OutputError(taken, where=path.parent, mend=mend) from None
    return made


@contextmanager
def locked(path: Path, *, taken: str, mend: str, patience_s: float = 0.0) -> Iterator[None]:
    """Hold a lock while a block runs.

    Args:
        path: As for :func:`lock`.
        taken: What is wrong where another process has it.
        mend: What to do about that.
        patience_s: Seconds to wait for the other process.

    Raises:
        OutputError: If another process has it (where: the folder), or it cannot be written.
    """
    held = lock(path, taken=taken, mend=mend, patience_s=patience_s)
    try:
        yield
    finally:
        held.release()
