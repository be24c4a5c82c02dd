"""Datasets: the manifest, scans with their masks, leak-safe splits, and sources of patches."""

from __future__ import annotations

from osteon.datasets.costs import Estimate, estimate
from osteon.datasets.doctor import check
from osteon.datasets.findings import Finding
from osteon.datasets.hashes import content_hash
from osteon.datasets.manifest import Manifest, ScanRow
from osteon.datasets.masks import MaskVolume, Pair, open_pair, open_pairs, scan_shapes
from osteon.datasets.new import new_manifest
from osteon.datasets.resampled import resample_pair
from osteon.datasets.sources import GridTiles, PatchSource, SlicePatches, scan_statistics
from osteon.datasets.splits import Part, Split, folds, split

__all__ = [
    "Estimate",
    "Finding",
    "GridTiles",
    "Manifest",
    "MaskVolume",
    "Pair",
    "Part",
    "PatchSource",
    "ScanRow",
    "SlicePatches",
    "Split",
    "check",
    "content_hash",
    "estimate",
    "folds",
    "new_manifest",
    "open_pair",
    "open_pairs",
    "resample_pair",
    "scan_shapes",
    "scan_statistics",
    "split",
]
