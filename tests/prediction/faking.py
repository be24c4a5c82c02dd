"""A backend that labels by a known function, a writer that keeps what it gets, and scans."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from osteon import prediction
from osteon.labels import BONE_PORES
from osteon.model_file import Model, ModelSpec
from osteon.networks import NetworkSpec
from osteon.prediction import predict
from osteon.volume import Array, ArrayVolume, Volume, VolumeWriter

NETWORK = NetworkSpec("unet", "resnet18", 1, 3, (16, 16, 8, 8, 8))
SPEC = ModelSpec("test", NETWORK, BONE_PORES, "zscore", 1)
MODEL = Model(SPEC, {})
DIVISOR = 32
PLENTY = 1 << 40
EDGES = (-0.5, 0.7)
Images = npt.NDArray[np.float32]


def threshold(image: Images) -> npt.NDArray[np.uint8]:
    return np.digitize(image, EDGES).astype(np.uint8)


def slopes(image: Images) -> Images:
    """Logits that are linear in the image, whose highest is the class of :func:`threshold`."""
    low, high = EDGES
    return np.stack([0 * image, image - low, 2 * image - low - high])


@dataclass
class FakeBackend:
    """Labels the middle channel by a function, as a network that had learned it would."""

    function: Callable[[Images], npt.NDArray[np.uint8]] = threshold
    logits: Callable[[Images], Images] = slopes
    bytes_per_pixel: int = 100
    description: str = "fake"
    channels: int = 1
    dimensions: int = 2
    seen: list[tuple[int, ...]] = field(default_factory=list)

    def _middle(self, batch: Images) -> Images:
        assert batch.dtype == np.float32
        assert batch.ndim == 2 + self.dimensions
        assert batch.shape[:2] == (1, self.channels)
        assert batch.flags.c_contiguous
        assert all(n % DIVISOR == 0 for n in batch.shape[2:])
        self.seen.append(batch.shape[2:])
        return batch[0, self.channels // 2]

    def run(self, batch: Images) -> Images:
        return self.logits(self._middle(batch))[np.newaxis]

    def labels(self, batch: Images) -> npt.NDArray[np.uint8]:
        return self.function(self._middle(batch))[np.newaxis]


class MemoryWriter(VolumeWriter):
    """Keeps what is written; slices must come in order."""

    def __init__(self, shape: tuple[int, int, int]):
        self.path, self.shape, self.dtype = Path("labels.nrrd"), shape, np.dtype(np.uint8)
        self.slices: list[Array] = []
        self.closed = self.aborted = False

    def write(self, z0: int, block: Array) -> None:
        assert z0 == len(self.slices)
        assert block.dtype == self.dtype
        assert block.shape[1:] == self.shape[1:]
        self.slices += list(block.copy())

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    @property
    def array(self) -> Array:
        return np.stack(self.slices)


def noise(shape: tuple[int, int, int], seed: int = 0) -> npt.NDArray[np.uint16]:
    """A scan without repetition, so that a shifted or mirrored tile would show."""
    return np.random.default_rng(seed).integers(1, 60_000, shape).astype(np.uint16)


def zscored(scan: Array) -> Images:
    """The recipe, written anew: mean 0 and SD 1 over all voxels but fill (0)."""
    values = scan[scan > 0].astype(np.float64)
    return ((scan - values.mean()) / values.std()).astype(np.float32)


def run(
    scan: Array | Volume, backend: Any, memory: int = PLENTY, *, model: Model = MODEL
) -> tuple[Array, prediction.Predicted]:
    """Predict a scan; the labels and what was told of them."""
    volume = scan if isinstance(scan, Volume) else ArrayVolume(scan)
    writer = MemoryWriter(volume.shape)
    found = predict(model, volume, writer, backend=backend, memory=memory)
    assert not writer.closed  # the caller does that
    assert len(writer.slices) == volume.shape[0]
    return writer.array, found
