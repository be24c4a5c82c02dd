"""How a network is run: one file a backend, one row of the table each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt
import torch

from osteon.networks import NetworkSpec
from osteon.settings import PredictSettings
from osteon.tables.choices import AUTO, BACKENDS

#: The backend that is always there.
TORCH = "torch"


class Backend(Protocol):
    """A network ready to run.

    Attributes:
        description: Backend, device, precision and memory layout, in words, for the record.
        bytes_per_pixel: Estimated memory of the activations per pixel (3D: voxel) of input, all
            channels together.
    """

    description: str
    bytes_per_pixel: int

    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Run the network.

        Args:
            batch: Normalised input (n, channel, [z,] y, x), C-contiguous, its axes multiples of
                the network's divisors.

        Returns:
            Logits (n, class, [z,] y, x).
        """

    def labels(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """Run the network and take the class of the highest logit.

        Args:
            batch: As in :meth:`run`.

        Returns:
            Label values (n, [z,] y, x).
        """


def open_backend(
    spec: NetworkSpec, weights: Mapping[str, torch.Tensor], settings: PredictSettings
) -> Backend:
    """Make a network ready to run as the settings ask.

    Args:
        spec: The network.
        weights: Its state.
        settings: Backend, device, precision and threads. The backend ``auto`` is torch here, which
            is the quickest to be ready; :func:`pick_backend` weighs the others by the work.

    Returns:
        The backend.

    Raises:
        UsageError: If the device or precision is not to be had on this machine.
        DependencyError: If the backend's library is not installed.
    """
    name = TORCH if settings.backend == AUTO else settings.backend
    kind = cast(Callable[..., Any], BACKENDS.load(name))
    backend: Backend = kind(spec, weights, settings)
    return backend
