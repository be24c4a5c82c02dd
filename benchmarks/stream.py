"""Speed of the simulated stream against the network that eats it, on one core each.

    python benchmarks/stream.py [--size 256] [--items 60]

One thread draws items; then one thread fits a U-Net/ResNet-18 to them in batches of 8.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from osteon.losses import build_loss
from osteon.networks import NetworkSpec, build_network
from osteon.settings import FitSettings, load_settings
from osteon.simulation.stream import SimulatedPatches
from osteon.simulation.stream.scene import VIEWS

DECODERS = {"the paper's decoder": None, "a narrower decoder": (128, 64, 32, 16, 16)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--items", type=int, default=60)
    args = parser.parse_args()
    torch.set_num_threads(1)
    source = SimulatedPatches(args.size, args.items, 0)
    source.item(0, 0)
    items, seconds = [], []
    for index in range(args.items):
        start = time.perf_counter()
        items.append(source.item(1, index))
        seconds.append(time.perf_counter() - start)
    drawn = float(np.mean(seconds))
    print(f"items of {args.size} px ({', '.join(VIEWS)}), one core\n")
    print("| what | ms an item | × drawing |")
    print("| --- | --- | --- |")
    slowest = f"median {1e3 * np.median(seconds):.0f}, slowest {1e3 * max(seconds):.0f}"
    print(f"| drawing ({slowest}) | {1e3 * drawn:.0f} | 1 |")
    loss = build_loss(load_settings(FitSettings).loss, classes=3)
    images = torch.stack([torch.from_numpy(i) for i, _ in items[:8]])
    labels = torch.stack([torch.from_numpy(m) for _, m in items[:8]])
    for name, channels in DECODERS.items():
        network = build_network(NetworkSpec("unet", "resnet18", 2, 3, channels))
        network = network.to(memory_format=torch.channels_last)
        found = []
        for _ in range(4):
            start = time.perf_counter()
            loss(network(images.to(memory_format=torch.channels_last)), labels).backward()
            found.append((time.perf_counter() - start) / len(images))
        learning = min(found)
        print(f"| learning, {name} | {1e3 * learning:.0f} | {learning / drawn:.1f} |")


if __name__ == "__main__":
    main()
