"""What a network takes in parameters, arithmetic and memory, found without computing anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from osteon.networks.building import build_network, cannot_build, parameter_count
from osteon.networks.spec import NetworkSpec


@dataclass(frozen=True)
class NetworkCosts:
    """What a network takes for one input.

    Attributes:
        parameters: Parameters that are fitted.
        flops: Floating-point operations of a forward pass: two for each multiply-add of
            convolutions and matrix products (other operations are not counted).
        activation_bytes: Bytes that a forward pass in training keeps for the backward pass, in
            single precision; weights are not counted.
    """

    parameters: int
    flops: int
    activation_bytes: int


class _SmallNumbersOnCpu(TorchFunctionMode):
    """Depths of stochastic depth are read as numbers while a network is built."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs["device"] = "cpu"
        return func(*args, **kwargs)


def build_on_meta(spec: NetworkSpec) -> torch.nn.Module:
    """Build a network without memory for its weights, however large it is.

    Args:
        spec: The description.

    Returns:
        The network on torch's meta device, in training mode.

    Raises:
        UsageError: If it cannot be built.
    """
    # Even a meta tensor that is filled at random moves torch's generator on.
    with torch.random.fork_rng(devices=[]), torch.device("meta"), _SmallNumbersOnCpu():
        return build_network(spec)


def network_costs(spec: NetworkSpec, shape: Sequence[int]) -> NetworkCosts:
    """Count what a network takes for one input of this shape.

    FLOPs are 2 × the multiply-adds of a forward pass, by PyTorch's counter; activations are what
    its autograd keeps for the backward pass, each storage once.

    Args:
        spec: The description.
        shape: (n, c, [z,] y, x) of the input.

    Returns:
        The costs.

    Raises:
        UsageError: If the network cannot be built, or cannot take this input.
    """
    network = build_on_meta(spec)
    weights = {_identity(p) for p in network.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[_identity(tensor)] = tensor.untyped_storage()
        return tensor

    # Two inputs at least: batch norm in training refuses one where features are a single pixel.
    count = max(2, shape[0])
    image = torch.empty(count, *shape[1:], device="meta")
    counter = FlopCounterMode(display=False)
    try:
        hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
        with torch.random.fork_rng(devices=[]), hooks, counter:
            logits = network(image)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise cannot_build(spec, error) from error
    size = sum(s.nbytes() for name, s in kept.items() if name not in weights)
    del logits
    return NetworkCosts(
        parameter_count(network),
        counter.get_total_flops() * shape[0] // count,
        size * shape[0] // count,
    )


def _identity(tensor: torch.Tensor) -> int:
    # On the meta device all storages have the address 0; a storage that is kept has its own handle.
    return int(tensor.untyped_storage()._cdata)
