"""Datasets: the manifest, scans with their masks, leak-safe splits, and sources of patches."""

from __future__ import annotations

from osteon.datasets.blocks import BlockPatches
from osteon.datasets.caching import cached_pair
from osteon.datasets.context import ContextPatches, MixedPatches
from osteon.datasets.costs import Estimate, cpu_speed, estimate
from osteon.datasets.doctor import check
from osteon.datasets.findings import Finding
from osteon.datasets.grid import GridTiles
from osteon.datasets.hashes import content_hash
from osteon.datasets.manifest import Manifest, ScanRow
from osteon.datasets.masks import MaskVolume, Pair, open_pair, open_pairs, scan_shapes
from osteon.datasets.new import new_manifest, slices_apart
from osteon.datasets.reduced import ReducedSlices
from osteon.datasets.resampled import resample_pair
from osteon.datasets.sampling import check_mode
from osteon.datasets.slices import SlicePatches
from osteon.datasets.sources import (
    PatchSource,
    TileSource,
    patch_source,
    scan_statistics,
    validation_tiles,
)
from osteon.datasets.splits import Part, Split, folds, split
from osteon.datasets.survey import Survey, class_weights, empty_slices, survey

__all__ = [
    "BlockPatches",
    "ContextPatches",
    "Estimate",
    "Finding",
    "GridTiles",
    "Manifest",
    "MaskVolume",
    "MixedPatches",
    "Pair",
    "Part",
    "PatchSource",
    "ReducedSlices",
    "ScanRow",
    "SlicePatches",
    "Split",
    "Survey",
    "TileSource",
    "cached_pair",
    "check",
    "check_mode",
    "class_weights",
    "content_hash",
    "cpu_speed",
    "empty_slices",
    "estimate",
    "folds",
    "new_manifest",
    "open_pair",
    "open_pairs",
    "patch_source",
    "resample_pair",
    "scan_shapes",
    "scan_statistics",
    "slices_apart",
    "split",
    "survey",
    "validation_tiles",
]
