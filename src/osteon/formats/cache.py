"""The disk cache for formats that can only be read from the start: gzip, bzip2, zlib.

A compressed file is decompressed once, as a stream, into a chunked Zarr array in the user's
cache folder (or in ``OSTEON_CACHE_DIR``); after that any block is read as from any other
format. An entry belongs to one path, size and time of change.
"""

from __future__ import annotations

import bz2
import hashlib
import math
import os
import shutil
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import zarr
from zarr.codecs import BloscCodec

from osteon.errors import InputError
from osteon.files import remove, temporary, writing
from osteon.formats.base import Meta, Shape, readable_dtype, reading
from osteon.volume import Access, Array, Volume

#: Environment variable that moves the cache to another folder.
VARIABLE = "OSTEON_CACHE_DIR"
_VERSION = "1"
_READ_BYTES = 1 << 20
_CHUNK = 256
_CHUNK_DEPTH = 32
_SLAB_BYTES = 32 << 20  # building holds three slabs: read, converted, being compressed
_MEND = f"set {VARIABLE} to a folder with room for the decompressed scan"
_AUTO_DETECT = 47  # zlib: any window, header of gzip or zlib
_building = threading.Lock()


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


class CachedVolume(Volume):
    """A volume of a sequential format, read through the cache, which the first read builds.

    Building decompresses the file once, which takes seconds per GB or longer, and holds two
    slabs of at most 32 MB, or of one slice where that is more.

    Args:
        path: What the user opened.
        stream: Where the compressed voxels lie.
        meta: What else the file says.
    """

    def __init__(self, path: Path, stream: Stream, *, meta: Meta):
        self.path, self.shape = path, stream.shape
        self.dtype = readable_dtype(stream.dtype, path)
        self.access = Access.RANDOM
        self.chunks = _chunks(stream.shape, self.dtype.itemsize)
        self._stream = stream
        self._array: zarr.Array[Any] | None = None
        meta.apply(self)

    def read(self, z: slice, y: slice = slice(None), x: slice = slice(None)) -> Array:
        """Read a block; see :meth:`osteon.volume.Volume.read`.

        Raises:
            InputError: If the file is truncated or damaged.
            OutputError: If the cache cannot be written.
        """
        bounds = self.bounds(z, y, x)
        array = self._array
        if array is None:
            array = self._array = zarr.open_array(cached(self._stream), mode="r")
        with reading(Path(str(array.store_path)), what="the cache of this file"):
            return np.asarray(array[bounds])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_array": None}


def cache_folder() -> Path:
    """Return the folder of the cache; it need not exist yet."""
    chosen = os.environ.get(VARIABLE)
    root = Path(chosen) if chosen else Path(platformdirs.user_cache_dir("osteon", False))
    return root / "volumes"


def clear_cache() -> int:
    """Remove every entry of the cache.

    Returns:
        How many were removed.
    """
    entries = list(cache_folder().glob("*.zarr")) + list(cache_folder().glob(".*.part"))
    for entry in entries:
        shutil.rmtree(entry, ignore_errors=True)
    return len(entries)


def cached(stream: Stream) -> Path:
    """Return the cache entry of a compressed file, and make it if it is not there.

    Args:
        stream: Where the compressed voxels lie.

    Returns:
        The folder of a Zarr array (z, y, x) in native byte order.

    Raises:
        InputError: If the file is truncated or damaged; no entry is left behind.
        OutputError: If the cache cannot be written.
    """
    with reading(stream.file):
        status = stream.file.stat()
    said = (stream.start, stream.skip, stream.codec, stream.dtype.str, stream.shape)
    key = f"{_VERSION}|{stream.file.resolve()}|{status.st_size}|{status.st_mtime_ns}|{said}"
    entry = cache_folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.zarr"
    # Threads of one process wait for the first; another process makes its own and the last one
    # to finish finds the entry there, which is the same.
    with _building:
        if not _is_whole(entry, stream):
            remove(entry)
            _build(stream, entry)
    return entry


def _is_whole(entry: Path, stream: Stream) -> bool:
    """Whether every chunk is there: cleaners remove files, and Zarr reads zeros instead."""
    if not entry.is_dir():
        return False
    chunks = _chunks(stream.shape, readable_dtype(stream.dtype, stream.file).itemsize)
    expected = math.prod(-(-n // c) for n, c in zip(stream.shape, chunks, strict=True))
    return sum(len(files) for _, _, files in os.walk(entry / "c")) == expected


def _chunks(shape: Shape, itemsize: int) -> Shape:
    slice_bytes = shape[1] * shape[2] * itemsize
    depth = max(1, min(_CHUNK_DEPTH, _SLAB_BYTES // slice_bytes, shape[0]))
    return depth, min(_CHUNK, shape[1]), min(_CHUNK, shape[2])


def _build(stream: Stream, entry: Path) -> None:
    native = readable_dtype(stream.dtype, stream.file)
    chunks = _chunks(stream.shape, native.itemsize)
    with writing(entry, mend=_MEND):
        entry.parent.mkdir(parents=True, exist_ok=True)
        part = temporary(entry)
        try:
            array = zarr.create_array(
                str(part),
                shape=stream.shape,
                dtype=native,
                chunks=chunks,
                compressors=BloscCodec(cname="lz4", clevel=1),
                config={"write_empty_chunks": True},
            )
            start = 0
            for slab in _slabs(stream, chunks[0]):
                array[start : start + slab.shape[0]] = slab.astype(native, copy=False)
                start += slab.shape[0]
            if not entry.is_dir():
                part.rename(entry)
        finally:
            remove(part)


def _slabs(stream: Stream, depth: int) -> Iterator[Array]:
    """Yield blocks of whole slices; the end of the stream is reached, so checksums are checked."""
    slice_bytes = math.prod(stream.shape[1:]) * stream.dtype.itemsize
    source = _Reader(stream)
    source.take(stream.skip)
    for start in range(0, stream.shape[0], depth):
        count = min(depth, stream.shape[0] - start)
        data = source.take(count * slice_bytes)
        yield np.frombuffer(data, stream.dtype).reshape(count, *stream.shape[1:])
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
