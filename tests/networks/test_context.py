"""Two scales: the grids against another library and by hand, the two passes step by step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.transform import downscale_local_mean
from torch import nn

from osteon.coarse import averaging, between, coarse_grid
from osteon.errors import UsageError
from osteon.networks import ContextSpec, two_pass
from osteon.networks.context import coarse_context, inside


def test_a_slice_is_never_enlarged() -> None:
    assert coarse_grid((100, 200), 256) == (1.0, (100, 200))
    assert coarse_grid((1024, 512), 256) == (4.0, (256, 128))
    factor, shape = coarse_grid((947, 1300), 256)
    assert factor == 1300 / 256
    assert shape == (186, 256)  # 947 / 5.078 = 186.49


@pytest.mark.parametrize("longest", [0, -1, 2.5, True, 10**6])
def test_a_coarse_pass_of_no_size_is_refused(longest: object) -> None:
    with pytest.raises(UsageError, match="coarse pass"):
        ContextSpec(longest)  # type: ignore[arg-type]


def test_whole_factors_average_blocks() -> None:
    image = np.random.default_rng(0).normal(size=(24, 40)).astype(np.float32)
    rows, columns = (averaging(n, size=n // 4, factor=4.0) for n in image.shape)
    expected = downscale_local_mean(image.astype(np.float64), (4, 4))
    np.testing.assert_allclose(rows @ image @ columns.T, expected, atol=1e-6)


def test_averages_by_hand() -> None:
    # 5 voxels, 2 of 2.5: the middle one is shared.
    expected = np.array([[2, 2, 1, 0, 0], [0, 0, 1, 2, 2]]) / 5
    np.testing.assert_allclose(averaging(5, size=2, factor=2.5), expected, rtol=1e-6)


@given(st.integers(1, 400), st.floats(1, 20))
@settings(max_examples=80, deadline=None)
def test_a_constant_and_a_ramp_come_back(n: int, factor: float) -> None:
    size = max(1, int(np.floor(n / factor + 0.5)))
    weights = averaging(n, size=size, factor=factor)
    assert weights.shape == (size, n)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
    first, way = between(n, size=size, factor=factor)
    assert first.min() >= 0
    assert first.max() <= max(0, size - 2)
    assert 0 <= way.min() <= way.max() <= 1
    # The coarse voxels' own centres, brought back, are the voxels' own places.
    centres = (np.arange(size) + 0.5) * factor - 0.5
    after = np.minimum(first + 1, size - 1)
    places = centres[first] + way * (centres[after] - centres[first])
    np.testing.assert_allclose(places, np.clip(np.arange(n), centres[0], centres[-1]), atol=1e-3)


def test_back_to_pixels_as_another_library_does() -> None:
    coarse = np.random.default_rng(1).normal(size=32).astype(np.float32)
    first, way = between(128, size=32, factor=4.0)
    ours = coarse[first] + way * (coarse[first + 1] - coarse[first])
    where = (np.arange(128) + 0.5) / 4 - 0.5
    expected = ndimage.map_coordinates(coarse, where[np.newaxis], order=1, mode="nearest")
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_inside_is_all_but_background() -> None:
    logits = torch.log(torch.tensor([0.2, 0.5, 0.3])).reshape(1, 3, 1, 1)
    assert inside(logits).item() == pytest.approx(0.8)


class Told(nn.Module):
    """Keeps what it is given; its logits are linear in both channels."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.seen.append(image)
        grey, context = image[:, :1], image[:, 1:]
        return torch.cat([-grey, grey, 0.5 * context], 1)


def test_both_passes_step_by_step() -> None:
    image = torch.randn((2, 1, 60, 100), generator=torch.Generator().manual_seed(0))
    network = Told()
    logits = two_pass(network, image, 25, divisor=32)
    coarse, fine = network.seen
    assert coarse.shape == (2, 2, 32, 32)  # 15 × 25, padded
    grey = downscale_local_mean(image.numpy().astype(np.float64), (1, 1, 4, 4))
    np.testing.assert_allclose(coarse[:, :1, :15, :25], grey, atol=1e-6)
    np.testing.assert_allclose(coarse[:, :1, 15:, :25], grey[:, :, -1:].repeat(17, 2), atol=1e-6)
    assert (coarse[:, 1] == 0).all()
    p = 1 - np.exp(-grey) / (np.exp(-grey) + np.exp(grey) + 1)
    places = [(np.arange(n) + 0.5) / 4 - 0.5 for n in (60, 100)]
    for number in range(2):
        expected = ndimage.map_coordinates(
            2 * p[number, 0] - 1, np.meshgrid(*places, indexing="ij"), order=1, mode="nearest"
        )
        np.testing.assert_allclose(fine[number, 1, :60, :100], expected, atol=1e-5)
    assert torch.equal(fine[:, :1, :60, :100], image)
    assert fine.shape == (2, 2, 64, 128)
    assert torch.equal(logits[:, 1:2], image)
    np.testing.assert_allclose(
        coarse_context(network, image, 25)[:, 0], fine[:, 1, :60, :100], atol=1e-6
    )


def test_a_small_slice_is_seen_as_it_is() -> None:
    image = torch.randn((1, 1, 32, 64), generator=torch.Generator().manual_seed(1))
    network = Told()
    two_pass(network, image, 256)
    coarse, fine = network.seen
    assert torch.equal(coarse[:, :1], image)
    expected = 2 * inside(torch.cat([-image, image, 0 * image], 1)) - 1
    assert torch.allclose(fine[:, 1:], expected)


def test_gradients_pass_through_both() -> None:
    image = torch.randn((1, 1, 64, 64), generator=torch.Generator().manual_seed(2))
    image.requires_grad_()
    two_pass(Told(), image, 16)[:, 2].sum().backward()
    assert image.grad is not None
    assert float(image.grad.abs().sum()) > 0
