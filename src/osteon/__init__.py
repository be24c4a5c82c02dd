"""osteon: segment bone in micro-CT scans by deep learning."""

from __future__ import annotations

__version__ = "0.1.0"
