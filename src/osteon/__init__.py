"""osteon: segment bone in micro-CT scans by deep learning.

The functions of :mod:`osteon.workflows` are the public API: ``osteon.fit``, ``osteon.predict``,
``osteon.evaluate`` and so on, one for each command.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from osteon.workflows import (
        check_dataset,
        demo,
        evaluate,
        fit,
        new_dataset,
        predict,
        simulate_cohort,
        simulate_scan,
    )

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "check_dataset",
    "demo",
    "evaluate",
    "fit",
    "new_dataset",
    "predict",
    "simulate_cohort",
    "simulate_scan",
]


def __getattr__(name: str) -> Any:
    # Imported on use: `import osteon` takes milliseconds and no torch.
    if name in __all__:
        return getattr(importlib.import_module("osteon.workflows"), name)
    raise AttributeError(f"module 'osteon' has no attribute '{name}'")
