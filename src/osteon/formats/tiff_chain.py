"""The chain of pages of a TIFF, followed to its end.

Decoders stop quietly where the chain breaks off and leave out tags that lie beyond the end of
the file: a truncated stack would pass as a shorter one, or as one without a voxel size.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO

#: Bytes of one value of each TIFF type.
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
               16: 8, 17: 8, 18: 8}  # fmt: skip
_BIG = (b"II+\0", b"MM\0+")


@dataclass(frozen=True)
class _Layout:
    """The struct formats of a classic or a BigTIFF."""

    count: str
    entry: str
    pointer: str

    @classmethod
    def of(cls, start: bytes) -> _Layout:
        order = "<" if start[:2] == b"II" else ">"
        number, pointer = ("Q", "Q") if start[:4] in _BIG else ("H", "I")
        return cls(order + number, f"{order}HH{pointer}{pointer}", order + pointer)


def count_pages(path: Path) -> int:
    """Follow the chain of pages.

    Args:
        path: A TIFF file.

    Returns:
        The number of pages.

    Raises:
        ValueError: If a page or the value of a tag lies beyond the end of the file.
        struct.error: If a page breaks off.
    """
    size = path.stat().st_size
    seen: set[int] = set()
    with path.open("rb") as file:
        start = file.read(16)
        layout = _Layout.of(start)
        (offset,) = struct.unpack_from(layout.pointer, start, 8 if start[:4] in _BIG else 4)
        while offset:
            if offset >= size or offset in seen:
                raise ValueError(f"page {len(seen)} begins at byte {offset} of {size}")
            seen.add(offset)
            file.seek(offset, os.SEEK_SET)
            offset = _next_page(file, layout, size)
    return len(seen)


def _next_page(file: IO[bytes], layout: _Layout, size: int) -> int:
    (count,) = struct.unpack(layout.count, file.read(struct.calcsize(layout.count)))
    table = file.read(count * struct.calcsize(layout.entry))
    inline = struct.calcsize(layout.pointer)
    for tag, kind, values, place in struct.iter_unpack(layout.entry, table):
        needed = values * _TYPE_BYTES.get(kind, 1)
        if needed > inline and place + needed > size:
            raise ValueError(f"tag {tag} ends at byte {place + needed} of {size}")
    (following,) = struct.unpack(layout.pointer, file.read(inline))
    return int(following)
