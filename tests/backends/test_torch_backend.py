"""The PyTorch backend against the network called directly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from osteon.backends import Backend, open_backend
from osteon.errors import ModelFileError, UsageError
from osteon.networks import NetworkSpec, build_network
from osteon.registry import Row
from osteon.settings import PredictSettings
from osteon.tables.choices import BACKENDS

SPEC = NetworkSpec("unet", "resnet18", 1, 3, (16, 16, 8, 8, 8))


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    made = build_network(SPEC)
    made(torch.randn(4, 1, 64, 64))  # so that the batch norms have statistics of their own
    return made.eval()


@pytest.fixture(params=list(BACKENDS), ids=lambda row: row.name)
def backend(request: pytest.FixtureRequest, network: torch.nn.Module) -> Backend:
    row: Row = request.param
    settings = PredictSettings(backend=row.name, device="cpu", precision="fp32")
    return open_backend(SPEC, network.state_dict(), settings)


BLOCKS = NetworkSpec("attention-unet", "", 1, 3, dimensions=3)
NEIGHBOURS = NetworkSpec("unet", "resnet18", 5, 3, (16, 16, 8, 8, 8))


def settled(spec: NetworkSpec, *shape: int) -> torch.nn.Module:
    """A random network whose batch norms have statistics of their own."""
    torch.manual_seed(0)
    made = build_network(spec)
    made(torch.randn(4, spec.in_channels, *shape))
    return made.eval()


@pytest.mark.parametrize(
    ("spec", "shape"), [(BLOCKS, (16, 32, 48)), (NEIGHBOURS, (64, 96))], ids=["3D", "2.5D"]
)
def test_blocks_and_neighbours_give_what_the_network_gives(
    spec: NetworkSpec, shape: tuple[int, ...]
) -> None:
    network = settled(spec, *([64] * 2 if spec.dimensions == 2 else [32] * 3))
    batch = np.random.default_rng(2).normal(size=(1, spec.in_channels, *shape)).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(batch)).numpy()
    made = open_backend(spec, network.state_dict(), PredictSettings(device="cpu", precision="fp32"))
    found = made.run(batch)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    labels = made.labels(batch)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, found.argmax(1))
    assert len(np.unique(labels)) > 1


def images(*, n: int = 2, height: int = 32, width: int = 64) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 1, (n, 1, height, width)).astype(np.float32)


def test_logits_are_those_of_the_network(backend: Backend, network: torch.nn.Module) -> None:
    batch = images()
    with torch.inference_mode():
        expected = network(torch.from_numpy(batch)).numpy()
    found = backend.run(batch)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert found.std() > 100 * np.abs(found - expected).max()


def test_labels_are_the_class_of_the_highest_logit(backend: Backend) -> None:
    batch = images(height=96)
    labels = backend.labels(batch)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, backend.run(batch).argmax(1))
    assert len(np.unique(labels)) > 1


def test_images_of_a_batch_do_not_touch_each_other(backend: Backend) -> None:
    batch = images(n=3)
    together = backend.run(batch)
    for i in range(3):
        np.testing.assert_allclose(backend.run(batch[i : i + 1])[0], together[i], atol=1e-4)


def test_running_changes_neither_input_nor_network(backend: Backend) -> None:
    batch = images()
    before = batch.copy()
    first = backend.run(batch)
    backend.labels(batch * 50)
    np.testing.assert_array_equal(batch, before)
    np.testing.assert_array_equal(backend.run(batch), first)


def test_it_says_what_it_is(backend: Backend) -> None:
    assert "cpu" in backend.description.lower()
    assert "fp32" in backend.description
    assert backend.bytes_per_pixel > 0


@pytest.mark.parametrize("row", list(BACKENDS), ids=lambda row: row.name)
def test_foreign_weights_are_refused(row: Row, network: torch.nn.Module) -> None:
    weights = dict(network.state_dict())
    weights.pop("encoder.conv1.weight")
    with pytest.raises(ModelFileError, match="do not belong"):
        open_backend(SPEC, weights, PredictSettings(backend=row.name, device="cpu"))


@pytest.mark.parametrize("change", [{"device": "tpu"}, {"device": "cpu", "precision": "fp16"}])
def test_what_this_machine_cannot_do_is_refused(
    change: dict[str, str], network: torch.nn.Module
) -> None:
    settings = PredictSettings.model_validate(change)
    with pytest.raises(UsageError):
        open_backend(SPEC, network.state_dict(), settings)


@pytest.fixture
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_threads")
def test_the_number_of_threads_is_as_asked(network: torch.nn.Module) -> None:
    settings = PredictSettings(device="cpu", precision="fp32", threads=1)
    torch.set_num_threads(2)
    open_backend(SPEC, network.state_dict(), settings)
    assert torch.get_num_threads() == 1
