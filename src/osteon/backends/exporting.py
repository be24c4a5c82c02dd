"""A network as ONNX: what ONNX Runtime and OpenVINO run, and ``osteon model convert`` writes."""

from __future__ import annotations

import io
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from osteon.backends.activations import activation_bytes
from osteon.backends.torch_backend import probe_shape
from osteon.errors import DependencyError, UsageError
from osteon.networks import NetworkSpec, build_network, load_weights

Images = npt.NDArray[np.float32]
#: Names of the input (n, channel, [z,] y, x) and of the output (n, class, [z,] y, x).
INPUT, OUTPUT = "image", "logits"
#: Version of ONNX's operators: the first with all that the networks need, so that older programs
#: read the files too.
OPSET = 17
#: Largest difference of a logit from PyTorch's, as a share of the largest logit, when a converted
#: network is checked: rounding of fp32 stays far below it, a shape frozen by the conversion above.
TOLERANCE = 1e-3
_AXES = {2: ("height", "width"), 3: ("depth", "height", "width")}


def loaded_network(spec: NetworkSpec, weights: Mapping[str, torch.Tensor]) -> nn.Module:
    """Build a network with its weights, on the CPU, in evaluation mode.

    Args:
        spec: The network.
        weights: Its state.

    Raises:
        ModelFileError: If the weights are not of this network.
    """
    network = build_network(spec)
    load_weights(network, weights)
    return network.eval()


def onnx_of(network: nn.Module, spec: NetworkSpec) -> bytes:
    """Convert a network to ONNX; batch and sides stay free.

    Args:
        network: The network, in evaluation mode, on the CPU.
        spec: Its description.

    Returns:
        The file, with the weights in it.

    Raises:
        DependencyError: If the library onnx is not installed.
        UsageError: If it cannot be converted.
    """
    if find_spec("onnx") is None:
        raise DependencyError(
            "the library onnx, which networks are converted by, is not installed",
            mend='pip install "osteon[fast]"',
        )
    axes = {0: "batch", **dict(enumerate(_AXES[spec.dimensions], start=2))}
    file = io.BytesIO()
    try:
        with torch.inference_mode(), _quiet():
            # The exporter by tracing: the newer one takes ten times as long and gives the same.
            torch.onnx.export(
                network,
                (torch.zeros(1, *probe_shape(spec)[1:]),),
                file,  # type: ignore[arg-type]  # torch writes to files too, but does not say it
                dynamo=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes={INPUT: axes, OUTPUT: axes},
            )
    except Exception as error:  # torch raises classes of its own, RuntimeError, ValueError, …
        raise unfit("ONNX", error) from error
    return file.getvalue()


def described(graph: bytes, description: Mapping[str, str]) -> bytes:
    """Put a description into an ONNX file.

    Args:
        graph: The file.
        description: Texts by name.

    Returns:
        The file with them as metadata.
    """
    import onnx

    model = onnx.load_from_string(graph)
    onnx.helper.set_model_props(model, dict(description))
    data: bytes = model.SerializeToString()
    return data


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what torch says of tracing: :func:`check_logits` finds what it warns of."""
    noisy = logging.getLogger("torch.onnx")
    level = noisy.level
    noisy.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        noisy.setLevel(level)


def check_logits(
    run: Callable[[Images], Images],
    network: nn.Module,
    spec: NetworkSpec,
    *,
    library: str,
    tolerance: float = TOLERANCE,
) -> None:
    """Compare a converted network with PyTorch, on a shape that the conversion did not see.

    Args:
        run: Runs the converted network.
        network: The network it was made of.
        spec: Its description.
        library: What runs it, for messages.
        tolerance: Largest difference, as a share of the largest logit.

    Raises:
        UsageError: If the logits differ, or it does not run.
    """
    shape = probe_shape(spec)
    seen = (2, *shape[1:-1], shape[-1] + spec.divisor)
    batch = np.random.default_rng(0).standard_normal(seen, dtype=np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(batch)).numpy()
    try:
        found = run(batch)
    except Exception as error:  # each library has classes of its own
        raise unfit(library, error) from error
    limit = tolerance * float(np.abs(expected).max())
    if found.shape != expected.shape or not np.allclose(found, expected, rtol=0, atol=limit):
        raise unfit(library, "its logits differ from those of PyTorch")


def counted_bytes(network: nn.Module, spec: NetworkSpec) -> float:
    """Count the memory of a network's activations, as PyTorch would hold them.

    Args:
        network: The network, in evaluation mode, on the CPU.
        spec: Its description.

    Returns:
        Bytes per pixel or voxel of input.
    """
    example = torch.zeros(1, *probe_shape(spec)[1:])
    return activation_bytes(network, example) / math.prod(example.shape[2:])


def highest(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Return the class of the highest logit.

    Args:
        logits: (n, class, [z,] y, x).

    Returns:
        Label values (n, [z,] y, x).
    """
    labels: npt.NDArray[np.uint8] = logits.argmax(1).astype(np.uint8)
    return labels


def unfit(library: str, why: object) -> UsageError:
    """Say that a library cannot run a network.

    Args:
        library: Its name.
        why: The reason, or what was raised.

    Returns:
        The error to raise.
    """
    reason = (str(why).strip() or type(why).__name__).split("\n")[0]
    return UsageError(f"{library} cannot run this network: {reason}", mend="choose --backend torch")
