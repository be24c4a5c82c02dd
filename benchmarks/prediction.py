"""Speed, memory and labels of `osteon predict` from disk to disk, against other ways.

    python benchmarks/prediction.py [--model FILE] [--scan FOLDER …] [--no-simulated]
        [--size 1024] [--slices 64] [--depths 64 256 1024] [--rows NAME …]
        [--memory-of NAME …] [--work DIR]

Every row is a process of its own, from TIFF slices to TIFF slices; peak memory is the operating
system's figure for it. Equal labels are counted against whole slices in fp32. The model is a 2D
U-Net/ResNet-18 with one channel; without --model its weights are random, whose labels are near ties
everywhere: shares of equal labels then say nothing of a fitted one. The scans are a simulated one
and those of --scan. For each scan there is a table of ways, with the share of this machine's
measured peak of matrix products in bf16 (a processor without it emulates them slowly: the share of
the peak in fp32 stands beside) that their speed stands for, and what the whole command
takes over the network's own time; the first scan is also measured with a third of its slices air,
which are skipped or not, and for memory by the number of slices (the scan repeated).

With --work what is finished is kept there (`rows.json`), and the same command goes on from it; the
tables are printed at the end from all rows.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

sys.path.insert(0, str(Path(__file__).resolve().parent))
from prediction_ways import (
    BACKENDS,
    MONAI_ROW,
    NORMAL,
    OWN,
    PEAK,
    REFERENCE,
    equal_share,
    make_model,
    make_scan,
    osteon,
    remark,
    run,
    slices_of,
    ways,
    write_slices,
)

#: Share of the slices that are air in the scan that skipping is measured on.
AIR = 1 / 3
#: Name of `--speed fast` among the ways of which memory is measured.
FAST = "fast"


class Rows:
    """Finished rows, each on the disk as soon as it is there.

    Raises:
        SystemExit: If the folder holds rows of something else.
    """

    def __init__(self, path: Path, of: dict[str, Any]):
        self._path = path
        self._found: dict[str, Any] = {"of": of, "rows": {}}
        if path.exists():
            self._found = json.loads(path.read_text(encoding="utf-8"))
            if self._found["of"] != of:
                sys.exit(f"{path} has rows of other choices: give another --work")

    def __getitem__(self, key: str) -> dict[str, Any]:
        found: dict[str, Any] = self._found["rows"].get(key, {})
        return found

    def measure(self, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return a row, measured now if it is not there; one that failed is tried again."""
        rows = self._found["rows"]
        if key not in rows or "failed" in rows[key]:
            try:
                rows[key] = make()
            except RuntimeError as error:
                rows[key] = {"failed": str(error).strip().splitlines()[-1]}
            part = self._path.with_suffix(".part")
            part.write_text(json.dumps(self._found, indent=1), encoding="utf-8")
            part.replace(self._path)
            print(f"{key}: {rows[key]}", file=sys.stderr, flush=True)
        return self[key]


def measured(
    command: list[str], out: Path, environment: dict[str, str] | None = None
) -> dict[str, Any]:
    """Run a command to a folder of labels, which replaces an earlier one."""
    shutil.rmtree(out, ignore_errors=True)
    out.with_name(f"{out.name}.osteon.json").unlink(missing_ok=True)
    seconds, peak = run([*command, str(out)], environment)
    return {"seconds": seconds, "peak_mib": peak, "said": remark(out)}


def speed_rows(rows: Rows, work: Path, scan: Path, model: Path, wanted: list[str]) -> None:
    found, folder = ways(scan, model), work / f"labels of {scan.name}"
    folder.mkdir(exist_ok=True)
    reference = folder / "reference"

    def one(name: str, out: Path) -> dict[str, Any]:
        made = measured(found[name][0], out, found[name][1])
        return {**made, "equal": equal_share(out, reference)}

    for name in found:
        if name == REFERENCE or not wanted or name in wanted:
            out = reference if name == REFERENCE else folder / "labels"
            rows.measure(f"{scan.name} | {name}", lambda name=name, out=out: one(name, out))  # type: ignore[misc]
    said = rows[f"{scan.name} | {NORMAL}"].get("said", "")
    if said:
        rows.measure(
            f"{scan.name} | own time",
            lambda: own_time(model, scan, folder / "own", said.split()[0]),
        )


def own_time(model: Path, scan: Path, out: Path, backend: str) -> dict[str, Any]:
    """Seconds of the network alone, of the backend that osteon picked."""
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-c", OWN, str(model), str(scan), str(out), backend]
    run(command)
    return {"seconds": float((out / "seconds").read_text()), "said": backend}


def peaks(rows: Rows) -> None:
    for kind in ("bfloat16", "float32"):

        def one(kind: str = kind) -> dict[str, Any]:
            done = subprocess.run(
                [sys.executable, "-c", PEAK, kind], capture_output=True, text=True
            )
            if done.returncode:
                raise RuntimeError(done.stderr)
            return {"flops": float(done.stdout)}

        rows.measure(f"peak | {kind}", one)


def flops_per_voxel(model: Path) -> float:
    from osteon.model_file import load_model
    from osteon.networks import network_costs

    network = load_model(model).spec.network
    return network_costs(network, (1, network.in_channels, 256, 256)).flops / 256**2


def air_scan(folder: Path, source: Path) -> None:
    """Copy a scan of which a third of the slices is air, as noisy as its darkest corner is."""
    files = slices_of(source)
    first = tifffile.imread(files[0])
    corners = [first[y, x] for y in (slice(0, 48), slice(-48, None)) for x in (slice(0, 48),)]
    corner = min(corners, key=lambda part: float(part.mean()))
    rng, limit = np.random.default_rng(0), np.iinfo(first.dtype)
    folder.mkdir()
    for z, path in enumerate(files):
        if z < round(AIR * len(files)):
            noise = rng.normal(corner.mean(), max(float(corner.std()), 0.5), first.shape)
            image = np.clip(np.round(noise), max(limit.min, 1), limit.max).astype(first.dtype)
            tifffile.imwrite(folder / f"{z:05d}.tif", image)
        else:
            shutil.copyfile(path, folder / f"{z:05d}.tif")


def skips() -> bool:
    """Whether this version has the switch."""
    from osteon.settings import PredictSettings

    return "skip_air" in PredictSettings.model_fields


def air_rows(rows: Rows, work: Path, scan: Path, model: Path) -> None:
    if not skips():
        return
    full = work / f"labels of {scan.name}, no"
    for name in ("no", "yes"):

        def one(name: str = name) -> dict[str, Any]:
            command = osteon(scan, model, "--set", f"skip_air={name}")
            out = work / f"labels of {scan.name}, {name}"
            return {**measured(command, out), "equal": equal_share(out, full)}

        rows.measure(f"{scan.name} | skip_air={name}", one)


def memory_rows(
    rows: Rows, work: Path, scan: Path, model: Path, *, depths: list[int], ways: list[str]
) -> None:
    """Peak memory by the number of slices, for backends and ``--speed fast``."""
    files = slices_of(scan)
    for depth in depths:
        for name in ways:
            how = ("--speed", "fast") if name == FAST else ("--backend", name)

            def one(how: tuple[str, str] = how, depth: int = depth) -> dict[str, Any]:
                deep = work / f"deep-{depth}"
                shutil.rmtree(deep, ignore_errors=True)
                deep.mkdir()
                for z in range(depth):
                    os.link(files[z % len(files)], deep / f"{z:05d}.tif")
                try:
                    return measured(osteon(deep, model, *how), work / "deep-labels")
                finally:
                    shutil.rmtree(deep)

            rows.measure(f"memory | {name} | {depth}", one)


def table(head: str, lines: list[str]) -> None:
    columns = head.count("|") - 1
    print(f"\n{head}\n|{' --- |' * columns}")
    print("\n".join(lines), flush=True)


def print_speed(rows: Rows, scan: Path, model: Path) -> None:
    voxels = sum(tifffile.imread(p).size for p in slices_of(scan))
    work = voxels * flops_per_voxel(model)
    peak = {kind: rows[f"peak | {kind}"].get("flops") for kind in ("bfloat16", "float32")}
    told = ", ".join(f"{k} {v / 1e9:.0f} GFLOP/s" for k, v in peak.items() if v)
    print(f"\n{scan.name}: {voxels / 1e6:.1f} Mvoxel, {work / 1e12:.2f} TFLOP; peaks: {told}")
    monai = rows[f"{scan.name} | {MONAI_ROW}"].get("seconds")
    lines = []
    for name in ways(scan, model):
        row = rows[f"{scan.name} | {name}"]
        if "seconds" not in row:
            if row:
                lines.append(f"| {name} | failed: {row['failed']} | | | | | | | |")
            continue
        seconds = row["seconds"]
        times = f"{monai / seconds:.1f}" if monai else ""
        shares = [f"{work / seconds / p:.0%}" if p else "" for p in peak.values()]
        lines.append(
            f"| {name} | {seconds:.1f} | {voxels / seconds / 1e6:.3f} | {times} | "
            f"{row['peak_mib']:.0f} | {row['equal']:.4%} | {shares[0]} | {shares[1]} | "
            f"{row['said']} |"
        )
    table(
        "| way | seconds | Mvoxel/s | × MONAI | peak MiB | equal labels | of bf16 peak | "
        "of fp32 peak | backend |",
        lines,
    )
    own, whole = (rows[f"{scan.name} | {n}"].get("seconds") for n in ("own time", NORMAL))
    if own and whole:
        print(f"\nThe whole command takes {whole / own:.2f} times the network's own {own:.1f} s.")


def print_air(rows: Rows, scan: Path) -> None:
    if not skips():
        print("\nSkipping air: this version has no such switch.")
        return
    off, on = (rows[f"{scan.name} | skip_air={name}"] for name in ("no", "yes"))
    if "seconds" in off and "seconds" in on:
        table(
            "| a third of the slices is air | seconds | × | equal labels |",
            [
                f"| all is run | {off['seconds']:.1f} | 1.00 | |",
                f"| air is skipped | {on['seconds']:.1f} | {off['seconds'] / on['seconds']:.2f} | "
                f"{on['equal']:.4%} |",
            ],
        )


def print_memory(rows: Rows, depths: list[int], ways: list[str]) -> None:
    lines = []
    for name in ways:
        found = {d: rows[f"memory | {name} | {d}"] for d in depths}
        known = [row["peak_mib"] for row in found.values() if "peak_mib" in row]
        spread = f"{max(known) / min(known) - 1:.1%}" if len(known) > 1 else ""
        for depth, row in found.items():
            peak = f"{row['peak_mib']:.0f}" if "peak_mib" in row else row.get("failed", "")
            lines.append(f"| {name} | {depth} | {row.get('seconds', 0):.1f} | {peak} | {spread} |")
    table("| way | slices | seconds | peak MiB | largest difference |", lines)


def scans_of(args: argparse.Namespace, work: Path) -> list[Path]:
    """Folders of slices, made or copied once."""
    found = []
    if not args.no_simulated:
        scan = work / f"simulated {args.size} × {args.size} × {args.slices}"
        if not scan.exists():
            part = work / "part"
            shutil.rmtree(part, ignore_errors=True)
            shutil.rmtree(work / "simulated", ignore_errors=True)
            make_scan(part, size=args.size, slices=args.slices)
            part.rename(scan)
        found.append(scan)
    for source in args.scan:
        scan = work / (source.parent.name if source.name == "scan" else source.name)
        if not scan.exists():
            part = work / "part"
            shutil.rmtree(part, ignore_errors=True)
            write_slices(part, source)
            part.rename(scan)
        found.append(scan)
    return found


def measure(args: argparse.Namespace, work: Path) -> None:
    model = args.model or work / "model.safetensors"
    if not model.exists():
        make_model(model)
    scans = scans_of(args, work)
    of = {"model": str(args.model), "size": args.size, "slices": args.slices}
    rows = Rows(work / "rows.json", of)
    peaks(rows)
    for scan in scans:
        speed_rows(rows, work, scan, model, args.rows)
        print_speed(rows, scan, model)
    airy = scans[0].with_name(f"{scans[0].name}, a third air")
    if not airy.exists():
        part = work / "part"
        shutil.rmtree(part, ignore_errors=True)
        air_scan(part, scans[0])
        part.rename(airy)
    air_rows(rows, work, airy, model)
    print_air(rows, airy)
    memory_rows(rows, work, scans[0], model, depths=args.depths, ways=args.memory_of)
    if args.depths:
        print_memory(rows, args.depths, args.memory_of)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path)
    parser.add_argument("--scan", type=Path, nargs="*", default=[], help="folders of TIFF slices")
    parser.add_argument("--no-simulated", action="store_true", help="only the scans of --scan")
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--slices", type=int, default=64)
    parser.add_argument("--depths", type=int, nargs="*", default=[64, 256, 1024])
    parser.add_argument(
        "--memory-of", nargs="*", default=list(BACKENDS), choices=[*BACKENDS, FAST],
        help="ways of which peak memory is measured",
    )  # fmt: skip
    parser.add_argument("--rows", nargs="*", default=[], help="only these rows")
    parser.add_argument("--work", type=Path, help="keeps scans, labels and finished rows")
    args = parser.parse_args()
    if args.no_simulated and not args.scan:
        parser.error("--no-simulated needs --scan")
    with tempfile.TemporaryDirectory() as folder:
        if args.work is not None:
            args.work.mkdir(parents=True, exist_ok=True)
        measure(args, args.work or Path(folder))


if __name__ == "__main__":
    main()
