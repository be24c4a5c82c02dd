"""A toy problem to fit to: squares of three grey values with their labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from osteon.events import Event, Reporter
from osteon.labels import BONE_PORES
from osteon.networks import NetworkSpec
from osteon.settings import FitSettings, load_settings
from osteon.training import FitData, FitFolder, FitOutcome, fit

#: 196,000 parameters: what is tested here is not the network.
SPEC = NetworkSpec("unet", "tu-lcnet_035", 1, 3, (16, 16, 8, 8, 8))
ITEMS = 6
SIZE = 32


@dataclass(frozen=True)
class Toy:
    """Squares of three grey values with their labels; a function of (epoch, index) alone."""

    items: int = ITEMS
    value: float = 1.0
    size: int = SIZE

    def __len__(self) -> int:
        return self.items

    def item(self, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([epoch, index])
        labels = np.kron(rng.integers(0, 3, (4, 4)), np.ones((self.size // 4,) * 2)).astype(
            np.uint8
        )
        image = labels.astype(np.float32) * self.value + rng.normal(0, 0.1, labels.shape)
        return image[np.newaxis].astype(np.float32), labels


class ToyTiles:
    """Two validation slices, always the same."""

    scans = ("a", "b")

    def __len__(self) -> int:
        return 2

    def item(self, index: int) -> tuple[np.ndarray, np.ndarray, int]:
        image, labels = Toy().item(1000, index)
        return image, labels, index


TILES = ToyTiles()


def settings(*overrides: str) -> FitSettings:
    base = ["training.batch_size=4", "training.epochs=3", "training.workers=0"]
    base += ["training.precision=fp32", "patches.size=32"]
    return load_settings(FitSettings, overrides=[*base, *overrides])


def run(
    folder: Path,
    *overrides: str,
    resume: bool = False,
    reporter: Reporter | None = None,
    tiles: ToyTiles | None = TILES,
    source: Toy = Toy(),
    spec: NetworkSpec = SPEC,
) -> FitOutcome:
    data = FitData(source, tiles, BONE_PORES)  # type: ignore[arg-type]
    return fit(
        spec, data, settings(*overrides), folder=FitFolder(folder), resume=resume, reporter=reporter
    )


class StopAt:
    """A listener that asks for a stop at a step of the fit."""

    def __init__(self, step: int):
        self.reporter = Reporter(self)
        self._step = step

    def __call__(self, event: Event) -> None:
        if event.stage == "fit" and event.kind == "progress" and (event.step or 0) >= self._step:
            self.reporter.stop.request("test")
