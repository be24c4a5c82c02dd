"""How fast a confusion matrix is counted, and how much memory an evaluation takes.

    python benchmarks/evaluation.py [--mvoxels 64] [--threads 1] [--json FILE]

Speed, from memory: osteon's against torchmetrics' MulticlassConfusionMatrix on the CPU, on the
same labels (trabeculae-like blobs, 2 % not labelled), best of three. Targets: at least 10 times
as fast and at least 300 Mvoxel/s with three classes. torchmetrics is given int64 tensors, made
beforehand, and an eighth of the voxels: it is slow, and its speed does not depend on the number.

Memory: the peak of an evaluation (tracemalloc) of volumes of 1, 4 and 16 times a size that are
computed as they are read.
"""

from __future__ import annotations

import argparse
import json
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import uniform_filter
from torchmetrics.classification import MulticlassConfusionMatrix

from osteon.evaluation import SLAB_BYTES, evaluate_pair
from osteon.metrics import confusion_matrix
from osteon.volume import Access, Geometry, Volume

REPEATS = 3
TORCHMETRICS_SHARE = 8  # it gets this fraction of the voxels


def blobs(mvoxels: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return truth and prediction: blobs of all classes, 5 % wrong, 2 % of the truth ignored."""
    rng = np.random.default_rng(0)
    block = uniform_filter(rng.random((64, 128, 128), np.float32), 7)  # 1 Mvoxel
    edges = np.quantile(block, np.linspace(0, 1, classes + 1)[1:-1])
    truth = np.tile(np.digitize(block, edges).astype(np.uint8).ravel(), mvoxels)
    prediction = truth.copy()
    wrong = rng.random(truth.size, np.float32) < 0.05
    prediction[wrong] = rng.integers(0, classes, int(wrong.sum()), np.uint8)
    truth[rng.random(truth.size, np.float32) < 0.02] = 255
    return truth, prediction


def best_seconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def speed(mvoxels: int, classes: int) -> dict[str, float]:
    truth, prediction = blobs(mvoxels, classes)
    part = truth.size // TORCHMETRICS_SHARE
    t = torch.from_numpy(truth[:part]).long()
    p = torch.from_numpy(prediction[:part]).long()

    def reference() -> np.ndarray:
        metric = MulticlassConfusionMatrix(classes, ignore_index=255, validate_args=False)
        metric.update(p, t)
        return metric.compute().numpy()

    def ours() -> np.ndarray:
        return confusion_matrix(truth, prediction, classes=classes)

    np.testing.assert_array_equal(
        confusion_matrix(truth[:part], prediction[:part], classes=classes), reference()
    )
    fast = truth.size / best_seconds(ours) / 1e6
    slow = part / best_seconds(reference) / 1e6
    return {
        "classes": classes,
        "osteon_mvoxel_s": round(fast, 1),
        "torchmetrics_mvoxel_s": round(slow, 1),
        "ratio": round(fast / slow, 1),
    }


class Generated(Volume):
    """A label volume that is computed as it is read."""

    def __init__(self, depth: int):
        self.path, self.shape = Path("generated"), (depth, 1024, 1024)
        self.dtype, self.geometry = np.dtype("uint8"), Geometry()
        self.access, self.chunks, self.provenance = Access.RANDOM, (1, 1024, 1024), {}

    def read(self, z: slice, y: slice = slice(None), x: slice = slice(None)) -> np.ndarray:
        """Compute a block."""
        z, y, x = self.bounds(z, y, x)
        out = np.zeros((z.stop - z.start, y.stop - y.start, x.stop - x.start), np.uint8)
        out[:, ::3] = 1
        return out


def memory() -> list[dict[str, float]]:
    rows = []
    for depth in (64, 256, 1024):
        tracemalloc.start()
        start = time.perf_counter()
        evaluate_pair(Generated(depth), Generated(depth))
        seconds = time.perf_counter() - start
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        rows.append(
            {
                "mvoxels": depth,
                "peak_mib": round(peak / 2**20, 2),
                "slab_mib": SLAB_BYTES / 2**20,
                "mvoxel_s_with_reading": round(depth * 2**20 / seconds / 1e6, 1),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mvoxels", type=int, default=64, help="voxels to count, in 2**20")
    parser.add_argument("--threads", type=int, default=1, help="threads given to torch")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    result = {
        "torch_threads": options.threads,
        "speed": [speed(options.mvoxels, k) for k in (2, 3, 4, 8)],
        "memory": memory(),
    }
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
