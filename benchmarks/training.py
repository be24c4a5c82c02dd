"""Speed and memory of `osteon fit` against a plain training loop.

    python benchmarks/training.py speed [--size 256] [--slices 24] [--epochs 2]
    python benchmarks/training.py memory [--slices 32 128 512]

The plain loop is what such programs do (see ``plain``): whole volumes in memory, patches cut,
normalised and augmented in Python in the main process, channels first, bf16 by autocast; a second
row has it in fp32, the better choice on a processor without bf16 arithmetic. Network, patches,
batches, augmentation, threads and validation (all voxels of the same slices) are the same.
Each row is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

BATCH, PER_SLICE = 8, 4
#: Grey values and labels are noise: neither speed nor memory depends on them.
DTYPE = np.uint8


def make_scans(folder: Path, *, size: int, slices: int, scans: int = 2) -> Path:
    """Write scans of noise with labels, and their manifest."""
    from osteon import workflows

    rng = np.random.default_rng(0)
    for number in range(scans):
        place = folder / f"scan{number}"
        place.mkdir(parents=True)
        for name, high in (("scan", 256), ("mask", 3)):
            array = np.lib.format.open_memmap(
                place / f"{name}.npy", mode="w+", dtype=DTYPE, shape=(slices, size, size)
            )
            for z in range(slices):
                array[z] = rng.integers(name == "scan", high, (size, size))
    manifest = workflows.new_dataset(folder, out=folder / "dataset.toml")
    return Path(str(manifest.path))


def plain(folder: Path, precision: str, epochs: int, threads: int, *, few: bool) -> dict[str, Any]:
    """Fit by a plain loop; returns seconds of the epochs after the first.

    With ``few`` an epoch is of one slice, and its seconds times the number of slices are returned.
    """
    import segmentation_models_pytorch as smp
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    train, val = (
        tuple(np.load(folder / scan / f"{name}.npy") for name in ("scan", "mask"))
        for scan in ("scan0", "scan1")
    )
    net = smp.Unet("resnet18", encoder_weights=None, in_channels=1, classes=3)
    criterion = smp.losses.JaccardLoss("multiclass")
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    moments = [tuple(float(f(s[0][s[0] > 0])) for f in (np.mean, np.std)) for s in (train, val)]
    whole = len(train[0])
    if few:
        train, val = (tuple(part[:1] for part in pair) for pair in (train, val))
    bf16 = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")

    def patch(z: int, size: int = 256) -> tuple[Any, Any]:
        high = train[0].shape[1] - size + 1
        y, x = rng.integers(0, high), rng.integers(0, high)
        image = train[0][z, y : y + size, x : x + size].astype(np.float32)
        mask = train[1][z, y : y + size, x : x + size].astype(np.int64)
        image = (image - moments[0][0]) / moments[0][1]
        turns = int(rng.integers(0, 4))
        image, mask = np.rot90(image, turns), np.rot90(mask, turns)
        if rng.random() < 0.4:
            image = image + rng.uniform(-0.15, 0.15)
        if rng.random() < 0.4:
            image = image * rng.uniform(0.75, 1.25)
        image = np.clip(image, -5, 5)
        return torch.from_numpy(image.astype(np.float32).copy())[None], torch.from_numpy(
            mask.copy()
        )

    seconds = []
    for _ in range(epochs):
        start = time.perf_counter()
        net.train()
        keys = rng.permutation(np.repeat(np.arange(len(train[0])), PER_SLICE))
        for i in range(0, len(keys), BATCH):
            items = [patch(int(z)) for z in keys[i : i + BATCH]]
            images, masks = (torch.stack([item[k] for item in items]) for k in (0, 1))
            optimiser.zero_grad()
            with bf16:
                loss = criterion(net(images), masks)
            loss.backward()
            optimiser.step()
        net.eval()
        confusion = torch.zeros(9, dtype=torch.int64)
        with torch.no_grad(), bf16:
            for z in range(len(val[0])):
                image = (val[0][z].astype(np.float32) - moments[1][0]) / moments[1][1]
                found = net(torch.from_numpy(image)[None, None]).argmax(1)[0]
                truth = torch.from_numpy(val[1][z].astype(np.int64))
                confusion += torch.bincount((truth * 3 + found).ravel(), minlength=9)
        seconds.append((time.perf_counter() - start) * whole / len(train[0]))
    return {"seconds": seconds[1:], "plan": "from one slice" if few else ""}


def ours(folder: Path, epochs: int, threads: int) -> dict[str, Any]:
    """Fit by osteon; returns seconds of the epochs after the first, and what was chosen."""
    from osteon import workflows
    from osteon.settings import FitSettings, load_settings

    settings = load_settings(
        FitSettings,
        overrides=[
            f"training.batch_size={BATCH}",
            f"patches.per_slice={PER_SLICE}",
            f"training.epochs={epochs}",
            f"training.threads={threads}",
            "validation.specimens=[scan1]",
        ],
    )
    with tempfile.TemporaryDirectory() as out:
        run = workflows.fit(folder / "dataset.toml", out=Path(out) / "run", settings=settings)
    plan = run.outcome.plan
    return {
        "seconds": [row.seconds for row in run.outcome.history[1:]],
        "plan": f"{plan.arithmetic}, {plan.workers} workers",
    }


def peak(kind: str, threads: int) -> float:
    """Measure multiply-adds of a large matrix product, in GFLOP/s."""
    import torch

    torch.set_num_threads(threads)
    dtype = torch.bfloat16 if kind == "bf16" else torch.float32
    best = 0.0
    for side in (256, 512, 1024, 2048):
        a = torch.randn(side, side, dtype=dtype)
        for _ in range(3):
            start = time.perf_counter()
            a @ a
            seconds = time.perf_counter() - start
            best = max(best, 2 * side**3 / seconds / 1e9)
        if seconds > 0.1:  # larger ones would take minutes where bf16 is emulated
            break
    return best


def flops_of_epoch(size: int, slices: int) -> float:
    """Count an epoch: a training step is three forward passes of its patches."""
    from osteon.networks import NetworkSpec, network_costs

    spec = NetworkSpec("unet", "resnet18", 1, 3)
    patch = network_costs(spec, (1, 1, 256, 256)).flops
    whole = network_costs(spec, (1, 1, size, size)).flops
    return slices * (PER_SLICE * 3 * patch + whole)


def speed(size: int, slices: int, epochs: int, threads: int) -> None:
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        make_scans(folder, size=size, slices=slices)
        tops = {kind: peak(kind, threads) for kind in ("bf16", "fp32")}
        rows = []
        for name, task in (
            ("plain loop, channels first, bf16 autocast", ["plain", "bf16"]),
            ("plain loop, channels first, fp32", ["plain", "fp32"]),
            ("osteon fit", ["ours"]),
        ):
            command = [sys.executable, __file__, *task, "--folder", text]
            command += ["--epochs", str(epochs), "--threads", str(threads)]
            if "bf16" in task and tops["bf16"] < tops["fp32"]:  # it would take hours
                command += ["--few"]
            found = json.loads(subprocess.check_output(command).splitlines()[-1])
            rows.append((name, float(np.mean(found["seconds"])), found.get("plan", "")))
            print(f"# {name}: {rows[-1][1]:.1f} s {rows[-1][2]}", file=sys.stderr, flush=True)
    own = rows[-1][1]
    work = flops_of_epoch(size, slices) / 1e9
    print(f"patches of 256 px, {slices} slices of {size}², {threads} threads, {rows[-1][2]}; ")
    print(f"matrix products: {tops['bf16']:.0f} GFLOP/s in bf16, {tops['fp32']:.0f} in fp32\n")
    print("| way | s an epoch | × osteon | GFLOP/s | of bf16 peak | of fp32 peak |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, seconds, note in rows:
        name = f"{name} ({note})" if note == "from one slice" else name
        rate = work / seconds
        shares = " | ".join(f"{rate / tops[kind]:.0%}" for kind in ("bf16", "fp32"))
        print(f"| {name} | {seconds:.1f} | {seconds / own:.2f} | {rate:.0f} | {shares} |")


def memory(sizes: list[int], size: int) -> None:
    print("| slices | scans, MiB | peak MiB of the fit |")
    print("| --- | --- | --- |")
    for slices in sizes:
        with tempfile.TemporaryDirectory() as text:
            folder = Path(text)
            manifest = make_scans(folder, size=size, slices=slices)
            command = [sys.executable, "-m", "osteon", "fit", str(manifest)]
            command += ["--out", str(folder / "run"), "--json"]
            for setting in (
                "training.max_minutes=0.5", "validation.max_slices=4", "training.cache=64MiB",
                "training.batch_size=4", "training.workers=0", "validation.specimens=[scan1]",
            ):  # fmt: skip
                command += ["--set", setting]
            subprocess.run(command, check=True, capture_output=True)
            record = json.loads((folder / "run" / "run.json").read_text())
            held = record["costs"]["peak_memory_bytes"] / 2**20
            print(f"| {slices} | {4 * slices * size**2 / 2**20:.0f} | {held:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=["speed", "memory", "plain", "ours"])
    parser.add_argument("precision", nargs="?", default="bf16")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--slices", type=int, nargs="+", default=None)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--few", action="store_true")
    args = parser.parse_args()
    if args.task == "plain":
        print(
            json.dumps(plain(args.folder, args.precision, args.epochs, args.threads, few=args.few))
        )
    elif args.task == "ours":
        print(json.dumps(ours(args.folder, args.epochs, args.threads)))
    elif args.task == "speed":
        speed(args.size, (args.slices or [24])[0], args.epochs, args.threads)
    else:
        memory(args.slices or [32, 128, 512], args.size)


if __name__ == "__main__":
    main()
