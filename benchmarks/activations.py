"""Memory of a U-Net/ResNet-18's activations per pixel of input, on Linux."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from osteon.backends.torch_backend import TorchBackend
from osteon.networks import NetworkSpec, build_network
from osteon.settings import PredictSettings


def peak() -> int:
    """Return the peak resident memory of this program, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


def main() -> None:
    spec = NetworkSpec("unet", "resnet18", 1, 3, (256, 128, 64, 32, 16))
    backend = TorchBackend(spec, build_network(spec).state_dict(), PredictSettings())
    backend.labels(np.zeros((1, 1, 256, 256), np.float32))
    before = peak()
    print("| input | arithmetic | bytes a pixel |\n| --- | --- | --- |")
    for size in (1024, 1536):
        backend.labels(np.zeros((1, 1, size, size), np.float32))
        print(f"| {size}² | {backend.description} | {(peak() - before) / size**2:.0f} |")


if __name__ == "__main__":
    main()
