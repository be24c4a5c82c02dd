"""The memory of activations: by hand, and by the peak memory of a process."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from osteon.backends.activations import activation_bytes
from osteon.backends.torch_backend import WORKSPACE

PIXELS = 8 * 8


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_chain_holds_two_tensors_at_once(device: str) -> None:
    # 1 channel in, 4 and then 2 channels of float32: beside the input, 4 + 2 are alive at once.
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 2, 1)).to(device)
    example = torch.zeros(1, 1, 8, 8, device=device)
    assert activation_bytes(network, example) == PIXELS * 4 * (1 + 4 + 2)


class Skip(nn.Module):
    """Keeps the first features until the end, as a U-Net does."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (
            nn.Conv2d(a, b, 1) for a, b in ((1, 8), (8, 4), (4, 4))
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        kept = self.first(image)
        low = self.third(self.second(kept))
        return torch.cat([kept, low.relu_()], 1)


def test_what_is_kept_for_later_counts_and_views_do_not() -> None:
    # At the end: 8 kept, 4 low, 12 joined. In between 8 + 4 + 4 are fewer; relu_ works in place.
    assert activation_bytes(Skip().eval(), torch.zeros(1, 1, 8, 8)) == PIXELS * 4 * (1 + 24)


SCRIPT = """
import sys
import numpy as np, torch
from pathlib import Path
from osteon.backends.torch_backend import TorchBackend
from osteon.networks import NetworkSpec, build_network
from osteon.settings import PredictSettings
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
dimensions = int(sys.argv[1])
spec = NetworkSpec("unet", "resnet18", 1, 3, dimensions=dimensions)
settings = PredictSettings(precision="fp32", device="cpu", threads=1)
backend = TorchBackend(spec, build_network(spec).state_dict(), settings)
shape = (1024, 1024) if dimensions == 2 else (64, 128, 160)
before = peak()
backend.labels(np.zeros((1, 1, *shape), np.float32))
print((peak() - before) / np.prod(shape), backend.bytes_per_pixel)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_process_takes_no_more_than_planned(dimensions: int) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(dimensions)], capture_output=True, text=True, check=True
    )
    measured, planned = (float(v) for v in ran.stdout.split())
    assert planned / WORKSPACE / 2 < measured < planned
