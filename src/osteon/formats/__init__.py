"""File formats of volumes: one file a family, one row a format (``osteon.tables.formats``)."""

from __future__ import annotations

from osteon.formats.opening import detect_format, open_pyramid, open_volume, open_writer

__all__ = ["detect_format", "open_pyramid", "open_volume", "open_writer"]
