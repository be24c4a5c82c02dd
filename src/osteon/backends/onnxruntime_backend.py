"""The ONNX Runtime backend: CPU; CUDA, CoreML and DirectML where present (unchecked here)."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from osteon.backends.exporting import (
    INPUT,
    check_logits,
    counted_bytes,
    highest,
    loaded_network,
    onnx_of,
    unfit,
)
from osteon.errors import DependencyError, UsageError
from osteon.networks import NetworkSpec
from osteon.settings import PredictSettings

#: What is planned for, as a multiple of the activations that torch would hold.
WORKSPACE = 2.0
_CPU = "CPUExecutionProvider"
#: Providers by the kind of device that they run on, and that kind's name for them.
_PROVIDERS = {
    "cuda": ("CUDAExecutionProvider", "DmlExecutionProvider"),
    "mps": ("CoreMLExecutionProvider",),
    "cpu": (_CPU,),
}
#: GPUs compute fp32 with numbers of 10 bits where they can (TF32, fp16): logits differ by as much.
TOLERANCE_GPU = 0.02


class OnnxRuntimeBackend:
    """A network run by ONNX Runtime; see :class:`osteon.backends.Backend`.

    Calls from several threads wait for each other, so that the activations are held once.

    Args:
        spec: The network.
        weights: Its state.
        settings: Device, precision and threads.

    Raises:
        DependencyError: If ONNX Runtime is not installed.
        UsageError: If the device or precision is not to be had, or ONNX Runtime cannot run the
            network with the results of PyTorch.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        weights: Mapping[str, torch.Tensor],
        settings: PredictSettings,
    ):
        library = _library()
        if settings.precision not in ("auto", "fp32"):
            raise UsageError(
                f"the backend onnxruntime computes in fp32, not in {settings.precision}",
                mend="choose precision fp32, or --backend torch",
            )
        provider, options = _provider(settings.device, library.get_available_providers())
        network = loaded_network(spec, weights)
        self.bytes_per_pixel = math.ceil(WORKSPACE * counted_bytes(network, spec))
        self._lock = threading.Lock()
        self._session = _session(library, onnx_of(network, spec), provider, options, settings)
        used = self._session.get_providers()[0]
        if used != provider and settings.device == "auto":
            provider = used  # the provider is installed without the GPU it needs
        if used != provider:
            raise UsageError(
                f"ONNX Runtime has {provider}, but cannot use it on this machine",
                mend="choose --device cpu, or --backend torch",
            )
        check_logits(
            self.run, network, spec, library="ONNX Runtime",
            **({} if provider == _CPU else {"tolerance": TOLERANCE_GPU}),
        )  # fmt: skip
        where = "cpu" if provider == _CPU else provider.removesuffix("ExecutionProvider")
        self.description = f"onnxruntime {library.__version__} on {where}, fp32"

    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return logits (n, class, [z,] y, x) of a batch (n, channel, [z,] y, x)."""
        with self._lock:
            logits: npt.NDArray[np.float32] = self._session.run(None, {INPUT: batch})[0]
        return logits

    def labels(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """Return label values (n, [z,] y, x) of a batch (n, channel, [z,] y, x)."""
        return highest(self.run(batch))


def _library() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise DependencyError(
            "the backend onnxruntime needs the library ONNX Runtime, which is not installed",
            mend='pip install "osteon[onnx]", or choose --backend torch',
        ) from error
    return onnxruntime


def _provider(device: str, present: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The provider for a device, and its options; ``auto`` takes a GPU where there is one."""
    kind, _, number = device.partition(":")
    wanted = [name for names in _PROVIDERS.values() for name in names]
    if kind != "auto":
        wanted = list(_PROVIDERS.get(kind, ()))
    found = next((name for name in wanted if name in present), None)
    if found is None:
        raise UsageError(
            f"ONNX Runtime has no provider for the device '{device}' on this machine (it has "
            f"{', '.join(present)})",
            mend="choose --device cpu; for GPUs install onnxruntime-gpu or onnxruntime-directml",
        )
    return found, {"device_id": int(number)} if number.isdecimal() else {}


def _session(
    library: Any, graph: bytes, provider: str, chosen: dict[str, Any], settings: PredictSettings
) -> Any:
    options = library.SessionOptions()
    if isinstance(settings.threads, int):
        options.intra_op_num_threads = settings.threads
    # A pattern of memory is planned for one shape, and tiles have several.
    options.enable_mem_pattern = False
    options.log_severity_level = 3  # errors alone: warnings are about speed, and go to the terminal
    providers = [(provider, chosen)] + ([] if provider == _CPU else [(_CPU, {})])
    try:
        return library.InferenceSession(graph, options, providers=providers)
    except Exception as error:  # ONNX Runtime raises classes of its own
        raise unfit("ONNX Runtime", error) from error
