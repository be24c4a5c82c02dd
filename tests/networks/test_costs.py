"""Costs counted without computing: against hooks on the layers and what a real pass keeps."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from osteon.errors import UsageError
from osteon.networks import NetworkSpec, build_network, network_costs

UNET = NetworkSpec("unet", "resnet18", 1, 3, (64, 48, 32, 16, 8))
VNET = NetworkSpec("vnet", "", 1, 2, None, 3)
ATTENTION = NetworkSpec("segformer", "mit_b0", 3, 2, (32,))


def multiply_adds(network: nn.Module, image: torch.Tensor) -> int:
    """Count by hand, for each convolution: (a tap for each channel) × each output value."""
    total = 0

    def count(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        taps = math.prod(layer.kernel_size)
        if isinstance(layer, nn.ConvTranspose3d):  # each input value is spread over the taps
            total += inputs[0].numel() * taps * layer.out_channels
        else:
            total += output.numel() * taps * layer.in_channels // layer.groups

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Conv3d | nn.ConvTranspose3d):
            layer.register_forward_hook(count)
    with torch.inference_mode():
        network.eval()(image)
    return total


@pytest.mark.parametrize(
    ("spec", "shape"), [(UNET, (3, 1, 64, 96)), (VNET, (1, 1, 16, 32, 48))], ids=["2D", "3D"]
)
def test_flops_are_twice_the_multiply_adds(spec: NetworkSpec, shape: tuple[int, ...]) -> None:
    network = build_network(spec)
    found = network_costs(spec, shape)
    assert found.flops == 2 * multiply_adds(network, torch.zeros(shape))
    assert found.parameters == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("spec", "shape"),
    [(UNET, (2, 1, 128, 128)), (VNET, (2, 1, 16, 32, 32)), (ATTENTION, (2, 3, 64, 64))],
    ids=["2D", "3D", "attention"],
)
def test_activations_are_what_a_real_pass_keeps(spec: NetworkSpec, shape: tuple[int, ...]) -> None:
    network = build_network(spec)
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        _logits = network(torch.zeros(shape))
    real = sum(s.nbytes() for s in kept.values())
    assert network_costs(spec, shape).activation_bytes == pytest.approx(real, rel=0.02)


def test_costs_grow_with_the_number_of_inputs() -> None:
    one, five = (network_costs(UNET, (n, 1, 64, 64)) for n in (1, 5))
    assert five.flops == 5 * one.flops
    assert five.activation_bytes == pytest.approx(5 * one.activation_bytes, rel=0.01)


def test_an_input_that_the_network_cannot_take_is_refused() -> None:
    linknet = NetworkSpec("linknet", "resnet18", 1, 3)
    with pytest.raises(UsageError, match="divisible by 32"):
        network_costs(linknet, (1, 1, 48, 64))


def test_no_weights_are_allocated_and_no_random_number_is_drawn() -> None:
    giant = NetworkSpec("unet", "resnext101_32x48d", 1, 3)  # 3.4 GB of weights
    before = torch.get_rng_state()
    assert network_costs(giant, (1, 1, 32, 32)).parameters > 8e8
    assert torch.equal(torch.get_rng_state(), before)
