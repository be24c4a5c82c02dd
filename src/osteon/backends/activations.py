"""Memory of a network's activations in prediction: counted, as networks differ by a factor of ten.

Measured beside it by the peak memory of the process: docs/performance.md.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Bytes of the storages that operations make, while a tensor of theirs is alive."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = self._now = 0
        self._tensors: dict[int, int] = {}
        self._bytes: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._add(tensor)
        self.peak = max(self.peak, self._now)
        return result

    def _add(self, tensor: torch.Tensor) -> None:
        # On the meta device all storages have the address 0; the handle tells them apart.
        name = int(tensor.untyped_storage()._cdata)
        if name not in self._tensors:
            self._tensors[name] = 0
            self._bytes[name] = tensor.untyped_storage().nbytes()
            self._now += self._bytes[name]
        self._tensors[name] += 1
        weakref.finalize(tensor, self._drop, name)

    def _drop(self, name: int) -> None:
        self._tensors[name] -= 1
        if self._tensors[name] == 0:
            del self._tensors[name]
            self._now -= self._bytes.pop(name)


def activation_bytes(network: nn.Module, example: torch.Tensor) -> int:
    """Count the memory that a forward pass without gradients takes at its peak.

    Args:
        network: The network, in evaluation mode.
        example: Its input (n, c, [z,] y, x), on the network's device.

    Returns:
        Bytes of all tensors that are alive at once, the input and the logits among them; not the
        weights, nor what libraries take for themselves.
    """
    with torch.inference_mode(), _Live() as live:
        network(example)
    return int(live.peak) + example.untyped_storage().nbytes()
