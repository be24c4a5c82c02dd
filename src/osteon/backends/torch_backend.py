"""The PyTorch backend: CPU, CUDA (unchecked here) and MPS (unchecked here)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from osteon.backends.precision import PROBE_BATCH, PROBE_SIZE, Arithmetic, choose_device, probe
from osteon.networks import NetworkSpec, build_network, load_weights
from osteon.settings import PredictSettings

#: Memory of the activations that is planned for, in bytes a pixel of input. Measured for
#: U-Net/ResNet-18 in fp32 on a CPU: about 440 (docs/performance.md); larger encoders take more.
BYTES_PER_PIXEL = 800


class TorchBackend:
    """A network run by PyTorch; see :class:`osteon.backends.Backend`.

    Args:
        spec: The network.
        weights: Its state.
        settings: Device, precision and threads.

    Raises:
        UsageError: If the device or precision is not to be had on this machine.
    """

    bytes_per_pixel = BYTES_PER_PIXEL

    def __init__(
        self,
        spec: NetworkSpec,
        weights: Mapping[str, torch.Tensor],
        settings: PredictSettings,
    ):
        self.device = choose_device(settings.device)
        if isinstance(settings.threads, int):
            torch.set_num_threads(settings.threads)
        network = build_network(spec)
        load_weights(network, weights)
        self._network = network.eval().to(self.device)
        shape = (PROBE_BATCH, spec.in_channels, PROBE_SIZE, PROBE_SIZE)
        example = torch.zeros(shape, device=self.device)
        with torch.inference_mode():
            self.arithmetic, self.timings = probe(
                lambda a: self._probe(a, example),
                self.device,
                settings.precision,
                purpose=f"predict {spec.architecture}/{spec.encoder}/{spec.decoder_channels}",
            )
        self._network = self._network.to(memory_format=self.arithmetic.memory_format)
        self.description = f"torch on {self.device}, {self.arithmetic}"

    def _probe(self, arithmetic: Arithmetic, example: torch.Tensor) -> None:
        self._network = self._network.to(memory_format=arithmetic.memory_format)
        with arithmetic.autocast(self.device):
            self._network(example.to(memory_format=arithmetic.memory_format))

    def _logits(self, batch: npt.NDArray[np.float32]) -> torch.Tensor:
        tensor = torch.from_numpy(batch).to(self.device)
        tensor = tensor.to(memory_format=self.arithmetic.memory_format)
        with self.arithmetic.autocast(self.device):
            logits: torch.Tensor = self._network(tensor)
        return logits

    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return logits (n, class, y, x) of a batch (n, channel, y, x)."""
        with torch.inference_mode():
            logits: npt.NDArray[np.float32] = self._logits(batch).float().cpu().numpy()
        return logits

    def labels(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """Return label values (n, y, x) of a batch (n, channel, y, x)."""
        with torch.inference_mode():
            labels = self._logits(batch).argmax(1).to(torch.uint8)
        result: npt.NDArray[np.uint8] = labels.cpu().numpy()
        return result
