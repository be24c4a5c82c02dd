"""How fast local thickness is, beside porespy's, on the same binary volume and in one run.

    python benchmarks/thickness.py [--size 256] [--share 0.25] [--repeats 3] [--json FILE]

The volume is smoothed noise above a level, with trabeculae about 7 voxels thick, of which ``share``
is bone. All do the whole of the work, distance map included. porespy (``pip install porespy``, no
dependency of osteon) is run in two ways:

- all radii that there are (its method 'legacy'): the same definition; the benchmark checks that
  the results are the same. Run once, for it is slow. Target: osteon at least as fast, at 256³.
- whole radii alone (its default, 'bf', compiled by numba on a small volume before): another,
  coarser result, whose mean is about a voxel smaller. It may be faster.

Ratios are of wall time, best of the repeats, with processor time beside them; all use all cores.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def all_radii(porespy: Any, mask: np.ndarray) -> np.ndarray:
    """Return porespy's local thickness of every radius, as a diameter."""
    find, distance = porespy.filters.local_thickness, porespy.tools.get_edt()(mask)
    radii = np.unique(distance[mask])  # given, for its own way of taking all goes the wrong way
    return 2 * np.asarray(find(mask, dt=distance, method="legacy", sizes=radii, smooth=False))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256, help="voxels along each axis")
    parser.add_argument("--share", type=float, default=0.25, help="part of the volume that is bone")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--marrow", action="store_true", help="also of what is not bone; slow")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    import porespy

    porespy.settings.tqdm["disable"] = True
    mask = bone(options.size, options.share)
    porespy.filters.local_thickness(mask[:32, :32, :32])
    rows = []
    for name, structure in (("bone", mask), ("marrow", ~mask))[: 2 if options.marrow else 1]:
        exact = best(lambda s=structure: all_radii(porespy, s), 1)
        whole = best(lambda s=structure: porespy.filters.local_thickness(s), options.repeats)
        plain = best(lambda s=structure: local_thickness(s, clean=False), options.repeats)
        ours = best(lambda s=structure: local_thickness(s), options.repeats)
        np.testing.assert_allclose(plain[2][structure], exact[2][structure], rtol=1e-5)
        rows.append(
            {
                "structure": name,
                "size": options.size,
                "share": round(float(structure.mean()), 3),
                "porespy_all_radii_s": round(exact[0], 2),
                "porespy_whole_radii_s": round(whole[0], 2),
                "osteon_s": round(plain[0], 2),
                "osteon_with_clean_up_s": round(ours[0], 2),
                "processor_s": {
                    "porespy_all_radii": round(exact[1], 2),
                    "porespy_whole_radii": round(whole[1], 2),
                    "osteon": round(plain[1], 2),
                    "osteon_with_clean_up": round(ours[1], 2),
                },
                "ratio_all_radii": round(exact[0] / plain[0], 2),
                "ratio_whole_radii": round(whole[0] / plain[0], 2),
                "mean": round(float(plain[2][structure].mean()), 3),
                "mean_with_clean_up": round(float(ours[2][structure].mean()), 3),
                "mean_whole_radii": round(2 * float(whole[2][structure].mean()), 3),
            }
        )
    print(json.dumps(rows, indent=1))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
