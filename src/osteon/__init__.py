"""osteon: segment bone in micro-CT scans by deep learning.

The functions of :mod:`osteon.workflows` are the public API: ``osteon.fit``, ``osteon.predict``,
``osteon.evaluate`` and so on, one for each command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from osteon import workflows

if TYPE_CHECKING:
    from osteon.workflows import *  # noqa: F403

__version__ = "0.1.0"
__all__ = ["__version__", *workflows.__all__]


def __getattr__(name: str) -> Any:
    # Imported on use: `import osteon` takes milliseconds and no torch.
    if name in workflows.__all__:
        return getattr(workflows, name)
    raise AttributeError(f"module 'osteon' has no attribute '{name}'")
