"""2.5D: every slice is predicted with its neighbours, and each is read once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from osteon.model_file import Model
from osteon.prediction import plan as plan_module
from osteon.prediction import plan_prediction
from osteon.volume import Array, ArrayVolume

from .faking import NETWORK, PLENTY, SPEC, FakeBackend, Images, noise, run, threshold, zscored


def model(slices: int) -> Model:
    return Model(replace(SPEC, mode="2.5D", network=replace(NETWORK, in_channels=slices)), {})


@dataclass
class Watched(ArrayVolume):
    """Counts how often each slice is read."""

    reads: Counter[int] = field(default_factory=Counter)

    def read(self, z: slice, y: slice = slice(None), x: slice = slice(None)) -> Array:
        self.reads.update(range(z.start, z.stop))
        return super().read(z, y, x)


@pytest.mark.parametrize("slices", [3, 5, 9])
@pytest.mark.parametrize("depth", [1, 2, 7])
def test_the_middle_slice_comes_back_at_both_ends_too(slices: int, depth: int) -> None:
    scan = noise((depth, 37, 41))
    labels, _ = run(scan, FakeBackend(channels=slices), model=model(slices))
    np.testing.assert_array_equal(labels, threshold(zscored(scan)))


@dataclass
class Weighing(FakeBackend):
    """Labels by all channels, each with another weight."""

    def _middle(self, batch: Images) -> Images:
        super()._middle(batch)
        weights = np.arange(1, self.channels + 1, dtype=np.float32)
        return np.tensordot(weights, batch[0], axes=1)


@pytest.mark.parametrize("memory", ["whole", "tiles"])
def test_beyond_the_ends_the_nearest_slice_is_repeated(
    memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_module, "HALO", 32)
    scan = noise((6, 97, 131))
    backend = Weighing(channels=5)
    whole = plan_prediction(ArrayVolume(scan), backend, spec=model(5).spec, memory=PLENTY).memory
    labels, found = run(scan, backend, PLENTY if memory == "whole" else whole - 1, model=model(5))
    assert found.plan.whole == (memory == "whole")
    padded = np.pad(zscored(scan), ((2, 2), (0, 0), (0, 0)), mode="edge")
    weighed = sum((k + 1) * padded[k : k + 6] for k in range(5))
    found_labels, expected = labels, threshold(weighed)
    # Sums in another order differ in the last bit, so voxels at an edge of a class are left out.
    clear = np.abs(weighed[..., np.newaxis] - [-0.5, 0.7]).min(-1) > 1e-4
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(found_labels[clear], expected[clear])


def test_each_slice_is_read_once_for_the_statistics_and_once_for_the_labels() -> None:
    volume = Watched(noise((11, 33, 34)))
    run(volume, FakeBackend(channels=5), model=model(5))
    assert volume.reads == Counter(dict.fromkeys(range(11), 2))


def test_neighbours_are_planned_for() -> None:
    # By hand: as in 2D, and 4 more normalised slices, and 4 more channels of the padded input.
    volume = ArrayVolume(np.zeros((5, 300, 500), np.uint16))
    expected = 300 * 500 * 7 * 3 + 300 * 500 * 4 * 4 + 320 * 512 * (800 + 4 * 4)
    backend = FakeBackend(bytes_per_pixel=800, channels=5)
    found = plan_prediction(volume, backend, spec=model(5).spec, memory=expected)
    assert (found.tile, found.memory) == (None, expected)
    assert plan_prediction(volume, backend, spec=model(5).spec, memory=expected - 1).tile
