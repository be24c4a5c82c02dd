"""Memory that a process has freed: kept for its next step instead of given back each time.

A network's activations are tens of MiB each, allocated and freed thousands of times a minute. The C
library of most Linux systems (glibc) gives such blocks back to the operating system at once, which
then has to clear every page of the next one: a tenth to a third of a training step's processor time
was spent on that (docs/performance.md).
"""

from __future__ import annotations

import ctypes
import platform
import sys

# Parameters of mallopt(3), from malloc.h of glibc.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
#: The most that the trim threshold can be, in bytes: freed memory is never given back.
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Have this process keep the memory that it frees, and take the next block from it.

    The peak of the process stays what it was to a few per cent; after the peak it does not fall. To
    be called before the work begins, once; calling it again changes nothing.

    Returns:
        Whether that could be set: only where the C library is glibc.
    """
    if not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # One arena: those of other threads are of 64 MiB, and would map larger blocks anew each time.
    wanted = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_ARENA_MAX, 1))
    return all([mallopt(name, value) == 1 for name, value in wanted])
