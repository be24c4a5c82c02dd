"""Weights of one model on the classes and slices of another."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch

from osteon.errors import UsageError

Pairs = Sequence[tuple[int, int]]


def shared_classes(of: Sequence[str], into: Sequence[str]) -> Pairs:
    """Pair the classes that two models share, by name.

    Args:
        of: Names of the classes of the model that is started from.
        into: Names of the classes of the model to be fitted.

    Returns:
        (value in ``into``, value in ``of``) for each shared class.
    """
    return [(value, of.index(name)) for value, name in enumerate(into) if name in of]


def place_classes(
    weight: torch.Tensor, into: torch.Tensor, *, axes: Sequence[int], pairs: Pairs
) -> torch.Tensor:
    """Copy the entries of shared classes; those of new classes stay.

    Args:
        weight: A tensor of the model that is started from.
        into: The same tensor of the model to be fitted, as it was initialised.
        axes: The axes that have an entry a class.
        pairs: What :func:`shared_classes` gave.

    Returns:
        A new tensor of the shape of ``into``.
    """
    made = into.clone()
    for chosen in itertools.product(pairs, repeat=len(axes)):
        target: list[int | slice] = [slice(None)] * into.ndim
        source = list(target)
        for axis, (new, old) in zip(axes, chosen, strict=True):
            target[axis], source[axis] = new, old
        made[tuple(target)] = weight[tuple(source)]
    return made


def place_slices(weight: torch.Tensor, slices: int) -> torch.Tensor:
    """Give a first convolution another number of neighbouring slices.

    Each slice keeps its place, counted from the middle one. Slices that are new have the weight 0
    (Arnab et al. 2021, ViViT, section 3.4, "central frame initialisation"): a 2.5D network made
    from a 2D one at first gives exactly the labels of that one, and learns of the neighbours from
    there. The weights of slices that fall away are added to the outermost that stays: on a scan
    that is constant along z the result is the same.

    Args:
        weight: (out, slices, y, x); an odd number of slices, the middle one is labelled.
        slices: The new number, odd.

    Returns:
        (out, ``slices``, y, x).

    Raises:
        UsageError: If a number is even: there is no middle slice.
    """
    had = weight.shape[1]
    if had % 2 == 0 or slices % 2 == 0:
        raise UsageError(
            f"a network of {had} slices cannot become one of {slices}: without a middle slice "
            "their order is unknown",
            where="network.weights",
        )
    made = torch.zeros((weight.shape[0], slices, *weight.shape[2:]), dtype=weight.dtype)
    for old in range(had):
        place = max(-(slices // 2), min(slices // 2, old - had // 2))
        made[:, place + slices // 2] += weight[:, old]
    return made
