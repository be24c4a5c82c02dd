"""Loading PyTorch into a process that has a window already.

Mesa's drivers put LLVM's symbols where every library sees them, and Triton, which PyTorch loads,
brings an LLVM of another version with the same names: bound to Mesa's, it ends the process (seen
with Mesa 22.3 and Triton of PyTorch 2.14). Loaded with ``RTLD_DEEPBIND`` it takes its own.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import threading

_lock = threading.Lock()


def load_apart() -> None:
    """Load Triton, where there is one, so that it does not get the LLVM of the graphics driver.

    To be called before anything that imports PyTorch. Does nothing where the system has no such
    way (Windows and macOS, whose libraries keep to themselves) or PyTorch is loaded already.
    """
    with _lock:
        _load_triton()


def load_networks() -> None:
    """Load PyTorch, and all that labels slices.

    Threads that call :func:`load_apart` meanwhile wait: two that load PyTorch at the same time may
    find it half loaded.
    """
    with _lock:
        _load_triton()
        for name in ("osteon.workflows.slicewise", "osteon.networks.flat"):
            importlib.import_module(name)


def _load_triton() -> None:
    flag = getattr(os, "RTLD_DEEPBIND", None)
    if flag is None or "triton" in sys.modules or importlib.util.find_spec("triton") is None:
        return
    before = sys.getdlopenflags()
    sys.setdlopenflags(before | flag)
    try:
        importlib.import_module("triton")
    finally:
        sys.setdlopenflags(before)
