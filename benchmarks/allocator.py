"""What keeping freed memory saves a training step: processor time, page faults, peak memory.

    python benchmarks/allocator.py [--steps 4]

U-Net/ResNet-18, batches of 8 patches of 256², one thread. Each row is a process of its own. The
figures are processor time, not wall time, so another load of the machine disturbs them little.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys


def step_cost(kept: bool, layout: str, steps: int) -> dict[str, float]:
    """Run some steps in this process; returns means a step."""
    import torch

    from osteon.allocator import keep_freed_memory
    from osteon.networks import NetworkSpec, build_network

    torch.set_num_threads(1)
    if kept and not keep_freed_memory():
        raise SystemExit("this system's C library has no such setting")
    order = torch.channels_last if layout == "channels-last" else torch.contiguous_format
    network = build_network(NetworkSpec("unet", "resnet18", 1, 3)).train().to(memory_format=order)
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    images = torch.randn(8, 1, 256, 256).to(memory_format=order)
    labels = torch.randint(0, 3, (8, 256, 256))

    def step() -> None:
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(images), labels).backward()
        optimiser.step()

    step()
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(steps):
        step()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "user": (after.ru_utime - before.ru_utime) / steps,
        "system": (after.ru_stime - before.ru_stime) / steps,
        "faults": (after.ru_minflt - before.ru_minflt) / steps,
        "peak": after.ru_maxrss / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--row", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.row:
        print(json.dumps(step_cost(args.row[0] == "kept", args.row[1], args.steps)))
        return
    print("| layout | freed memory | user s | system s | both, × kept | page faults | peak MiB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for layout in ("channels-last", "channels-first"):
        rows = {}
        for how in ("given back", "kept"):
            command = [sys.executable, __file__, "--steps", str(args.steps), "--row", how, layout]
            rows[how] = json.loads(subprocess.check_output(command))
        own = rows["kept"]["user"] + rows["kept"]["system"]
        for how, row in rows.items():
            print(
                f"| {layout} | {how} | {row['user']:.2f} | {row['system']:.2f} "
                f"| {(row['user'] + row['system']) / own:.2f} | {row['faults']:,.0f} "
                f"| {row['peak']:.0f} |"
            )


if __name__ == "__main__":
    main()
