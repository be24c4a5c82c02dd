"""What a fit learns from, examined before anything is written: scans, split, statistics, hashes."""

from __future__ import annotations

import statistics as stats
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from osteon.datasets import (
    ContextPatches,
    Manifest,
    MixedPatches,
    Pair,
    PatchSource,
    ReducedSlices,
    Split,
    Survey,
    check_mode,
    class_weights,
    empty_slices,
    open_pairs,
    patch_source,
    resample_pair,
    scan_shapes,
    scan_statistics,
    split,
    survey,
    validation_tiles,
)
from osteon.datasets.caching import cached_pair
from osteon.errors import UsageError
from osteon.events import Reporter
from osteon.files import parse_memory
from osteon.intensity import Statistics, grey_quantiles
from osteon.labels import BONE_PORES
from osteon.networks import ContextSpec, NetworkSpec
from osteon.settings import FitSettings
from osteon.simulation.stream import SimulatedPatches, SimulatedTiles
from osteon.training import FitData

#: With two scales, so many reduced views for each patch at full resolution.
REDUCED_SHARE = 0.75


@dataclass(frozen=True)
class Prepared:
    """Scans and masks of a fit, opened and examined.

    Attributes:
        manifest: The dataset.
        pairs: The scans that are used, as they are in their files.
        seen: The same as the network sees them: resampled where the settings say so, through
            the disk cache where that pays.
        division: What is learned from and what is measured.
        statistics: Of the grey values of each scan, by name.
        surveys: Hashes and counts of each scan as it is in its file, by name.
        quantiles: Of the normalised grey values of each scan, by name; None where nothing but
            fill was seen.
    """

    manifest: Manifest
    pairs: tuple[Pair, ...]
    seen: tuple[Pair, ...]
    division: Split
    statistics: dict[str, Statistics]
    surveys: dict[str, Survey]
    quantiles: dict[str, tuple[float, ...] | None] = field(default_factory=dict)

    @property
    def hashes(self) -> dict[str, dict[str, str]]:
        """SHA-256 of the voxels of each scan and mask."""
        found = {}
        for name, one in self.surveys.items():
            found[name] = {"image": one.image_hash}
            if one.label_hash is not None:
                found[name]["labels"] = one.label_hash
        return found

    @property
    def voxel_size(self) -> tuple[float | None, float | None, float | None]:
        """Median voxel size along (z, y, x) of what the network learns from, in µm."""
        training = {part.scan for part in self.division.training}
        sizes = [pair.image.geometry.voxel_size for pair in self.seen if pair.name in training]
        z, y, x = (_median([size[axis] for size in sizes]) for axis in range(3))
        return z, y, x


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return stats.median(known) if known else None


@dataclass(frozen=True)
class Examined:
    """What reading the scans gave; picklable, so that one process can tell the others.

    Attributes:
        statistics: As in :class:`Prepared`.
        surveys: As in :class:`Prepared`.
        quantiles: As in :class:`Prepared`.
    """

    statistics: dict[str, Statistics]
    surveys: dict[str, Survey]
    quantiles: dict[str, tuple[float, ...] | None]


def open_data(dataset: Path | None, settings: FitSettings) -> Prepared:
    """Open the scans of a dataset and divide them; reads no voxels.

    Args:
        dataset: The manifest (TOML); None with simulated slices alone.
        settings: Settings of the fit.

    Returns:
        Scans and split, without statistics and hashes.

    Raises:
        InputError: If the dataset is unfit or a file is missing or damaged.
        UsageError: If settings do not suit the data.
    """
    if dataset is None:
        if not settings.simulation.items:
            raise UsageError(
                "there is nothing to learn from",
                mend="give a dataset, or simulated slices by --set simulation.items=1000",
            )
        return Prepared(Manifest(BONE_PORES, ()), (), (), Split((), ()), {}, {})
    manifest = Manifest.load(dataset)
    if settings.simulation.items and manifest.labels.names != BONE_PORES.names:
        raise UsageError(
            f"simulated slices have the classes {', '.join(BONE_PORES.names)}, and this dataset "
            f"has {', '.join(manifest.labels.names)}",
            where=dataset,
            mend="leave out simulation.items",
        )
    pairs = open_pairs(manifest)
    check_mode(pairs, settings.mode)
    # What does not suit shows before hours of reading.
    division = split(manifest, settings.validation, seed=settings.seed, shapes=scan_shapes(pairs))
    used = {part.scan for part in (*division.training, *division.validation)}
    pairs = tuple(pair for pair in pairs if pair.name in used)
    return Prepared(manifest, pairs, pairs, division, {}, {})


def examine(opened: Prepared, settings: FitSettings, reporter: Reporter) -> Examined:
    """Read the scans: statistics and quantiles of grey values, hashes, counts of the classes.

    Holds a slice of a scan and its mask at a time.

    Args:
        opened: The opened scans.
        settings: Settings of the fit.
        reporter: Told of the progress.

    Returns:
        What was found.

    Raises:
        InputError: If a scan is damaged, constant, or holds NaN.
        Stopped: If it was asked to stop.
    """
    found = scan_statistics(opened.pairs, settings.normalisation.recipe, reporter=reporter)
    classes = len(opened.manifest.labels)
    surveys = {p.name: survey(p, classes=classes, reporter=reporter) for p in opened.pairs}
    quantiles = {p.name: grey_quantiles(p.image, found[p.name]) for p in opened.pairs}
    return Examined(found, surveys, quantiles)


def complete(
    opened: Prepared, examined: Examined, settings: FitSettings, reporter: Reporter
) -> Prepared:
    """Put opened scans and what was found in them together.

    Scans that are slow to read at random go through the disk cache from here on.

    Args:
        opened: The opened scans.
        examined: What was found.
        settings: Settings of the fit.
        reporter: Told of the progress.

    Returns:
        All that a fit needs to know of its data.

    Raises:
        OutputError: If the cache cannot be written.
        Stopped: If it was asked to stop.
    """
    memory = cache_bytes(settings) // max(1, len(opened.pairs))
    choice = settings.training.disk_cache
    seen = []
    for pair in opened.pairs:
        pair = cached_pair(pair, choice=choice, memory_bytes=memory, reporter=reporter)
        if settings.voxel_size is not None:
            statistics = examined.statistics[pair.name]
            pair = resample_pair(
                pair, settings.voxel_size, mode=settings.mode, statistics=statistics
            )
        seen.append(pair)
    division = opened.division
    if seen and settings.voxel_size is not None:  # along all axes: the slices are others
        rows = tuple(row.model_copy(update={"slices": None}) for row in opened.manifest.scans)
        division = split(
            replace(opened.manifest, scans=rows),
            settings.validation,
            seed=settings.seed,
            shapes=scan_shapes(seen),
        )
    return replace(
        opened,
        seen=tuple(seen),
        division=division,
        statistics=examined.statistics,
        surveys=examined.surveys,
        quantiles=examined.quantiles,
    )


def fit_data(prepared: Prepared, settings: FitSettings, network: NetworkSpec) -> FitData:
    """Make the sources of patches and of validation slices.

    Args:
        prepared: The data.
        settings: Settings of the fit.
        network: The network.

    Returns:
        What the network is fitted to.

    Raises:
        InputError: If nothing is left to learn from.
        UsageError: If settings do not suit the data.
    """
    if not prepared.pairs:
        return _simulated_data(settings)
    workers = settings.training.workers
    # Each process keeps its own slices; "auto" may start several.
    shares = max(1, workers) if isinstance(workers, int) else 1
    surveys, labels = prepared.surveys, prepared.manifest.labels
    wants_weights = settings.loss.class_weights == "data"
    if settings.voxel_size is not None and (wants_weights or settings.patches.skip_empty):
        # Counted on the grid that is learned from: its slices are others.
        surveys = {pair.name: survey(pair, classes=len(labels)) for pair in prepared.seen}
    empty: dict[str, Collection[int]] = {}
    if settings.patches.skip_empty:
        empty = {name: empty_slices(one) for name, one in surveys.items()}
    source = patch_source(
        prepared.seen,
        prepared.division.training,
        settings=settings,
        statistics=prepared.statistics,
        labels=labels,
        cache_bytes=cache_bytes(settings) // shares,
        empty=empty,
    )
    source = _extended(source, prepared, settings)
    tiles = None
    if prepared.division.validation:
        tiles = validation_tiles(
            prepared.seen,
            prepared.division.validation,
            settings=settings,
            statistics=prepared.statistics,
            divisor=network.divisor,
            depth_divisor=network.depth_divisor,
        )
    weights = None
    if wants_weights:
        weights = class_weights(surveys, prepared.division.training, len(labels))
    return FitData(source, tiles, labels, weights, context=context_of(settings))


def _extended(source: PatchSource, prepared: Prepared, settings: FitSettings) -> PatchSource:
    """Patches with a context and reduced views of a two-scale fit, and with simulated slices."""
    if settings.network.context:
        reduced = ReducedSlices(
            prepared.seen,
            prepared.division.training,
            settings=settings,
            statistics=prepared.statistics,
            labels=prepared.manifest.labels,
            items=round(REDUCED_SHARE * len(source)),
        )
        source = MixedPatches((ContextPatches(source, settings.seed), reduced))
    if settings.simulation.items:
        source = MixedPatches((source, simulated_patches(settings)))
    return source


def _simulated_data(settings: FitSettings) -> FitData:
    """What a fit to simulated slices alone learns from and is measured by."""
    if settings.loss.class_weights == "data":
        raise UsageError(
            "simulated slices are endless: their classes cannot be counted",
            where="loss.class_weights",
            mend="give the weights as numbers",
        )
    tiles = None
    if settings.validation.method != "none":
        tiles = SimulatedTiles(
            settings.patches.size,
            settings.simulation.validation_items,
            settings.seed,
            context=settings.network.context,
        )
    return FitData(simulated_patches(settings), tiles, BONE_PORES, context=context_of(settings))


def simulated_patches(settings: FitSettings) -> SimulatedPatches:
    """Return the simulated slices that settings ask for.

    Args:
        settings: Settings of the fit.
    """
    return SimulatedPatches(
        settings.patches.size,
        settings.simulation.items,
        settings.seed,
        context=settings.network.context,
    )


def context_of(settings: FitSettings) -> int | None:
    """Return the longest side of a two-scale network's first pass, None for one scale.

    Args:
        settings: Settings of the fit.
    """
    return ContextSpec().longest if settings.network.context else None


def cache_bytes(settings: FitSettings) -> int:
    """Return the memory for decoded slices, in bytes.

    Args:
        settings: Settings of the fit.

    Raises:
        UsageError: If it is not an amount of memory.
    """
    try:
        return parse_memory(settings.training.cache)
    except UsageError as error:
        raise UsageError(error.what, where="training.cache", mend=error.mend) from None


def network_spec(prepared: Prepared, settings: FitSettings) -> NetworkSpec:
    """Describe the network that settings and data ask for.

    Args:
        prepared: The data.
        settings: Settings of the fit.

    Returns:
        The description.

    Raises:
        UsageError: If architecture, encoder and mode do not go together.
    """
    patches, volumetric = settings.patches, settings.mode == "3D"
    plane: tuple[int, ...] = (patches.size, patches.size)
    return NetworkSpec.from_settings(
        settings.network,
        in_channels=settings.in_channels,
        classes=len(prepared.manifest.labels),
        dimensions=3 if volumetric else 2,
        patch=(patches.depth, *plane) if volumetric else plane,
        voxel_size=prepared.voxel_size,
    )


def provenance(prepared: Prepared, settings: FitSettings) -> dict[str, Any]:
    """Return what a model file tells of its data, for people.

    Args:
        prepared: The data.
        settings: Settings of the fit.
    """
    return {
        "settings": settings.model_dump(mode="json"),
        "split": prepared.division.as_dict(),
        "data": prepared.hashes,
    }
