"""Voxels that are compressed as one stream (gzip, bzip2, zlib), read from the start."""

from __future__ import annotations

import bz2
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from osteon.errors import InputError
from osteon.formats.base import Shape, readable_dtype, reading
from osteon.volume import Array

_READ_BYTES = 1 << 20
_AUTO_DETECT = 47  # zlib: any window, header of gzip or zlib
#: The cache packs faster and less than gzip: its copy is at most so much larger, roughly.
_LARGER = 3


@dataclass(frozen=True)
class Stream:
    """Where compressed voxels lie.

    Attributes:
        file: The file that holds them.
        start: Byte in the file where the compressed data begin.
        skip: Bytes to skip after decompression.
        codec: ``zlib`` (gzip, too) or ``bzip2``.
        dtype: Type of the voxels, with byte order.
        shape: (z, y, x).
    """

    file: Path
    start: int
    skip: int
    codec: str
    dtype: np.dtype[Any]
    shape: Shape

    @property
    def native(self) -> np.dtype[Any]:
        """Type under which the voxels are read."""
        return readable_dtype(self.dtype, self.file)

    @property
    def files(self) -> tuple[Path, ...]:
        """The file, as the one that the voxels come from."""
        return (self.file,)

    @property
    def identity(self) -> tuple[object, ...]:
        """What else beside the file says which voxels these are."""
        return (self.start, self.skip, self.codec, self.dtype.str, self.shape)

    def packed(self) -> int:
        """Estimate the bytes of a copy in the cache."""
        nbytes = math.prod(self.shape) * self.dtype.itemsize
        return min(nbytes, _LARGER * self.file.stat().st_size)

    def slabs(self, depth: int) -> Iterator[Array]:
        """Yield all voxels, to the end of the stream, so that its checksum is checked.

        Args:
            depth: Slices of a slab.

        Yields:
            Arrays (z, y, x) of :attr:`native`, the next slices each.

        Raises:
            InputError: If the file is truncated or damaged.
        """
        slice_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        source = _Reader(self)
        source.take(self.skip)
        for start in range(0, self.shape[0], depth):
            count = min(depth, self.shape[0] - start)
            data = np.frombuffer(source.take(count * slice_bytes), self.dtype)
            yield data.reshape(count, *self.shape[1:]).astype(self.native, copy=False)
        source.drain()


@dataclass
class _Reader:
    """Takes exact numbers of bytes from a compressed stream."""

    stream: Stream
    _kept: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self._pieces = decompress(self.stream)

    def take(self, count: int) -> bytearray:
        while len(self._kept) < count:
            piece = next(self._pieces, None)
            if piece is None:
                raise InputError(
                    "the compressed file is truncated: it holds fewer voxels than its header says",
                    where=self.stream.file,
                    mend="copy or export it again",
                )
            self._kept += piece
        taken, self._kept = self._kept[:count], self._kept[count:]
        return taken

    def drain(self) -> None:
        for _ in self._pieces:
            pass


def decompress(stream: Stream) -> Iterator[bytes]:
    """Decompress a file piece by piece, through to the checksum at its end.

    Args:
        stream: Where the compressed voxels lie.

    Yields:
        Pieces of about a megabyte.

    Raises:
        InputError: If the file ends too early or is damaged.
    """
    with reading(stream.file, what="the compressed file"), stream.file.open("rb") as file:
        file.seek(stream.start)
        waiting, decoder, ended = b"", _decoder(stream.codec), False
        while True:
            if not waiting:
                waiting = file.read(_READ_BYTES)
            if not waiting:
                break
            if decoder is None:
                # Zero padding after the last member is allowed, as gzip itself does.
                waiting = waiting.lstrip(b"\0")
                if not waiting:
                    continue
                decoder = _decoder(stream.codec)
            ended = False
            if isinstance(decoder, bz2.BZ2Decompressor):
                piece = decoder.decompress(waiting, _READ_BYTES)
                waiting = decoder.unused_data if decoder.eof else b""
                while not decoder.eof and not decoder.needs_input:
                    yield piece
                    piece = decoder.decompress(b"", _READ_BYTES)
                    waiting = decoder.unused_data if decoder.eof else b""
            else:
                piece = decoder.decompress(waiting, _READ_BYTES)
                waiting = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
            if decoder.eof:
                decoder, ended = None, True
            yield piece
        if not ended:
            raise EOFError("the compressed stream has no end")


def _decoder(codec: str) -> Any:
    return bz2.BZ2Decompressor() if codec == "bzip2" else zlib.decompressobj(_AUTO_DETECT)
