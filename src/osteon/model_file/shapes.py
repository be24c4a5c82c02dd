"""Which tensors a network has, and which of their axes are its channels and its classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from osteon.networks import NetworkSpec, build_network

Axes = Mapping[str, tuple[int, ...]]
Shapes = Mapping[str, torch.Size]


def build_aside(spec: NetworkSpec) -> torch.nn.Module:
    """Build a network without touching torch's global generator.

    Args:
        spec: The description.

    Returns:
        The network, with random weights.

    Raises:
        UsageError: If it cannot be built.
    """
    with torch.random.fork_rng(devices=[]):
        return build_network(spec)


def state_shapes(spec: NetworkSpec) -> dict[str, torch.Size]:
    """Return the shapes of a network's state.

    Args:
        spec: The description.

    Returns:
        Shapes by name.

    Raises:
        UsageError: If it cannot be built.
    """
    return {name: tensor.shape for name, tensor in build_aside(spec).state_dict().items()}


def class_axes(spec: NetworkSpec, shapes: Shapes) -> Axes:
    """Find the axes along which a network's tensors have an entry a class.

    Args:
        spec: The description.
        shapes: What :func:`state_shapes` gives for it.

    Returns:
        Axes by the name of the tensor; tensors without any are left out.
    """
    return _differing(shapes, replace(spec, classes=spec.classes + 1))


def channel_axes(spec: NetworkSpec, shapes: Shapes) -> Axes:
    """Find the axes along which a 2D network's tensors have an entry a channel of the input.

    Args:
        spec: The description.
        shapes: What :func:`state_shapes` gives for it.

    Returns:
        Axes by the name of the tensor; tensors without any are left out.
    """
    return _differing(shapes, replace(spec, in_channels=spec.in_channels + 2))


def _differing(shapes: Shapes, other: NetworkSpec) -> Axes:
    # By building the other: where a library keeps its first and last layers is its own affair.
    others = state_shapes(other)
    found = {
        name: tuple(i for i, (a, b) in enumerate(zip(shape, others[name], strict=True)) if a != b)
        for name, shape in shapes.items()
        if name in others
    }
    return {name: axes for name, axes in found.items() if axes}
