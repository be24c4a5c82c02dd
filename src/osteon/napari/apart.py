"""Loading PyTorch into a process that has a window already.

Mesa's drivers put LLVM's symbols where every library sees them, and Triton, which PyTorch loads,
brings an LLVM of another version with the same names: bound to Mesa's, it ends the process (seen
with Mesa 22.3 and Triton of PyTorch 2.14). Loaded with ``RTLD_DEEPBIND`` it takes its own.
"""

from __future__ import annotations

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
    flag = getattr(os, "RTLD_DEEPBIND", None)
    with _lock:
        if flag is None or "triton" in sys.modules or importlib.util.find_spec("triton") is None:
            return
        before = sys.getdlopenflags()
        sys.setdlopenflags(before | flag)
        try:
            importlib.import_module("triton")
        finally:
            sys.setdlopenflags(before)
