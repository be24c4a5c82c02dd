"""Memory and speed of `osteon predict` from disk to disk, against the simple way.

    python benchmarks/prediction.py [--size 1024] [--slices 8 32]

The simple way: all slices in memory, each run through the eager network in float32.
Each row is a process of its own; peak memory is the operating system's figure for it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile

SIMPLE = """
import sys, tifffile, numpy as np, torch
from pathlib import Path
from osteon.model_file import load_model
from osteon.networks import build_network, load_weights
model = load_model(Path(sys.argv[1]))
net = build_network(model.spec.network); load_weights(net, model.weights); net.eval()
scan = np.stack([tifffile.imread(p) for p in sorted(Path(sys.argv[2]).iterdir())])
inside = scan[scan > 0].astype(np.float32)
scan = (scan - inside.mean()) / inside.std()
out = Path(sys.argv[3]); out.mkdir()
with torch.inference_mode():
    for z, image in enumerate(scan):
        labels = net(torch.from_numpy(image.astype(np.float32))[None, None]).argmax(1)[0]
        tifffile.imwrite(out / f"{z:04d}.tif", labels.numpy().astype(np.uint8))
"""


def make_model(path: Path) -> None:
    """Write a U-Net/ResNet-18 of random weights: speed and memory do not depend on them."""
    import torch

    from osteon.labels import BONE_PORES
    from osteon.model_file import Model, ModelSpec, save_model
    from osteon.networks import NetworkSpec, build_network

    torch.manual_seed(0)
    network = NetworkSpec("unet", "resnet18", 1, 3, (256, 128, 64, 32, 16))
    spec = ModelSpec("random", network, BONE_PORES, "zscore", 1)
    save_model(path, Model(spec, build_network(network).state_dict()))


def run(command: list[str]) -> tuple[float, float]:
    """Return seconds and peak MiB of a process."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, "
        "stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *command], check=True, capture_output=True, text=True
    )
    return time.perf_counter() - start, int(done.stdout) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--slices", type=int, nargs="+", default=[8, 32])
    args = parser.parse_args()
    print("| way | slices | seconds | peak MiB |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        make_model(work / "model.safetensors")
        for depth in args.slices:
            scan = work / f"scan{depth}"
            scan.mkdir()
            rng = np.random.default_rng(0)
            for z in range(depth):
                image = rng.integers(1, 255, (args.size, args.size), dtype=np.uint8)
                tifffile.imwrite(scan / f"{z:04d}.tif", image)
            model = str(work / "model.safetensors")
            predict = [sys.executable, "-m", "osteon", "predict", str(scan), "--model", model]
            ways = {
                "the simple way": [sys.executable, "-c", SIMPLE, model, str(scan)],
                "osteon predict": [*predict, "--out"],
                "osteon predict, 1 GiB": [*predict, "--memory", "1GiB", "--out"],
            }
            for number, (name, command) in enumerate(ways.items()):
                seconds, peak = run([*command, str(work / f"labels{depth}-{number}")])
                print(f"| {name} | {depth} | {seconds:.1f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
