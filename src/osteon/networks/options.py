"""What some networks are given beside names: kernels and strides per axis, size of the input.

``dynunet``: ``kernels`` and ``strides``, a list of (z, y, x) for each of its stages.
``unetr``: ``patch``, the (z, y, x) shape of the input that its position embedding is made for.
They are chosen once, at the fit, and kept in the model file: nothing read from there is trusted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from osteon.errors import ModelFileError, UsageError

#: The rules of nnU-Net (Isensee et al. 2021, supplement): the shortest side of the deepest
#: features, how often a side is halved at most, the ratio of voxel sizes that counts as equal.
_LEAST_FEATURES, _MOST_HALVINGS, _EQUAL = 4, 5, 2.0
#: Stages that DynUNet has at least, and more than nnU-Net ever makes.
_STAGES = (3, 8)
_KERNELS, _STRIDES = (1, 3), (1, 2)
#: Side of UNETR's tokens, the longest side of its input and the most tokens: attention to more
#: exhausts any memory.
_TOKEN, _LONGEST, _MOST_TOKENS = 16, 2048, 32768


def plan_options(
    architecture: str,
    patch: Sequence[int] | None,
    voxel_size: Sequence[float | None] | None,
) -> dict[str, Any]:
    """Choose the options of a network by the shape of patch and voxels.

    Args:
        architecture: ``dynunet`` or ``unetr``.
        patch: Shape of a patch, (z, y, x), in voxels.
        voxel_size: Voxel size in µm, (z, y, x); None, or None within: taken for cubes.

    Returns:
        The options, JSON-compatible.

    Raises:
        UsageError: If there is no patch, or it is too large for the network.
    """
    if patch is None:
        raise UsageError(f"{architecture} is planned by the shape of a patch, and there is none")
    if architecture == "unetr":
        tokens = math.prod(n // _TOKEN for n in patch)
        if tokens > _MOST_TOKENS:
            raise UsageError(
                f"a patch of {' × '.join(map(str, patch))} voxels is {tokens} tokens for UNETR, "
                f"which can attend to {_MOST_TOKENS}",
                where="patches.size",
                mend="choose a smaller patches.size or patches.depth",
            )
        return {"patch": [int(n) for n in patch]}
    known = [s for s in voxel_size or () if s is not None]
    spacing = known if len(known) == len(patch) else [1.0] * len(patch)
    kernels, strides = plan_stages(patch, spacing)
    return {"kernels": kernels, "strides": strides}


def plan_stages(
    patch: Sequence[int], spacing: Sequence[float]
) -> tuple[list[list[int]], list[list[int]]]:
    """Choose kernels and strides for each axis and stage, as nnU-Net does.

    An axis is halved once its voxels are no longer than twice the shortest, so that the features
    become cubes; until then the kernel along it is 1. Source: Isensee et al. 2021, Nature Methods
    18:203, supplementary note 2 ("network topology").

    Args:
        patch: Shape of a patch, in voxels.
        spacing: Voxel size along the same axes, in any unit.

    Returns:
        Kernels and strides: a list for each stage of a number for each axis, finest first.
    """
    size, space = list(patch), list(spacing)
    halved, kernel = [0] * len(size), [1] * len(size)
    kernels, strides = [], [[1] * len(size)]
    while True:
        large = [i for i, n in enumerate(size) if n >= 2 * _LEAST_FEATURES]
        if not large:
            break
        shortest = min(space[i] for i in large)
        axes = [i for i in large if space[i] / shortest < _EQUAL and halved[i] < _MOST_HALVINGS]
        if not axes or (len(axes) == 1 and size[axes[0]] < 3 * _LEAST_FEATURES):
            break
        kernel = [
            3 if k == 3 or space[i] / min(space) < _EQUAL else 1 for i, k in enumerate(kernel)
        ]
        kernels.append(list(kernel))
        strides.append([2 if i in axes else 1 for i in range(len(size))])
        for i in axes:
            size[i], space[i], halved[i] = size[i] // 2, space[i] * 2, halved[i] + 1
    kernels.append([3] * len(size))
    return kernels, strides


def divisors(options: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the product of the strides along each axis.

    Args:
        options: Checked options with ``strides``.

    Returns:
        A number for each axis.
    """
    return tuple(math.prod(axis) for axis in zip(*options["strides"], strict=True))


def check_options(architecture: str, options: Mapping[str, Any], *, dimensions: int) -> None:
    """Refuse options that are not of this architecture.

    Args:
        architecture: Name of the architecture.
        options: What a model file says.
        dimensions: 2 or 3.

    Raises:
        ModelFileError: If an option is missing, unknown or out of range.
    """
    names = {"dynunet": {"kernels", "strides"}, "unetr": {"patch"}}.get(architecture, set())
    if set(options) != names:
        raise _garbled(architecture)
    if architecture == "dynunet":
        kernels, strides = options["kernels"], options["strides"]
        fits = (
            _is_table(kernels, _KERNELS, dimensions)
            and _is_table(strides, _STRIDES, dimensions)
            and len(kernels) == len(strides)
            and strides[0] == [1] * dimensions
        )
        if not fits:
            raise _garbled(architecture)
    if architecture == "unetr":
        patch = options["patch"]
        if not (isinstance(patch, list) and len(patch) == dimensions):
            raise _garbled(architecture)
        if not all(type(n) is int and _TOKEN <= n <= _LONGEST and n % _TOKEN == 0 for n in patch):
            raise _garbled(architecture)
        if math.prod(n // _TOKEN for n in patch) > _MOST_TOKENS:
            raise _garbled(architecture)


def _is_table(value: object, allowed: tuple[int, ...], width: int) -> bool:
    low, high = _STAGES
    return (
        isinstance(value, list)
        and low <= len(value) <= high
        and all(isinstance(row, list) and len(row) == width for row in value)
        and all(type(n) is int and n in allowed for row in value for n in row)
    )


def _garbled(architecture: str) -> ModelFileError:
    return ModelFileError(f"the options of the network '{architecture}' are out of range")
