"""From a description to a network, and weights into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import nn

from osteon.errors import ModelFileError, UsageError
from osteon.networks.spec import NetworkSpec
from osteon.tables.networks import ARCHITECTURES, check_decoder, check_pair, form

#: Shortest side of an input that all networks accept.
_PROBE = 128
_PROBE_DEPTH = 32


def build_network(spec: NetworkSpec) -> nn.Module:
    """Build a network with random weights (from torch's global generator).

    Stages of an encoder that the architecture does not use (PSPNet uses three of five) keep
    their names, so that files can be exchanged, and need no gradient. (A last layer that only an
    encoder's classifier needed, as in EfficientNet, and the block that UNet++ makes for VGG and
    does not call get none either, but are not marked.)

    Args:
        spec: The description.

    Returns:
        The network, on the CPU (or the default device), in training mode.

    Raises:
        UsageError: If the architecture or encoder is unknown or they do not go together.
    """
    check_pair(spec.architecture, spec.encoder, spec.dimensions, spec.in_channels)
    check_decoder(spec.architecture, spec.decoder_channels, dimensions=spec.dimensions)
    builder = cast(Callable[[NetworkSpec], nn.Module], ARCHITECTURES.load(spec.architecture))
    network = builder(spec)
    if form(spec.architecture, spec.dimensions).idle:
        for parameter in idle_parameters(network, spec):
            parameter.requires_grad = False
    return network


def build_by_dimensions(spec: NetworkSpec) -> nn.Module:
    """Build a network that there is in 2D and 3D.

    Args:
        spec: The description.

    Returns:
        The network.

    Raises:
        UsageError: If it cannot be built.
    """
    # Imported here: a 2D network does not wait for MONAI, nor a 3D one for timm.
    if spec.dimensions == 2:
        from osteon.networks.flat import build_flat

        return build_flat(spec)
    from osteon.networks.volumetric import build_volumetric

    return build_volumetric(spec)


def idle_parameters(network: nn.Module, spec: NetworkSpec) -> list[nn.Parameter]:
    """Find the parameters that no logit depends on, without computing anything.

    Args:
        network: The network; it is not changed.
        spec: Its description.

    Returns:
        The parameters.
    """
    own = dict(network.named_parameters())
    sides = (_PROBE,) * 2 if spec.dimensions == 2 else (_PROBE_DEPTH, _PROBE, _PROBE)
    # Whoever builds a network to predict may have turned gradients off; dropout draws numbers.
    with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=[]):
        state = {n: torch.empty_like(p, device="meta") for n, p in network.state_dict().items()}
        leaves = {name: state[name].requires_grad_() for name in own}
        image = torch.empty(2, spec.in_channels, *sides, device="meta")
        logits = torch.func.functional_call(network, {**state, **leaves}, (image,))
        found = torch.autograd.grad(logits.sum(), list(leaves.values()), allow_unused=True)
    return [own[name] for name, gradient in zip(leaves, found, strict=True) if gradient is None]


def parameter_count(network: nn.Module) -> int:
    """Count the parameters that are fitted.

    Args:
        network: A network.

    Returns:
        The number of parameters with gradients.
    """
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def load_weights(network: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Put weights into a network; names and shapes must match exactly.

    Args:
        network: The network.
        weights: Its state, by name.

    Raises:
        ModelFileError: If a tensor is missing, unknown or of another shape.
    """
    state = network.state_dict()
    missing, unknown = state.keys() - weights.keys(), weights.keys() - state.keys()
    wrong = [k for k in state.keys() & weights.keys() if state[k].shape != weights[k].shape]
    if missing or unknown or wrong:
        raise ModelFileError(
            "the weights do not belong to this network: "
            f"{len(missing)} missing, {len(unknown)} unknown, {len(wrong)} of another shape",
            where=", ".join(sorted([*missing, *unknown, *wrong])[:3]),
        )
    network.load_state_dict(dict(weights))


def cannot_build(spec: NetworkSpec, error: Exception) -> UsageError:
    """Say that a library refused to build a network, and why.

    Args:
        spec: The description.
        error: What the library raised.

    Returns:
        The error to raise.
    """
    return UsageError(
        f"{spec.architecture} with encoder '{spec.encoder}' cannot be built: "
        f"{str(error).splitlines()[0] if str(error) else type(error).__name__}",
        where="network",
        mend="choose another network.encoder or network.decoder_channels",
    )
