"""Networks, built from a minimal description that is kept in the model file.

2D networks come from segmentation-models-pytorch (Iakubovskii 2019), 3D networks from MONAI
(Cardoso et al. 2022). Inputs are (batch, channel, [z,] y, x) float32 tensors; outputs are logits
(batch, class, [z,] y, x) of the same size.
"""

from __future__ import annotations

from osteon.networks.building import build_network, load_weights, parameter_count
from osteon.networks.context import ContextSpec, two_pass
from osteon.networks.costs import NetworkCosts, network_costs
from osteon.networks.spec import NetworkSpec

__all__ = [
    "ContextSpec",
    "NetworkCosts",
    "NetworkSpec",
    "build_network",
    "load_weights",
    "network_costs",
    "parameter_count",
    "two_pass",
]
