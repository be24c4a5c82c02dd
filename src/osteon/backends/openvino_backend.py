"""The OpenVINO backend: x86 and ARM CPUs, fp32."""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from osteon.backends.activations import activation_bytes
from osteon.backends.torch_backend import probe_shape
from osteon.errors import DependencyError, UsageError
from osteon.networks import NetworkSpec, build_network, load_weights
from osteon.settings import PredictSettings

#: What is planned for, as a multiple of the activations that torch would hold.
WORKSPACE = 2.0
#: Largest difference of a logit from PyTorch's, as a share of the largest logit, when a converted
#: network is checked: rounding of fp32 stays far below it, a shape frozen by the conversion above.
TOLERANCE = 1e-3


class _Labels(nn.Module):
    """A network and the choice of the highest logit, so that logits need not leave the graph."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        labels: torch.Tensor = self.network(batch).argmax(1).to(torch.uint8)
        return labels


class OpenVinoBackend:
    """A network run by OpenVINO on the CPU; see :class:`osteon.backends.Backend`.

    Calls from several threads wait for each other, so that the activations are held once.

    Args:
        spec: The network.
        weights: Its state.
        settings: Device, precision and threads.

    Raises:
        DependencyError: If OpenVINO is not installed.
        UsageError: If the device or precision is not this backend's, or OpenVINO cannot run the
            network with the results of PyTorch.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        weights: Mapping[str, torch.Tensor],
        settings: PredictSettings,
    ):
        self._ov = _library()
        _check(settings)
        network = build_network(spec)
        load_weights(network, weights)
        network.eval()
        shape = (1, *probe_shape(spec)[1:])
        counted = activation_bytes(network, torch.zeros(shape))
        self.bytes_per_pixel = math.ceil(WORKSPACE * counted / math.prod(shape[2:]))
        self._lock = threading.Lock()
        self._logits = self._compiled(network, shape, settings)
        self._labels = self._compiled(_Labels(network), shape, settings)
        self._compare(network, (*shape[:-1], shape[-1] + spec.divisor))
        self.description = f"openvino {self._ov.__version__.split('-')[0]} on cpu, fp32"

    def _compiled(
        self, network: nn.Module, shape: tuple[int, ...], settings: PredictSettings
    ) -> Any:
        free = self._ov.PartialShape([-1, shape[1], *(-1 for _ in shape[2:])])
        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
        if isinstance(settings.threads, int):
            options["INFERENCE_NUM_THREADS"] = settings.threads
        try:
            with torch.inference_mode(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of torch, that tracing is deprecated
                model = self._ov.convert_model(
                    network, example_input=torch.zeros(shape), input=[free]
                )
            return self._ov.Core().compile_model(model, "CPU", options).create_infer_request()
        except Exception as error:  # OpenVINO raises classes of its own and of torch
            raise _unfit(str(error).strip().split("\n")[0]) from error

    def _compare(self, network: nn.Module, shape: tuple[int, ...]) -> None:
        """Run a shape that the conversion did not see: a trace may freeze the one it saw."""
        batch = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        with torch.inference_mode():
            expected = network(torch.from_numpy(batch)).numpy()
        try:
            found = self.run(batch)
        except RuntimeError as error:
            raise _unfit(str(error).strip().split("\n")[0]) from error
        limit = TOLERANCE * float(np.abs(expected).max())
        if found.shape != expected.shape or not np.allclose(found, expected, rtol=0, atol=limit):
            raise _unfit("its logits differ from those of PyTorch")

    def _infer(self, request: Any, batch: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        with self._lock:
            request.infer([batch])
            # A copy: the next call writes to the same memory.
            result: npt.NDArray[Any] = request.get_output_tensor(0).data.copy()
        return result

    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return logits (n, class, [z,] y, x) of a batch (n, channel, [z,] y, x)."""
        return self._infer(self._logits, batch)

    def labels(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """Return label values (n, [z,] y, x) of a batch (n, channel, [z,] y, x)."""
        return self._infer(self._labels, batch)


def _library() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise DependencyError(
            "the backend openvino needs the library OpenVINO, which is not installed",
            mend='pip install "osteon[fast]", or choose --backend torch',
        ) from error
    return openvino


def _check(settings: PredictSettings) -> None:
    if settings.device not in ("auto", "cpu"):
        raise UsageError(
            f"the backend openvino runs on the CPU, not on '{settings.device}'",
            mend="choose --device cpu, or --backend torch",
        )
    if settings.precision not in ("auto", "fp32"):
        raise UsageError(
            f"the backend openvino computes in fp32, not in {settings.precision}",
            mend="choose --precision fp32, or --backend torch",
        )


def _unfit(why: str) -> UsageError:
    return UsageError(f"OpenVINO cannot run this network: {why}", mend="choose --backend torch")
