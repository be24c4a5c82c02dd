"""The PyTorch backend: CPU, CUDA (unchecked here) and MPS (unchecked here)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from osteon.allocator import keep_freed_memory
from osteon.backends.activations import activation_bytes
from osteon.backends.precision import PROBE_BATCH, PROBE_SIZE, Arithmetic, choose_device, probe
from osteon.networks import NetworkSpec, build_network, load_weights
from osteon.settings import PredictSettings

#: What is planned for, as a multiple of the activations counted: libraries convert and unfold
#: beside them. Measured, fp32 on a CPU: 1.15 for U-Net/ResNet-18 in 2D, 1.05 in 3D.
WORKSPACE = 1.5
#: Depth, height and width of the probe's input in 3D.
PROBE_BLOCK = (32, 64, 64)


class TorchBackend:
    """A network run by PyTorch; see :class:`osteon.backends.Backend`.

    Args:
        spec: The network.
        weights: Its state.
        settings: Device, precision and threads.

    Raises:
        UsageError: If the device or precision is not to be had on this machine.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        weights: Mapping[str, torch.Tensor],
        settings: PredictSettings,
    ):
        self.device = choose_device(settings.device)
        if self.device.type == "cpu":
            keep_freed_memory()
        if isinstance(settings.threads, int):
            torch.set_num_threads(settings.threads)
        network = build_network(spec)
        load_weights(network, weights)
        self._network = network.eval().to(self.device)
        example = torch.zeros(probe_shape(spec), device=self.device)
        # Counted in fp32: autocast keeps copies of the weights, and some layers stay as they are.
        counted = activation_bytes(self._network, example[:1])
        self.bytes_per_pixel = math.ceil(WORKSPACE * counted / math.prod(example.shape[2:]))
        with torch.inference_mode():
            self.arithmetic, self.timings = probe(
                lambda a: self._probe(a, example),
                self.device,
                settings.precision,
                purpose=purpose_of(spec),
                dimensions=spec.dimensions,
            )
        self._set_layout(self.arithmetic)
        self.description = f"torch on {self.device}, {self.arithmetic}"

    def _set_layout(self, arithmetic: Arithmetic) -> None:
        self._network = self._network.to(memory_format=arithmetic.memory_format)

    def _probe(self, arithmetic: Arithmetic, example: torch.Tensor) -> None:
        self._set_layout(arithmetic)
        with arithmetic.autocast(self.device):
            self._network(example.to(memory_format=arithmetic.memory_format))

    def _logits(self, batch: npt.NDArray[np.float32]) -> torch.Tensor:
        tensor = torch.from_numpy(batch).to(self.device)
        tensor = tensor.to(memory_format=self.arithmetic.memory_format)
        with self.arithmetic.autocast(self.device):
            logits: torch.Tensor = self._network(tensor)
        return logits

    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return logits (n, class, [z,] y, x) of a batch (n, channel, [z,] y, x)."""
        with torch.inference_mode():
            logits: npt.NDArray[np.float32] = self._logits(batch).float().cpu().numpy()
        return logits

    def labels(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """Return label values (n, [z,] y, x) of a batch (n, channel, [z,] y, x)."""
        with torch.inference_mode():
            labels = self._logits(batch).argmax(1).to(torch.uint8)
        result: npt.NDArray[np.uint8] = labels.cpu().numpy()
        return result


def purpose_of(spec: NetworkSpec) -> str:
    """Describe what is measured when a network is probed: outcomes are remembered by it.

    Args:
        spec: The network.
    """
    return (
        f"predict {spec.dimensions}D {spec.architecture}/{spec.encoder}/"
        f"{spec.decoder_channels}, {spec.in_channels} channels"
    )


def probe_shape(spec: NetworkSpec) -> tuple[int, ...]:
    """Return the shape of an input that is small, typical and right for a network.

    Args:
        spec: The network.

    Returns:
        (n, c, [z,] y, x).
    """
    if spec.dimensions == 2:
        side = _fitting(PROBE_SIZE, least=spec.least[-1], step=spec.divisor)
        return PROBE_BATCH, spec.in_channels, side, side
    steps = spec.depth_divisor, spec.divisor, spec.divisor
    axes = zip(PROBE_BLOCK, spec.least, steps, strict=True)
    return 1, spec.in_channels, *(_fitting(n, least=low, step=step) for n, low, step in axes)


def _fitting(side: int, *, least: int, step: int) -> int:
    return -(-max(side, least) // step) * step
