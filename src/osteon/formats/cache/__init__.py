"""The disk cache: chunked copies of volumes that are slow to read in small parts.

A compressed stream (.nii.gz) can only be read from its start, and of packed slices whole ones
must be decoded to get at a patch. Their voxels are copied once into a chunked Zarr array in the
user's cache folder (or in ``OSTEON_CACHE_DIR``), of which any block is read quickly. The entries
are bounded (``OSTEON_CACHE_SIZE``): the least recently used make room for new ones.
"""

from __future__ import annotations

from osteon.formats.cache.store import (
    SIZE_VARIABLE,
    Entry,
    NoRoomError,
    cache_bound,
    clear_cache,
    entries,
)
from osteon.formats.cache.streams import Stream, decompress
from osteon.formats.cache.users import VARIABLE, cache_folder
from osteon.formats.cache.volumes import CachedVolume, cached_copy, for_random_reads

__all__ = [
    "SIZE_VARIABLE",
    "VARIABLE",
    "CachedVolume",
    "Entry",
    "NoRoomError",
    "Stream",
    "cache_bound",
    "cache_folder",
    "cached_copy",
    "clear_cache",
    "decompress",
    "entries",
    "for_random_reads",
]
