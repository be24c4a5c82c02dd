"""Predict a scan several times larger than the memory that the process may have.

    python benchmarks/larger_than_memory.py [--cap 2GiB] [--times 4] [--side 2048] [--air 0.5]
        [--dtype uint16] [--model FILE] [--work DIR] [--json]
        [-- more words of osteon predict]

Writes a scan of the size asked for (cap × times), slice by slice, uncompressed and without holes
in the files; a part of it is air with noise, the rest spongy bone. ``osteon predict`` then runs
with its private memory capped by the system (RLIMIT_DATA of Linux: heap and anonymous mappings of
the process, whether touched or not), so that more than that is refused to it. Printed are the
largest resident memory, the size of the scan, and the share of labels in three slices that are
those of the eager network on whole slices. Exit code 1 if any of it is not as it should be.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from scipy import ndimage

from osteon.files import parse_memory

#: Grey values of air, marrow and bone, and their noise.
LEVELS, NOISE = (20, 70, 170), 6.0
#: Runs a command with so many bytes of private memory, then tells the largest resident memory.
CAPPED = """
import resource, subprocess, sys
cap = int(sys.argv[1])
def limit():
    resource.setrlimit(resource.RLIMIT_DATA, (cap, cap))
done = subprocess.run(sys.argv[2:], preexec_fn=limit if cap else None)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""
#: Equal labels that are asked for where tiles were needed.
EQUAL = 0.999


def make_model(path: Path) -> None:
    """Write a small fast network of random weights: memory, not labels, is what this is about."""
    import torch

    from osteon.labels import BONE_PORES
    from osteon.model_file import Model, ModelSpec, save_model
    from osteon.networks import NetworkSpec, build_network

    torch.manual_seed(0)
    network = NetworkSpec("unet", "tu-lcnet_035", 1, 3, (16, 16, 8, 8, 8))
    spec = ModelSpec("random", network, BONE_PORES, "zscore", 1)
    save_model(path, Model(spec, build_network(network).state_dict()))


def make_scan(folder: Path, *, size: int, side: int, air: float, dtype: str) -> int:
    """Write slices of ``side`` × ``side`` pixels until they have a size in bytes.

    Holds a few slices. Every slice is another one: the structure moves, the noise is its own.

    Returns:
        The number of slices.
    """
    folder.mkdir()
    rng = np.random.default_rng(0)
    field = ndimage.gaussian_filter(rng.normal(size=(side, side)), 4, mode="wrap")
    field /= field.std()
    kind = np.digitize(field, (0.3,)) + 1
    grey = np.array(LEVELS, np.float32)
    slices = max(1, math.ceil(size / (side * side * np.dtype(dtype).itemsize)))
    for z in range(slices):
        here = np.roll(kind, (z, 2 * z), (0, 1))
        here[:, : round(air * side)] = 0
        noise = rng.normal(0, NOISE, (side, side)).astype(np.float32)
        image = np.clip(grey[here] + noise, 1, None) * 100
        tifffile.imwrite(folder / f"{z:06d}.tif", image.astype(dtype))
    return slices


def eager(model: Path, scan: Path, z: int) -> npt.NDArray[np.uint8]:
    """Labels of a whole slice by the network alone."""
    import torch

    from osteon.formats import open_volume
    from osteon.intensity import normalise, statistics
    from osteon.model_file import load_model
    from osteon.networks import build_network, load_weights

    loaded = load_model(model)
    network = build_network(loaded.spec.network)
    load_weights(network, loaded.weights)
    network.eval()
    volume = open_volume(scan)
    image = normalise(volume.read(slice(z, z + 1)), statistics(volume, loaded.spec.recipe))[0]
    height, width = image.shape
    padded = np.pad(image, [(0, -n % 32) for n in image.shape], mode="edge")
    with torch.inference_mode():
        found = network(torch.from_numpy(padded)[None, None]).argmax(1)[0]
    labels: npt.NDArray[np.uint8] = found[:height, :width].numpy().astype(np.uint8)
    return labels


def measure(args: argparse.Namespace, work: Path) -> dict[str, Any]:
    cap = parse_memory(args.cap)
    model, scan, out = args.model or work / "model.safetensors", work / "scan", work / "labels"
    if args.model is None and not model.exists():
        make_model(model)
    if not scan.exists():
        made = make_scan(
            work / "scan-part", size=round(cap * args.times), side=args.side, air=args.air,
            dtype=args.dtype,
        )  # fmt: skip
        (work / "scan-part").rename(scan)
        print(f"{made} slices of {args.side} × {args.side} were written", file=sys.stderr)
    files = sorted(scan.iterdir())
    on_disk = sum(path.stat().st_blocks * 512 for path in files)
    command = [
        sys.executable, "-c", CAPPED, str(0 if args.no_cap else cap),
        sys.executable, "-m", "osteon", "predict", str(scan), "--model", str(model),
        "--out", str(out), "--overwrite", "--set", "report=no", "--memory", args.memory,
        *args.words,
    ]  # fmt: skip
    # The threads' arenas of glibc reserve memory that the cap counts and nobody uses.
    environment = {**os.environ, "MALLOC_ARENA_MAX": "2"}
    start = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    seconds = time.perf_counter() - start
    found: dict[str, Any] = {
        "cap_mib": cap / 2**20,
        "scan_mib": len(files) * args.side**2 * np.dtype(args.dtype).itemsize / 2**20,
        "on_disk_mib": on_disk / 2**20,
        "slices": len(files),
        "air": args.air,
        "seconds": round(seconds, 1),
        "exit_code": done.returncode,
        "peak_mib": int(done.stdout.split()[-1]) / 1024 if done.stdout.split() else None,
    }
    if done.returncode == 0:
        labels = sorted(p for p in out.iterdir() if p.suffix == ".tif")
        found["labels"] = len(labels)
        found["equal"] = min(
            float((tifffile.imread(labels[z]) == eager(model, scan, z)).mean())
            for z in {0, len(files) // 2, len(files) - 1}
        )
    return found


def sound(found: dict[str, Any]) -> bool:
    return (
        found["exit_code"] == 0
        and found["labels"] == found["slices"]
        and found["equal"] >= EQUAL
        and found["peak_mib"] is not None
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cap", default="2GiB", help="private memory of the process")
    parser.add_argument("--no-cap", action="store_true", help="measure without a cap")
    parser.add_argument("--times", type=float, default=4.0, help="size of the scan, in caps")
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--air", type=float, default=0.5, help="share of the scan that is air")
    parser.add_argument("--dtype", default="uint16", choices=("uint16", "float32"))
    parser.add_argument("--memory", default="512MiB", help="what osteon predict is given")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--work", type=Path, help="folder for scan and labels; found again there")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("words", nargs="*", help="more words of osteon predict, after --")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if args.work is not None:
            args.work.mkdir(parents=True, exist_ok=True)
        found = measure(args, args.work or Path(folder))
    if args.json:
        print(json.dumps(found))
    else:
        print("| scan MiB | slices | air | cap MiB | peak MiB | seconds | equal labels |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        equal = f"{found['equal']:.4%}" if "equal" in found else "failed"
        peak = "" if found["peak_mib"] is None else f"{found['peak_mib']:.0f}"
        print(
            f"| {found['scan_mib']:.0f} | {found['slices']} | {found['air']:.0%} | "
            f"{found['cap_mib']:.0f} | {peak} | {found['seconds']} | {equal} |"
        )
    sys.exit(0 if sound(found) else 1)


if __name__ == "__main__":
    main()
