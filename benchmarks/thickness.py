"""How fast local thickness is, beside porespy's, on the same binary volume and in one run.

    python benchmarks/thickness.py [--size 256] [--share 0.25] [--repeats 3] [--json FILE]

The volume is smoothed noise above a level, with trabeculae about 7 voxels thick, of which ``share``
is bone; its marrow is measured, too. Both libraries do all of the work, distance map included.
porespy (``pip install porespy``, no dependency of osteon; its fastest method, 'bf') takes whole
radii alone; osteon every radius that there is, and cleans the surface as BoneJ does. porespy
is run once on a small volume before, to be compiled. Best of the repeats; figures are ratios of
wall time, with the processor time beside them, for porespy uses all cores and osteon one.
Target: bone at 256³ at least as fast as porespy.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from osteon.morphometry import local_thickness

SIGMA = 3.0  # voxels; gives trabeculae about 7 voxels thick


def bone(size: int, share: float) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal((size,) * 3, dtype=np.float32)
    noise = gaussian_filter(noise, SIGMA)
    return noise > np.quantile(noise[::4, ::4, ::4], 1 - share)


def best(work: Callable[[], np.ndarray], repeats: int) -> tuple[float, float, np.ndarray]:
    """Return the shortest wall time, its processor time, and the result."""
    times = []
    for _ in range(repeats):
        wall, processor = time.perf_counter(), time.process_time()
        result = work()
        times.append((time.perf_counter() - wall, time.process_time() - processor))
    return *min(times), result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256, help="voxels along each axis")
    parser.add_argument("--share", type=float, default=0.25, help="part of the volume that is bone")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    import porespy

    porespy.settings.tqdm["disable"] = True
    mask = bone(options.size, options.share)
    porespy.filters.local_thickness(mask[:32, :32, :32])
    rows = []
    for name, structure in (("bone", mask), ("marrow", ~mask)):
        theirs = best(lambda s=structure: porespy.filters.local_thickness(s), options.repeats)
        ours = best(lambda s=structure: local_thickness(s), options.repeats)
        plain = best(lambda s=structure: local_thickness(s, clean=False), options.repeats)
        rows.append(
            {
                "structure": name,
                "size": options.size,
                "share": round(float(structure.mean()), 3),
                "porespy_s": round(theirs[0], 2),
                "porespy_processor_s": round(theirs[1], 2),
                "osteon_s": round(ours[0], 2),
                "osteon_processor_s": round(ours[1], 2),
                "osteon_without_clean_up_s": round(plain[0], 2),
                "ratio": round(theirs[0] / ours[0], 2),
                "ratio_without_clean_up": round(theirs[0] / plain[0], 2),
                "porespy_mean": round(2 * float(theirs[2][structure].mean()), 3),
                "osteon_mean": round(float(ours[2][structure].mean()), 3),
            }
        )
    print(json.dumps(rows, indent=1))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
