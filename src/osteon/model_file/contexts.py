"""Weights of a model that looks twice on a network that looks once, and the other way round.

The second channel of such a network is the context; 0 means that nothing is known of it. Without
it the network is, exactly, the one that its coarse pass uses.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from osteon.model_file.shapes import channel_axes
from osteon.model_file.spec import Model
from osteon.networks import NetworkSpec
from osteon.networks.context import CHANNELS

#: Axis of a first layer's kernel that is the channels of the input.
_AXIS = 1


def match_context(model: Model, into: NetworkSpec) -> tuple[Model, list[str]]:
    """Give a model the second channel of a network, or take its own away.

    Args:
        model: The model that is started from.
        into: The network to be fitted; two channels in 2D are grey values and context.

    Returns:
        The model, with a context as the network has one, and what was done, in words.
    """
    found = model.spec.network
    has = model.spec.context is not None
    wants = into.dimensions == 2 and into.in_channels == CHANNELS
    if has == wants or found.dimensions != 2 or (wants and found.in_channels != 1):
        return model, []
    shapes = {name: tensor.shape for name, tensor in model.weights.items()}
    weights = dict(model.weights)
    for name in channel_axes(found, shapes):
        weight = weights[name]
        if wants:
            weights[name] = torch.cat([weight, torch.zeros_like(weight)], _AXIS)
        else:
            weights[name] = weight.narrow(_AXIS, 0, 1).clone()
    network = replace(found, in_channels=CHANNELS if wants else 1)
    if wants:
        note = "the context, which it had not, weighs nothing at first"
    else:
        note = "its context is left out: it starts as where nothing is known of the outline"
    return replace(
        model, spec=replace(model.spec, network=network, context=None), weights=weights
    ), [note]
