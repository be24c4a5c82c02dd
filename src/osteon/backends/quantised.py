"""Networks in whole numbers (int8): made by NNCF from samples of a scan, run by OpenVINO."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from osteon.backends import Backend
from osteon.backends.exporting import highest, loaded_network, onnx_of
from osteon.backends.openvino_backend import (
    Compiled,
    OpenVinoBackend,
    core,
    graph_of,
    library,
    version,
)
from osteon.errors import OutputError, UsageError
from osteon.files import flush, writing
from osteon.networks import NetworkSpec
from osteon.settings import PredictSettings

Images = npt.NDArray[np.float32]
#: What int8 needs beside osteon.
LIBRARIES = ("openvino", "nncf", "onnx")
#: NNCF counts who uses it over the network, unless this variable says that it is tested: nothing
#: about a user's work leaves the machine.
_NO_TELEMETRY = "NNCF_CI"


class Int8Backend:
    """An int8 network run by OpenVINO; see :class:`osteon.backends.Backend`.

    Args:
        path: What :meth:`Quantiser.make` wrote.
        settings: The number of threads.
        bytes_per_pixel: Of the network in full precision, which takes more.

    Raises:
        OutputError: If it is damaged.
    """

    def __init__(self, path: Path, settings: PredictSettings, *, bytes_per_pixel: int):
        ov = library()
        self.bytes_per_pixel = bytes_per_pixel
        try:
            graph = core().read_model(path, _numbers(path))
        except RuntimeError as error:
            raise OutputError(
                "the quantised network that was kept cannot be read",
                where=path,
                mend="begin anew with --overwrite",
            ) from error
        self._run = Compiled(graph, settings)
        self.description = f"openvino {version(ov)} on cpu, int8"

    def run(self, batch: Images) -> Images:
        """Return logits (n, class, [z,] y, x) of a batch (n, channel, [z,] y, x)."""
        logits: Images = self._run(batch, np.copy)
        return logits

    def labels(self, batch: Images) -> npt.NDArray[np.uint8]:
        """Return label values (n, [z,] y, x) of a batch (n, channel, [z,] y, x)."""
        labels: npt.NDArray[np.uint8] = self._run(batch, highest)
        return labels


class Quantiser:
    """Makes a network's int8 form from samples, and opens it.

    The first convolution, which sees the grey values, and the last, which makes the logits, stay in
    full precision: they take little of the time and much of the loss (on the shipped model and a
    real scan: labels differed in 0.10 % of the voxels with all in int8, in 0.07 % so). The shift
    that rounding brings is corrected layer after layer, each seeing the ones before it in int8:
    twice the time of NNCF's quick way, and between a tenth and four fifths of the differences less
    (docs/backends.md).

    Args:
        spec: The network.
        weights: Its state.
        settings: The number of threads; its speed says whether int8 must save time.
        backend: The network in full precision; one of OpenVINO is not converted again.

    Attributes:
        must_pay: Whether int8 is wanted only where it saves time.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        weights: Mapping[str, torch.Tensor],
        settings: PredictSettings,
        *,
        backend: Backend,
    ):
        self._spec, self._weights = spec, weights
        self._settings, self._backend = settings, backend
        self.must_pay = settings.speed != "int8"

    def make(self, samples: Sequence[Images], path: Path) -> None:
        """Quantise the network and write it.

        Args:
            samples: Inputs (n, channel, [z,] y, x) that are typical of the scan.
            path: The file (``.xml``); the numbers go beside it (``.bin``).

        Raises:
            OutputError: If it cannot be written.
            UsageError: If the network cannot be converted or quantised.
        """
        graph = self._graph()
        with _quiet():
            import nncf

            kept = nncf.IgnoredScope(names=_ends(graph))
            try:
                made = nncf.quantize(
                    graph,
                    nncf.Dataset(list(samples)),
                    subset_size=len(samples),
                    target_device=nncf.TargetDevice.CPU,
                    fast_bias_correction=False,
                    ignored_scope=kept,
                )
            except Exception as error:  # NNCF and OpenVINO raise classes of their own
                why = (str(error).strip() or type(error).__name__).split("\n")[0]
                raise UsageError(f"NNCF cannot quantise this network: {why}") from error
        _write(made, path)

    def open(self, path: Path) -> Backend:
        """Open what :meth:`make` wrote.

        Args:
            path: The file.

        Raises:
            OutputError: If it is damaged.
        """
        more = self._backend.bytes_per_pixel
        return Int8Backend(path, self._settings, bytes_per_pixel=more)

    def _graph(self) -> Any:
        if isinstance(self._backend, OpenVinoBackend):
            return self._backend.graph.clone()
        network = loaded_network(self._spec, self._weights)
        return graph_of(onnx_of(network, self._spec))


def why_not_int8(settings: PredictSettings, *, networks: int, device: str) -> str | None:
    """Say why there is no int8 form of what is asked for.

    Args:
        settings: Of the prediction; its backend is the one that was picked.
        networks: Models whose mean is taken.
        device: The kind of device that the picked backend runs on.

    Returns:
        The reason; None if int8 can be tried.
    """
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if device != "cpu":
        return f"int8 is for CPUs, and the network runs on '{device}'"
    if settings.views > 1 or networks > 1:
        return "the mean of several views or models is asked for, which is better, not faster"
    if missing:
        return f'{" and ".join(missing)} must be installed first (pip install "osteon[fast]")'
    return None


def _ends(graph: Any) -> list[str]:
    """Names of the first and the last convolution."""
    found = [op for op in graph.get_ordered_ops() if op.get_type_name() == "Convolution"]
    return [op.get_friendly_name() for op in (found[0], found[-1])] if found else []


def _numbers(path: Path) -> Path:
    return path.with_suffix(".bin")


def _write(graph: Any, path: Path) -> None:
    """Write a graph; its description comes last, so that it is never there without its numbers."""
    head = path.with_name(f"part-{path.name}")  # OpenVINO asks for the suffix .xml
    with writing(path):
        library().serialize(graph, str(head), str(_numbers(head)))
        for part, whole in ((_numbers(head), _numbers(path)), (head, path)):
            flush(part)
            part.replace(whole)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep NNCF's progress and remarks off the terminal and out of ``--json``."""
    os.environ.setdefault(_NO_TELEMETRY, "1")
    torch_log = logging.getLogger("torch.utils.cpp_extension")  # says that there is no CUDA
    level = torch_log.level
    torch_log.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            import nncf

            nncf.set_log_level(logging.ERROR)
            yield
    finally:
        torch_log.setLevel(level)
