"""What moving the surface of bone costs: the same prediction with and without it, in one run.

    python benchmarks/surface.py --scan FOLDER [--model NAME|FILE] [--repeats 2] [-- more words]

Each way is run in a process of its own, from files to files, in turn; the best of the repeats
counts. Printed are seconds, the ratio, and the share of labels that differ.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from osteon.formats import open_volume

WAYS = ("network", "half-maximum")


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scan", type=Path, required=True)
    parser.add_argument("--model", default="bone-pores")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("words", nargs="*", help="more words of osteon predict, after --")
    args = parser.parse_args()
    best = dict.fromkeys(WAYS, float("inf"))
    with tempfile.TemporaryDirectory() as folder:
        targets = {way: Path(folder) / f"{way}.npy" for way in WAYS}
        for _ in range(args.repeats):
            for way, target in targets.items():
                command = [
                    sys.executable, "-m", "osteon", "predict", str(args.scan), "--out", str(target),
                    "--model", args.model, "--overwrite", "--set", f"surface={way}",
                    "--set", "report=no", *args.words,
                ]  # fmt: skip
                start = time.monotonic()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                best[way] = min(best[way], time.monotonic() - start)
        first, second = (open_volume(target).read(slice(None)) for target in targets.values())
    voxels = first.size / 1e6
    print("| surface | seconds | Mvoxel/s | ratio | labels that differ |")
    print("| --- | --- | --- | --- | --- |")
    for way, seconds in best.items():
        differ = f"{np.mean(first != second):.2%}" if way == WAYS[1] else ""
        ratio = seconds / best[WAYS[0]]
        print(f"| {way} | {seconds:.1f} | {voxels / seconds:.2f} | {ratio:.2f} | {differ} |")


if __name__ == "__main__":
    main()
