"""Prediction: a scan and a model → a label volume, streamed from disk to disk.

Slices go through the network whole where the memory allows it, else as tiles with a halo. One
slice is read ahead while the network runs. Holds about three slices beside the activations.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from osteon.backends import Backend
from osteon.errors import Stopped, UsageError, warn
from osteon.events import Reporter
from osteon.intensity import Statistics, load_recipe, normalise, statistics
from osteon.labels import IGNORE
from osteon.model_file import Model, TrainingRanges
from osteon.patches import Tile, pad_to_multiple, tile_grid
from osteon.volume import Volume, VolumeWriter

#: Context around a tile, in pixels. A fitted U-Net/ResNet-18 labels tiles as whole slices (all of
#: 410,000 voxels measured); with random weights 99.7 % to 99.9 % agree, 99.99 % with 192 px.
HALO = 128
#: Slices that are in memory at once beside the activations: being read, run and written.
SLICES_IN_FLIGHT = 3
#: A voxel size this far outside the training range is worth a warning.
SIZE_TOLERANCE = 1.25

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


class PredictionStopped(Stopped):
    """The prediction was asked to stop; nothing was put in place."""


@dataclass(frozen=True)
class PredictPlan:
    """How a scan goes through the network.

    Attributes:
        tile: Height and width that are read at once, in pixels; None: whole slices.
        halo: Context around each tile, in pixels.
        tiles: Number of tiles of a slice.
        memory: Estimated memory of activations and slices in flight, in bytes.
    """

    tile: int | None
    halo: int
    tiles: int
    memory: int


@dataclass(frozen=True)
class Predicted:
    """The outcome of a prediction.

    Attributes:
        voxels: Voxels of each class, by name.
        seconds: Wall time from the first read to the last write.
        plan: How the scan went through the network.
        backend: Backend, device and arithmetic.
        statistics: Of the scan's grey values, as normalised.
    """

    voxels: dict[str, int]
    seconds: float
    plan: PredictPlan
    backend: str
    statistics: Statistics

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-compatible description."""
        return {
            "voxels": self.voxels,
            "seconds": round(self.seconds, 3),
            "plan": asdict(self.plan),
            "backend": self.backend,
            "statistics": self.statistics.as_dict(),
        }


def parse_memory(text: str) -> int:
    """Turn an amount of memory such as ``2GiB`` or ``800 MB`` into bytes.

    Args:
        text: A number with an optional unit: B, kB, MB, GB, KiB, MiB, GiB.

    Returns:
        Bytes.

    Raises:
        UsageError: If it is not an amount of memory.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]i?)?b?\s*", text.lower())
    if match is None or float(match[1]) <= 0:
        raise UsageError(
            f"'{text}' is not an amount of memory", where="memory", mend="such as 2GiB or 800MB"
        )
    return int(float(match[1]) * _UNITS[match[2] or ""])


def plan_prediction(volume: Volume, backend: Backend, *, divisor: int, memory: int) -> PredictPlan:
    """Decide whether slices go through the network whole or as tiles.

    Args:
        volume: The scan.
        backend: Tells the memory of the activations a pixel.
        divisor: What the network needs its input to be a multiple of.
        memory: Memory for activations and slices in flight, in bytes.

    Returns:
        The plan.

    Raises:
        UsageError: If not even the smallest tile fits; the message says what would.
    """
    _, height, width = volume.shape
    pixels = height * width
    # Stored and normalised image, labels, each for the slices in flight.
    slices = pixels * (volume.dtype.itemsize + 4 + 1) * SLICES_IN_FLIGHT
    padded = math.prod(-(-n // divisor) * divisor for n in (height, width))
    whole = slices + padded * backend.bytes_per_pixel
    if whole <= memory:
        return PredictPlan(None, 0, 1, whole)
    left = max(0, memory - slices)
    size = math.isqrt(left // backend.bytes_per_pixel) // divisor * divisor
    smallest = 3 * HALO // divisor * divisor
    if size < smallest:
        needed = min(whole, slices + smallest**2 * backend.bytes_per_pixel)
        raise UsageError(
            f"the scan's slices of {height} × {width} do not fit into the memory allowed",
            where=volume.path,
            mend=f"allow at least {needed / 2**20:.0f} MiB: --memory {-(-needed // 2**20)}MiB",
        )
    tiles = tile_grid((height, width), size=size, halo=HALO, divisor=divisor)
    return PredictPlan(size, HALO, len(tiles), slices + size**2 * backend.bytes_per_pixel)


def check_ranges(volume: Volume, ranges: TrainingRanges) -> None:
    """Warn where a scan lies outside what the model was fitted to.

    Args:
        volume: The scan.
        ranges: The model's training ranges.
    """
    sizes = [s for s in volume.geometry.voxel_size if s is not None]
    if ranges.voxel_size_um is None or not sizes:
        return
    low, high = ranges.voxel_size_um
    if min(sizes) < low / SIZE_TOLERANCE or max(sizes) > high * SIZE_TOLERANCE:
        warn(
            "voxel-size-outside-training",
            f"the scan's voxels of {min(sizes):g} µm lie outside what the model was fitted to "
            f"({low:g} to {high:g} µm); look at the result with care, or fit to such scans",
            where=volume.path,
        )


def predict(
    model: Model,
    volume: Volume,
    writer: VolumeWriter,
    *,
    backend: Backend,
    memory: int,
    reporter: Reporter | None = None,
) -> Predicted:
    """Segment a scan, slice by slice.

    Memory: activations of a slice or tile, and three slices; never the whole scan.

    Args:
        model: The model; its recipe normalises the scan.
        volume: The scan (z, y, x).
        writer: Takes uint8 labels of the same shape; the caller closes it.
        backend: The model's network, ready to run.
        memory: Memory for activations and slices in flight, in bytes.
        reporter: Told of the progress.

    Returns:
        What was found and how.

    Raises:
        InputError: If the scan is damaged, constant or holds NaN.
        OutputError: If the labels cannot be written.
        UsageError: If the memory allowed does not suffice.
        PredictionStopped: If it was asked to stop.
    """
    reporter = reporter or Reporter()
    start = time.monotonic()
    spec = model.spec
    _check_known(model)
    check_ranges(volume, spec.ranges)
    stats = statistics(volume, spec.recipe, reporter=reporter)
    divisor = spec.network.divisor
    plan = plan_prediction(volume, backend, divisor=divisor, memory=memory)
    counts = np.zeros(IGNORE + 1, dtype=np.int64)
    depth = volume.shape[0]
    with reporter.stage("predict", total=depth, unit="slice") as progress:
        for z, image in _read_ahead(volume, stats):
            labels = _label_slice(image, backend, plan, divisor)
            writer.write(z, labels[np.newaxis])
            counts += np.bincount(labels.ravel(), minlength=counts.size)
            progress.advance()
            if reporter.stopping and z + 1 < depth:
                raise PredictionStopped(
                    f"stopped after {z + 1} of {depth} slices; nothing was written",
                    where=writer.path,
                    mend="run the command again",
                )
    voxels = {c.name: int(counts[c.value]) for c in spec.labels.classes}
    return Predicted(voxels, time.monotonic() - start, plan, backend.description, stats)


def _check_known(model: Model) -> None:
    spec = model.spec
    mend = "pip install --upgrade osteon"
    if load_recipe(spec.recipe).version != spec.recipe_version:
        raise UsageError(
            f"the model's recipe {spec.recipe} is of version {spec.recipe_version}, which this "
            "version of osteon does not know",
            where=model.path,
            mend=mend,
        )
    if spec.mode != "2D" or spec.network.in_channels != 1:
        raise UsageError(
            f"the model works in {spec.mode} with {spec.network.in_channels} channels; this "
            "version of osteon predicts in 2D with one channel",
            where=model.path,
            mend=mend,
        )


def _read_ahead(volume: Volume, stats: Statistics) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    def load(z: int) -> npt.NDArray[np.float32]:
        image: npt.NDArray[np.float32] = normalise(volume.read(slice(z, z + 1)), stats)[0]
        return image

    depth = volume.shape[0]
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="osteon-read") as pool:
        coming = pool.submit(load, 0)
        for z in range(depth):
            image = coming.result()
            if z + 1 < depth:
                coming = pool.submit(load, z + 1)
            yield z, image


def _label_slice(
    image: npt.NDArray[np.float32], backend: Backend, plan: PredictPlan, divisor: int
) -> npt.NDArray[np.uint8]:
    labels = np.empty(image.shape, dtype=np.uint8)
    for tile in _tiles(image.shape, plan, divisor):
        part = pad_to_multiple(image[tile.read], divisor)
        found = backend.labels(np.ascontiguousarray(part)[np.newaxis, np.newaxis])[0]
        labels[tile.core] = found[tile.inner]
    return labels


def _tiles(shape: tuple[int, ...], plan: PredictPlan, divisor: int) -> list[Tile]:
    height, width = shape
    if plan.tile is None:
        whole = slice(0, height), slice(0, width)
        return [Tile(whole, whole)]
    return tile_grid((height, width), size=plan.tile, halo=plan.halo, divisor=divisor)
