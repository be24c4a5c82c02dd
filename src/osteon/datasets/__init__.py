"""Datasets: the manifest, scans with their masks, leak-safe splits, and sources of patches."""

from __future__ import annotations

from osteon.datasets.hashes import content_hash
from osteon.datasets.manifest import Manifest, ScanRow
from osteon.datasets.masks import MaskVolume, Pair, open_pair, open_pairs, scan_shapes
from osteon.datasets.sources import GridTiles, PatchSource, SlicePatches, scan_statistics
from osteon.datasets.splits import Part, Split, folds, split

__all__ = [
    "GridTiles",
    "Manifest",
    "MaskVolume",
    "Pair",
    "Part",
    "PatchSource",
    "ScanRow",
    "SlicePatches",
    "Split",
    "content_hash",
    "folds",
    "open_pair",
    "open_pairs",
    "scan_shapes",
    "scan_statistics",
    "split",
]
