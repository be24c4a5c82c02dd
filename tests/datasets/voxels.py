"""Scans in memory of which every voxel tells its place."""

from __future__ import annotations

from typing import Any

import numpy as np

from osteon.datasets import Pair, Part, ScanRow, scan_statistics
from osteon.datasets.masks import MaskVolume
from osteon.labels import BONE_PORES
from osteon.settings import FitSettings
from osteon.volume import ArrayVolume, Geometry

SIZE = 32


class Counting(ArrayVolume):
    """Remembers what was read."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.seen = 0
        self.slices: set[int] = set()

    def read(self, z, y=slice(None), x=slice(None)):
        block = super().read(z, y, x)
        self.seen += block.size
        self.slices |= set(range(self.shape[0])[z])
        return block


def scan(
    name: str,
    shape: tuple[int, int, int],
    *,
    seed: int = 0,
    labelled: Any = None,
    classes: np.ndarray | None = None,
    voxel_size: tuple[float | None, float | None, float | None] = (None, None, None),
    **row: Any,
) -> Pair:
    """Every voxel of the image tells its place; labels follow from it by a rule, or are given."""
    rng = np.random.default_rng(seed)
    image = rng.permutation(np.prod(shape)).reshape(shape).astype(np.uint32) + 1
    if image.max() < 2**16:
        image = image.astype(np.uint16)
    made = ScanRow(name=name, specimen=name, image="i", mask="m", **row)
    first, stop = made.slices or (0, shape[0])
    source = tuple(
        z if first <= z < stop and (labelled is None or z in labelled) else -1
        for z in range(shape[0])
    )
    volume = Counting(image, Geometry(voxel_size))
    values = (image % 3).astype(np.uint8) if classes is None else classes.astype(np.uint8)
    labels = MaskVolume(Counting(values), shape, volume.geometry, BONE_PORES, made, source)
    return Pair(made, volume, labels)


def fit_settings(**entries: Any) -> FitSettings:
    """Settings without augmentation and with small patches, unless asked for."""
    patches = {"size": SIZE, "per_slice": 3} | entries.pop("patches", {})
    preset = entries.pop("preset", "none")
    return FitSettings.model_validate(
        {"seed": 0, "patches": patches, "augmentation": {"preset": preset}} | entries
    )


def parts_of(pairs: list[Pair]) -> list[Part]:
    return [Part(pair.name, pair.labelled) for pair in pairs]


class _Known:
    """What is worked out once of each scan; the scan is kept, so that its id stays its own."""

    def __init__(self, pair: Pair):
        self.pair = pair
        self.statistics = scan_statistics([pair], "zscore")[pair.name]
        self.places = np.full((pair.image.array.size + 1, 3), -1, dtype=np.int16)
        indices = np.indices(pair.image.shape, dtype=np.int16)
        self.places[pair.image.array.ravel()] = indices.reshape(3, -1).T


_KNOWN: dict[int, _Known] = {}


def _known(pair: Pair) -> _Known:
    if id(pair) not in _KNOWN:
        _KNOWN.clear()  # one scan at a time
        _KNOWN[id(pair)] = _Known(pair)
    return _KNOWN[id(pair)]


def restore(image: np.ndarray, pair: Pair) -> np.ndarray:
    """Stored grey values of a normalised patch."""
    s = _known(pair).statistics
    return np.rint(image.astype(np.float64) * s.std + s.mean).astype(int)


def places(pair: Pair) -> np.ndarray:
    """(value) → (z, y, x) of the voxel that has it; row 0 is no voxel."""
    return _known(pair).places
