"""The weights that a fit starts from."""

from __future__ import annotations

from torch import nn

from osteon.labels import LabelScheme
from osteon.networks import NetworkSpec
from osteon.settings import NetworkSettings


def start_weights(
    network: nn.Module, spec: NetworkSpec, settings: NetworkSettings, *, labels: LabelScheme
) -> tuple[str, ...]:
    if settings.weights == "random":
        return ()
    raise NotImplementedError


def encoder_parameters(network: nn.Module, spec: NetworkSpec) -> set[str]:
    return {n for n, _ in network.named_parameters() if n.startswith("encoder.")}
