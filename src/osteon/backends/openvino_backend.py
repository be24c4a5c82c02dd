"""The OpenVINO backend: x86 and ARM CPUs, fp32, and bf16 where the CPU has it (unchecked)."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from osteon.backends.exporting import (
    TOLERANCE,
    check_logits,
    counted_bytes,
    highest,
    loaded_network,
    onnx_of,
    unfit,
)
from osteon.backends.precision import TOLERANCE as NOISE
from osteon.backends.precision import measured
from osteon.backends.torch_backend import probe_shape, purpose_of
from osteon.errors import DependencyError, UsageError
from osteon.networks import NetworkSpec
from osteon.settings import PredictSettings

#: What is planned for, as a multiple of the activations that torch would hold.
WORKSPACE = 2.0
#: The same as :data:`~osteon.backends.exporting.TOLERANCE` for bf16, whose numbers have 8 bits.
TOLERANCE_BF16 = 0.05
#: OpenVINO's names of the number formats.
_HINTS = {"fp32": "f32", "bf16": "bf16"}


class OpenVinoBackend:
    """A network run by OpenVINO on the CPU; see :class:`osteon.backends.Backend`.

    It is converted once, by way of ONNX (half the time of OpenVINO's own conversion), and compiled
    once: the class of the highest logit is as quick to take outside of the graph. Calls from
    several threads wait for each other, so that the activations are held once.

    Args:
        spec: The network.
        weights: Its state.
        settings: Device, precision and threads.

    Attributes:
        graph: The converted network, an ``openvino.Model`` in fp32.

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
        ov = library()
        kinds = _precisions(settings)
        network = loaded_network(spec, weights)
        self.bytes_per_pixel = math.ceil(WORKSPACE * counted_bytes(network, spec))
        self.graph = graph_of(onnx_of(network, spec))
        if len(kinds) > 1:
            kinds = [_faster(self.graph, kinds, spec, settings)]
        self._run = Compiled(self.graph, settings, precision=kinds[0])
        limit = TOLERANCE if kinds[0] == "fp32" else TOLERANCE_BF16
        check_logits(self.run, network, spec, library="OpenVINO", tolerance=limit)
        self.description = f"openvino {version(ov)} on cpu, {kinds[0]}"

    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return logits (n, class, [z,] y, x) of a batch (n, channel, [z,] y, x)."""
        logits: npt.NDArray[np.float32] = self._run(batch, np.copy)
        return logits

    def labels(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """Return label values (n, [z,] y, x) of a batch (n, channel, [z,] y, x)."""
        labels: npt.NDArray[np.uint8] = self._run(batch, highest)
        return labels

    def release(self) -> None:
        """Give back the memory of the activations, which OpenVINO keeps from call to call."""
        self._run.release()


class Compiled:
    """A graph of one input and one output, compiled for the CPU.

    Args:
        graph: The ``openvino.Model``.
        settings: The number of threads.
        precision: ``fp32`` or ``bf16``; int8 is in the graph itself.

    Raises:
        UsageError: If OpenVINO cannot compile it.
    """

    def __init__(self, graph: Any, settings: PredictSettings, *, precision: str = "fp32"):
        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": _HINTS[precision]}
        if isinstance(settings.threads, int):
            options["INFERENCE_NUM_THREADS"] = settings.threads
        try:
            self._compiled = core().compile_model(graph, "CPU", options)
        except RuntimeError as error:
            raise unfit("OpenVINO", error) from error
        self._request: Any = None
        self._lock = threading.Lock()

    def __call__(
        self, batch: npt.NDArray[np.float32], use: Callable[[npt.NDArray[np.float32]], Any]
    ) -> Any:
        """Run it.

        Args:
            batch: Its input.
            use: Makes the result of the output, whose memory the next call writes to.
        """
        with self._lock:
            if self._request is None:
                self._request = self._compiled.create_infer_request()
            self._request.infer([batch])
            return use(self._request.get_output_tensor(0).data)

    def release(self) -> None:
        """Give back the memory of the activations."""
        with self._lock:
            self._request = None
        self._compiled.release_memory()


def library() -> Any:
    """Import OpenVINO.

    Raises:
        DependencyError: If it is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise DependencyError(
            "the backend openvino needs the library OpenVINO, which is not installed",
            mend='pip install "osteon[fast]", or choose --backend torch',
        ) from error
    return openvino


@cache
def core() -> Any:
    """Return OpenVINO's ``Core``, one for the whole process, which is never given back.

    Each one with a plugin puts a stack of its own in place for signals (Linux), and the one before
    back at its end. Two that end in the order in which they began leave a stack that is no longer
    there, and the next signal, such as Ctrl-C, ends the process (seen with openvino 2026.4.1).

    Raises:
        DependencyError: If OpenVINO is not installed.
    """
    return library().Core()


def graph_of(onnx: bytes) -> Any:
    """Read a network into OpenVINO's own form.

    Args:
        onnx: The ONNX file.

    Returns:
        The ``openvino.Model``.

    Raises:
        UsageError: If OpenVINO cannot read it.
    """
    library()
    from openvino.passes import ConstantFolding, Manager

    try:
        graph = core().read_model(onnx)
    except RuntimeError as error:
        raise unfit("OpenVINO", error) from error
    # The biases of an ONNX file are computed from shapes at run time; in int8 that comes out wrong
    # (openvino 2026.4: a seventh of the labels differed). Folded, they are plain numbers.
    manager = Manager()
    manager.register_pass(ConstantFolding())
    manager.run_passes(graph)
    return graph


def version(ov: Any) -> str:
    """Return the version of OpenVINO, without its build number.

    Args:
        ov: The library.
    """
    return str(ov.__version__).split("-")[0]


def _precisions(settings: PredictSettings) -> list[str]:
    """The number formats that may be used, fp32 first."""
    if settings.device not in ("auto", "cpu"):
        raise UsageError(
            f"the backend openvino runs on the CPU, not on '{settings.device}'",
            mend="choose --device cpu, or --backend torch",
        )
    can = ["fp32"]
    if "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        can.append("bf16")
    if settings.precision == "auto":
        return can
    if settings.precision not in can:
        raise UsageError(
            f"the backend openvino computes in {' or '.join(can)} on this machine, not in "
            f"{settings.precision}",
            mend="choose precision fp32, or --backend torch",
        )
    return [settings.precision]


def _faster(graph: Any, kinds: list[str], spec: NetworkSpec, settings: PredictSettings) -> str:
    """The first of the number formats that is not clearly slower than the fastest, measured."""

    def prepare(kind: str) -> Callable[[], object]:
        run, batch = Compiled(graph, settings, precision=kind), np.zeros(probe_shape(spec), "f4")
        return lambda: run(batch, np.copy)

    about = f"openvino {version(library())} {purpose_of(spec)}"
    seconds = {
        kind: measured(lambda kind=kind: prepare(kind), key=f"{about} {kind}")  # type: ignore[misc]
        for kind in kinds
    }
    return next(k for k in kinds if seconds[k] <= min(seconds.values()) * (1 + NOISE))
