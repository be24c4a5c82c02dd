"""Two scales in one network: a coarse pass for the envelope, a fine pass for the labels.

Whether a voxel lies inside a bone is a question about the whole bone; whether it is bone, one
about its neighbourhood. The same 2D network answers both. It has two channels: the normalised
grey values, and the context, 2 p - 1, where p is the probability of lying inside the outer
envelope of a bone, and 0 where nothing is known. The coarse pass gets the whole slice, averaged
down, and no context; 1 - its probability of background is p. The fine pass gets the slice as it
is, with that context. Training, prediction and tests use the functions of this module.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from osteon.coarse import Float, averaging, between, coarse_grid
from osteon.errors import UsageError

#: Channels of the input: grey values and context.
CHANNELS = 2
#: The class that is not inside: its value in the labels.
BACKGROUND = 0
#: Longest side of the coarse pass that there can be.
LONGEST = 2048


@dataclass(frozen=True)
class ContextSpec:
    """How a network gets its context.

    Attributes:
        longest: Longest side in pixels of what the coarse pass sees; a larger slice is averaged
            down to it, a smaller one stays as it is.
    """

    longest: int = 256

    def __post_init__(self) -> None:
        if type(self.longest) is not int or not 0 < self.longest <= LONGEST:
            raise UsageError(
                f"the coarse pass sees 1 to {LONGEST} pixels at most, not {self.longest}"
            )


def inside(logits: torch.Tensor) -> torch.Tensor:
    """Return the probability of lying inside the outer envelope of a bone.

    Args:
        logits: (n, class, y, x).

    Returns:
        (n, 1, y, x), float32: the probabilities of all classes but background.
    """
    return 1 - logits.float().softmax(1)[:, BACKGROUND : BACKGROUND + 1]


def coarse_context(
    network: nn.Module, image: torch.Tensor, longest: int, *, divisor: int = 32, least: int = 1
) -> torch.Tensor:
    """Run the coarse pass over whole slices.

    Args:
        network: A network of two channels.
        image: Normalised slices (n, 1, y, x).
        longest: Longest side of the coarse grid, in pixels.
        divisor: What the network needs its input to be a multiple of; edges are repeated.
        least: Shortest side of an input of the network.

    Returns:
        The context (n, 1, y, x), -1 to 1, on the slices' own pixels.
    """
    shape = image.shape[-2:]
    factor, sizes = coarse_grid(shape, longest)
    coarse = image.float()
    if factor != 1:
        rows, columns = (
            torch.from_numpy(averaging(n, size=size, factor=factor)).to(image.device)
            for n, size in zip(shape, sizes, strict=True)
        )
        coarse = rows @ coarse @ columns.T
    given = torch.cat([coarse, torch.zeros_like(coarse)], 1)
    p = inside(_padded(network, given, divisor, least))
    for axis, (n, size) in enumerate(zip(shape, sizes, strict=True), start=2):
        if factor != 1:
            p = _between(p, axis, *between(n, size=size, factor=factor))
    return 2 * p - 1


def two_pass(
    network: nn.Module, image: torch.Tensor, longest: int, *, divisor: int = 32, least: int = 1
) -> torch.Tensor:
    """Run both passes over whole slices.

    Args:
        network: A network of two channels.
        image: Normalised slices (n, 1, y, x).
        longest: Longest side of what the coarse pass sees, in pixels.
        divisor: What the network needs its input to be a multiple of; edges are repeated.
        least: Shortest side of an input of the network.

    Returns:
        Logits (n, class, y, x) of the fine pass.
    """
    context = coarse_context(network, image, longest, divisor=divisor, least=least)
    return _padded(network, torch.cat([image, context.to(image.dtype)], 1), divisor, least)


def _padded(network: nn.Module, image: torch.Tensor, divisor: int, least: int) -> torch.Tensor:
    height, width = image.shape[-2:]
    down, right = (max(least, n + -n % divisor) - n for n in (height, width))
    logits: torch.Tensor = network(functional.pad(image, (0, right, 0, down), mode="replicate"))
    return logits[..., :height, :width]


def _between(
    values: torch.Tensor, axis: int, first: npt.NDArray[np.intp], way: Float
) -> torch.Tensor:
    device = values.device
    index = torch.from_numpy(first).to(device)
    after = torch.clamp(index + 1, max=values.shape[axis] - 1)
    along = [1] * values.ndim
    along[axis] = -1
    share = torch.from_numpy(way).to(device).reshape(along)
    low, high = values.index_select(axis, index), values.index_select(axis, after)
    return low + share * (high - low)
