"""Volumes that are read through the disk cache, and when that pays."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import imagecodecs
import numpy as np

from osteon.errors import InputError, OutputError, UsageError, warn
from osteon.events import Reporter
from osteon.files import remove, writing
from osteon.formats.base import Intensity, Meta, Shape, reading
from osteon.formats.cache import store, users
from osteon.formats.cache.array import Shards, chunk_shape, packed_size
from osteon.formats.cache.paying import gain, spread
from osteon.formats.cache.streams import Stream
from osteon.volume import Access, Array, Volume

#: Part of every key: raised when the same files come to be read as other voxels.
_VERSION = "2"
#: A copy is made if it is read so many times faster: below, making it is not paid back soon.
PAYS = 3.0
_MARGIN = 1.1  # slices differ: the estimate of a size is no promise

Choice = Literal["auto", "on", "off"]


class Source(Protocol):
    """What an entry is a copy of."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that the voxels come from."""

    @property
    def identity(self) -> tuple[object, ...]:
        """What else beside the files says which voxels these are."""

    def packed(self) -> int:
        """Estimate the bytes of a copy."""

    def slabs(self, depth: int) -> Iterator[Array]:
        """Yield all voxels in slabs of ``depth`` slices, (z, y, x)."""


@dataclass(frozen=True)
class _Decoded:
    """A volume whose slices must be decoded, as the source of an entry."""

    volume: Volume

    @property
    def files(self) -> tuple[Path, ...]:
        return _files(self.volume)

    @property
    def identity(self) -> tuple[object, ...]:
        return (type(self.volume).__name__, self.volume.dtype.str, self.volume.shape)

    def packed(self) -> int:
        taken = [
            packed_size(self.volume.read(slice(z, z + 1))) for z in spread(self.volume.shape[0])
        ]
        estimate = sum(taken) / len(taken) * self.volume.shape[0]
        return int(min(estimate * _MARGIN, self.volume.nbytes))

    def slabs(self, depth: int) -> Iterator[Array]:
        bounds = [
            slice(z, min(z + depth, self.volume.shape[0]))
            for z in range(0, self.volume.shape[0], depth)
        ]
        # One slab is decoded while the one before it is packed and written.
        with ThreadPoolExecutor(1, thread_name_prefix="osteon-read") as pool:
            coming = pool.submit(self.volume.read, bounds[0])
            for following in bounds[1:]:
                slab = coming.result()
                coming = pool.submit(self.volume.read, following)
                yield slab
            yield coming.result()


class CachedVolume(Volume):
    """A volume that is read through the cache; the first read makes the copy if it is not there.

    Making it reads the source once, which takes seconds per GB or longer, and holds three slabs
    of at most 32 MB, or of one slice where that is more. As long as this volume lives, its copy
    is not removed. It pickles without the copy, and finds or makes it again.

    Args:
        path: What the user opened.
        source: What is copied: a compressed stream, or a volume.
        shape: (z, y, x).
        dtype: Type of the voxels, native byte order.
        meta: What else the file says.
    """

    def __init__(
        self, path: Path, source: Source, *, shape: Shape, dtype: np.dtype[Any], meta: Meta
    ):
        self.path, self.shape, self.dtype = path, shape, dtype
        self.access = Access.RANDOM
        self.chunks = chunk_shape(shape, dtype.itemsize)
        self._source = source
        self._shards: Shards | None = None
        self._use: users.Use | None = None
        self._preparing = threading.Lock()
        meta.apply(self)

    @classmethod
    def of_stream(cls, path: Path, stream: Stream, *, meta: Meta) -> CachedVolume:
        """Read a compressed stream through the cache.

        Args:
            path: What the user opened.
            stream: Where the compressed voxels lie.
            meta: What else the file says.

        Returns:
            The volume.

        Raises:
            InputError: If the voxels are of a type that is not read.
        """
        return cls(path, stream, shape=stream.shape, dtype=stream.native, meta=meta)

    @property
    def entry(self) -> Path | None:
        """The folder of the copy; None where it has not been opened yet."""
        return None if self._shards is None else self._shards.folder

    def prepare(self, reporter: Reporter | None = None) -> None:
        """Open the copy; make it if it is not there.

        Args:
            reporter: Told of the progress (stage ``cache``) and asked whether to stop.

        Raises:
            InputError: If the source is truncated or damaged; nothing is left behind.
            OutputError: If the cache cannot be written, or the copy does not fit into its bound.
            Stopped: If it was asked to stop; nothing is left behind.
        """
        self._open(reporter or Reporter())

    def _open(self, reporter: Reporter) -> Shards:
        with self._preparing:
            if self._shards is None:
                path, self._use = _obtain(self, self._source, reporter)
                self._shards = Shards(path, self.shape, self.dtype)
            return self._shards

    def read(self, z: slice, y: slice = slice(None), x: slice = slice(None)) -> Array:
        """Read a block; see :meth:`osteon.volume.Volume.read`.

        Raises:
            InputError: If the source or the copy is truncated or damaged.
            OutputError: If the cache cannot be written.
        """
        bounds = self.bounds(z, y, x)
        shards = self._shards or self._open(Reporter())
        try:
            return shards.read(*bounds)
        except (OSError, ValueError, imagecodecs.BloscError) as error:
            raise InputError(
                f"the copy of this scan in the disk cache is damaged ({error})",
                where=shards.folder,
                mend="remove it (it is made again) by `osteon cache clear`, when no run uses it",
            ) from error

    def __getstate__(self) -> dict[str, Any]:
        left = ("_shards", "_use", "_preparing")
        return {name: value for name, value in self.__dict__.items() if name not in left}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _shards=None, _use=None, _preparing=threading.Lock())


def cached_copy(volume: Volume, *, reporter: Reporter | None = None) -> Volume:
    """Copy a volume that is slow at random reads into the disk cache, in small chunks.

    The copy is made once, belongs to the paths, sizes and times of change of all files of the
    scan, and serves every process. Memory: three slabs of at most 32 MB, or of one slice each
    where that is more.

    Args:
        volume: The volume, as opened from its files.
        reporter: Told of the progress (stage ``cache``) and asked whether to stop.

    Returns:
        A volume with the same voxels and metadata that reads the copy; the volume itself where
        it is fast already, or where the copy would be larger than the bound of the cache, with
        the warning ``cache-too-small``.

    Raises:
        InputError: If the scan is damaged.
        OutputError: If the cache cannot be written; for compressed streams, which need it, also
            if the copy is larger than the bound.
        Stopped: If it was asked to stop; nothing is left behind.
        UsageError: If it is made from another volume rather than read from files.
    """
    if isinstance(volume, CachedVolume):
        volume.prepare(reporter)
        return volume
    if volume.access is Access.RANDOM:
        return volume
    meta = Meta(
        volume.geometry,
        Intensity(volume.intensity_scale, volume.intensity_offset, volume.intensity_unit),
        volume.provenance,
        volume.labels,
    )
    source = _Decoded(volume)
    copy = CachedVolume(volume.path, source, shape=volume.shape, dtype=volume.dtype, meta=meta)
    copy.slice_numbers = volume.slice_numbers
    try:
        copy.prepare(reporter)
    except store.NoRoomError as error:
        warn(
            "cache-too-small",
            f"{error.what}; the scan is read directly, which is slower. To mend it, {error.mend}",
            where=volume.path,
        )
        return volume
    return copy


def for_random_reads(
    volume: Volume, *, choice: Choice, memory_bytes: int, reporter: Reporter | None = None
) -> Volume:
    """Return what small blocks of a volume are best read from: itself, or its copy on disk.

    A compressed stream (.nii.gz) is always copied, as it cannot be read otherwise. A volume of
    which whole slices must be decoded is copied with ``on``; with ``auto`` if its voxels do not
    fit into ``memory_bytes`` and reading a patch of 256² from three of its slices, the files
    being in the system's memory, takes more than three times as long as from a copy of these.

    Args:
        volume: The volume, as opened from its files.
        choice: ``auto``, ``on`` or ``off``: the setting ``training.disk_cache``.
        memory_bytes: Memory that decoded slices of this volume may take.
        reporter: See :func:`cached_copy`.

    Returns:
        The volume or its copy. With ``auto``, where the disk is full or not writable, the volume
        itself, with the warning ``cache-not-made``.

    Raises:
        InputError: See :func:`cached_copy`.
        OutputError: See :func:`cached_copy`.
        Stopped: See :func:`cached_copy`.
    """
    if isinstance(volume, CachedVolume):
        return cached_copy(volume, reporter=reporter)
    if volume.access is Access.RANDOM or choice == "off":
        return volume
    if choice == "auto" and (volume.nbytes <= memory_bytes or gain(volume) <= PAYS):
        return volume
    try:
        return cached_copy(volume, reporter=reporter)
    except OutputError as error:
        if choice == "on":
            raise
        warn(
            "cache-not-made",
            f"no copy for fast reads was made: {error.what}; the scan is read directly, which is "
            f"slower. To mend it, {error.mend}",
            where=error.where,
        )
        return volume


def _files(volume: Volume) -> tuple[Path, ...]:
    files = getattr(volume, "files", None)
    if files is None:
        # A part or a resampled view has its scan's path, and other voxels.
        raise UsageError(
            "only a volume as it was opened from its files is copied to the disk cache",
            where=volume.path,
            mend="copy the volume that this one is made from",
        )
    return tuple(files)


def _key(source: Source) -> str:
    digest = hashlib.sha256(f"{_VERSION}|{source.identity}".encode())
    for file in source.files:
        with reading(file):
            status = file.stat()
        name = f"|{file.resolve()}|{status.st_size}|{status.st_mtime_ns}"
        digest.update(name.encode("utf-8", errors="surrogateescape"))
    return digest.hexdigest()[:32]


def _obtain(volume: CachedVolume, source: Source, reporter: Reporter) -> tuple[Path, users.Use]:
    """Find the entry, or make it."""
    key = _key(source)
    found = _whole(key, volume)
    if found is not None:
        return found
    with users.making(key, reporter, source=volume.path):
        found = _whole(key, volume)  # another process may just have made it
        if found is None:
            _make(key, volume, source, reporter)
            found = _whole(key, volume)
    if found is None:
        raise OutputError(
            "the copy in the disk cache is gone just after it was made",
            where=users.cache_folder() / key,
            mend="see that nothing else clears this folder; " + users.MEND,
        )
    return found


def _whole(key: str, volume: CachedVolume) -> tuple[Path, users.Use] | None:
    found = store.open_entry(key)
    if found is None or not Shards(found[0], volume.shape, volume.dtype).whole():
        return None
    return found


def _make(key: str, volume: CachedVolume, source: Source, reporter: Reporter) -> None:
    document = {"source": str(volume.path.absolute()), "bytes": source.packed()}
    part = store.new_part(key, document)
    try:
        depth = volume.shape[0]
        with (
            writing(part, mend=users.MEND),
            reporter.stage("cache", total=depth, unit="slice") as progress,
        ):
            shards = Shards(part, volume.shape, volume.dtype)
            array, start = shards.create(), 0
            for slab in source.slabs(shards.chunks[0]):
                if reporter.stopping:
                    raise users.stopped(volume.path)
                array[start : start + slab.shape[0]] = slab
                start += slab.shape[0]
                progress.advance(slab.shape[0])
        store.put_entry(part, key, document)
    finally:
        remove(part)
