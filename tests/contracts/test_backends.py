"""Every backend of the table: a network that is a known filter comes back, whole and in tiles."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from osteon.backends import Backend, exporting, open_backend, torch_backend
from osteon.errors import DependencyError
from osteon.labels import BONE_PORES
from osteon.model_file import Model, ModelSpec
from osteon.networks import NetworkSpec, build_network
from osteon.prediction import plan as plan_module
from osteon.prediction import predict
from osteon.registry import Row
from osteon.settings import PredictSettings
from osteon.tables.choices import BACKENDS
from osteon.volume import Array, ArrayVolume, VolumeWriter

ROWS = [pytest.param(row, id=row.name) for row in BACKENDS]
#: Logits differ by rounding alone.
TOLERANCE = 1e-5
EDGES = (-0.5, 0.7)
DIMENSIONS = [2, 3]


class Known(nn.Module):
    """Logits that are linear in a filtered image: the highest is the class by two thresholds."""

    def __init__(self, kernel: torch.Tensor):
        super().__init__()
        dimensions = kernel.ndim
        kind = nn.Conv2d if dimensions == 2 else nn.Conv3d
        size = kernel.shape[0]
        self.filter = kind(1, 1, size, padding=size // 2, bias=False)
        self.head = kind(1, 3, 1)
        low, high = EDGES
        with torch.no_grad():
            self.filter.weight.copy_(kernel[None, None])
            self.head.weight.copy_(torch.tensor([0.0, 1.0, 2.0]).reshape(3, 1, *([1] * dimensions)))
            assert self.head.bias is not None
            self.head.bias.copy_(torch.tensor([0.0, -low, -low - high]))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.filter(image))
        return logits


def kernel(name: str, dimensions: int) -> np.ndarray:
    if name == "identity":
        made = np.zeros((3,) * dimensions, np.float32)
        made[(1,) * dimensions] = 1
        return made
    # Without symmetry: a flipped or shifted input would show.
    return np.random.default_rng(3).normal(0, 0.3, (5,) * dimensions).astype(np.float32)


def logits_of(image: Array, weights: np.ndarray) -> Array:
    """The network, written anew: a correlation with zeros beyond the edge."""
    seen = ndimage.correlate(image.astype(np.float64), weights.astype(np.float64), mode="constant")
    low, high = EDGES
    return np.stack([0 * seen, seen - low, 2 * seen - low - high])


def decided(logits: Array) -> Array:
    """Whether no rounding can change the class."""
    best = np.sort(logits, 0)
    return best[-1] - best[-2] > 1e-4


def opened(row: Row, name: str, dimensions: int, monkeypatch: pytest.MonkeyPatch) -> Backend:
    network = Known(torch.from_numpy(kernel(name, dimensions))).eval()
    for module in (torch_backend, exporting):
        monkeypatch.setattr(module, "build_network", lambda _: network)
    spec = NetworkSpec("unet", "resnet18", 1, 3, dimensions=dimensions)
    asked = PredictSettings(backend=row.name, device="cpu", precision="fp32")
    return open_backend(spec, network.state_dict(), asked)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("name", ["identity", "filter"])
@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_a_known_filter_comes_back(
    row: Row, name: str, dimensions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = opened(row, name, dimensions, monkeypatch)
    shape = (64, 96) if dimensions == 2 else (32, 64, 32)
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = logits_of(image, kernel(name, dimensions))
    found = backend.run(image[None, None])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=TOLERANCE * abs(expected).max())
    sure = decided(expected)
    assert sure.mean() > 0.99
    labels = backend.labels(image[None, None])
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels[0][sure], expected.argmax(0)[sure])


def noise(shape: tuple[int, int, int]) -> Array:
    return np.random.default_rng(0).integers(1, 60_000, shape).astype(np.uint16)


def zscored(scan: Array) -> Array:
    """The recipe, written anew: mean 0 and SD 1, as no voxel is fill."""
    values = scan.astype(np.float64)
    return ((values - values.mean()) / values.std()).astype(np.float32)


class Kept(VolumeWriter):
    """Keeps what is written."""

    def __init__(self, shape: tuple[int, int, int]):
        self.path, self.shape, self.dtype = Path("labels.nrrd"), shape, np.dtype(np.uint8)
        self.array = np.zeros(shape, np.uint8)

    def write(self, z0: int, block: Array) -> None:
        self.array[z0 : z0 + len(block)] = block

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass


#: Scan, and what its network may take: prime sizes; one goes whole, the other in parts.
SCANS = {
    (2, "whole"): ((3, 101, 127), 1 << 30),
    (2, "parts"): ((2, 401, 433), 401 * 433 * 21 + 384**2 * 101),
    (3, "whole"): ((37, 61, 67), 1 << 30),
    (3, "parts"): ((61, 131, 71), 80 << 20),
}


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("case", SCANS, ids=lambda c: f"{c[0]}D-{c[1]}")
def test_it_comes_back_through_slices_tiles_and_blocks(
    row: Row, case: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dimensions, way = case
    (shape, memory), scan = SCANS[case], noise(SCANS[case][0])
    monkeypatch.setattr(plan_module, "BLOCK_HALO", 16)
    backend = opened(row, "filter", dimensions, monkeypatch)
    backend.bytes_per_pixel = 100 if dimensions == 2 else 200
    network = NetworkSpec("unet", "resnet18", 1, 3, dimensions=dimensions)
    spec = ModelSpec("known", network, BONE_PORES, "zscore", 1, mode=f"{dimensions}D")
    writer = Kept(shape)
    told = predict(Model(spec, {}), ArrayVolume(scan), writer, backend=backend, memory=memory)
    assert told.plan.whole == (way == "whole")
    seen = zscored(scan)
    weights = kernel("filter", dimensions)
    logits = (
        logits_of(seen, weights)
        if dimensions == 3
        else np.stack([logits_of(image, weights) for image in seen], 1)
    )
    # Beyond an edge that is padded to the network's divisor stands the edge, not zero.
    inner = (slice(2, -2) if dimensions == 3 else slice(None), slice(2, -2), slice(2, -2))
    sure, expected = decided(logits)[inner], logits.argmax(0)[inner]
    np.testing.assert_array_equal(writer.array[inner][sure], expected[sure])
    assert len(np.unique(expected)) == 3


@pytest.mark.parametrize("row", ROWS)
def test_a_missing_library_is_named_with_the_mend(
    row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = NetworkSpec("unet", "resnet18", 1, 3, (16, 16, 8, 8, 8))
    weights = build_network(spec).state_dict()
    libraries = row.capabilities["libraries"]
    assert isinstance(libraries, tuple)
    for name in libraries:
        with monkeypatch.context() as gone:
            gone.setitem(sys.modules, name, None)
            with pytest.raises(DependencyError, match=name) as caught:
                open_backend(spec, weights, PredictSettings(backend=row.name, device="cpu"))
            assert "osteon[" in str(caught.value.mend)
