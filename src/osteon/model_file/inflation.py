"""A 3D encoder from a 2D one of the same layout.

Each kernel is stacked along depth and divided by its depth (Carreira & Zisserman 2017, section
2, "bootstrapping parameters from pre-trained ImageNet models"): on a scan that is constant along
z, the 3D encoder then gives the features of the 2D one, away from the first and last slices.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from osteon.errors import UsageError

#: Layers that have a layout, each in two and in three dimensions.
_KINDS: dict[type[nn.Module], str] = {
    nn.Conv2d: "conv",
    nn.Conv3d: "conv",
    nn.BatchNorm2d: "norm",
    nn.BatchNorm3d: "norm",
    nn.MaxPool2d: "max",
    nn.MaxPool3d: "max",
    nn.AvgPool2d: "mean",
    nn.AvgPool3d: "mean",
}


def layout_difference(flat: nn.Module, volumetric: nn.Module) -> str | None:
    """Say where two encoders differ in their layers, strides, paddings or groups.

    Args:
        flat: The 2D encoder.
        volumetric: The 3D encoder.

    Returns:
        One difference in words, or None if within a slice they are the same.
    """
    ours, theirs = _layout(volumetric), _layout(flat)
    for name in theirs:
        if name not in ours:
            return f"it has no '{name}'"
    for name in ours:
        if name not in theirs:
            return f"it has a '{name}', the 2D one has not"
        if ours[name] != theirs[name]:
            return f"its '{name}' is another"
    return None


def _layout(encoder: nn.Module) -> dict[str, tuple[Any, ...]]:
    found: dict[str, tuple[Any, ...]] = {}
    for name, module in encoder.named_modules():
        kind = _KINDS.get(type(module))
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            channels = (module.out_channels, module.groups, module.bias is None)
            sides = (module.kernel_size, module.stride, module.padding, module.dilation)
            found[name] = (kind, *channels, *(_plane(side) for side in sides))
        elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            found[name] = (kind, module.num_features, module.eps, module.affine)
        elif kind is not None:
            names = ("kernel_size", "stride", "padding")
            found[name] = (kind, *(_plane(getattr(module, side)) for side in names))
    return found


def _plane(value: Any) -> Any:
    """The numbers of y and x, which may be given as one."""
    return tuple(value)[-2:] if isinstance(value, tuple | list) else (value, value)


def inflate(
    weights: Mapping[str, torch.Tensor], into: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Turn the weights of a 2D encoder into those of a 3D one.

    Args:
        weights: State of the 2D encoder, kernels (out, in, y, x).
        into: State of the 3D encoder, kernels (out, in, z, y, x), for names and shapes.

    Returns:
        State of the 3D encoder.

    Raises:
        UsageError: If a tensor has no counterpart.
    """
    found = {}
    for name, target in into.items():
        weight = weights.get(name)
        if weight is not None and weight.shape == target.shape:
            found[name] = weight
        elif weight is not None and _without_depth(target) == weight.shape and weight.ndim == 4:
            depth = target.shape[2]
            found[name] = weight.unsqueeze(2).expand(-1, -1, depth, -1, -1) / depth
        else:
            raise UsageError(
                f"a 3D encoder cannot be made from this 2D one: '{name}' has no counterpart",
                where="network.weights",
                mend="start from network.weights=random",
            )
    return found


def _without_depth(tensor: torch.Tensor) -> tuple[int, ...]:
    return (*tensor.shape[:2], *tensor.shape[3:])
