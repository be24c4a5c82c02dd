"""Speed, memory and labels of `osteon predict` from disk to disk, against other ways.

    python benchmarks/prediction.py [--model FILE] [--scan FOLDER] [--size 1024] [--slices 64]
        [--depths 64 256 1024] [--rows NAME …]

Every row is a process of its own, from TIFF slices to TIFF slices; peak memory is the operating
system's figure for it. Equal labels are counted against whole slices in fp32. The model is a 2D
U-Net/ResNet-18 with one channel; without --model its weights are random, whose labels are near ties
everywhere: shares of equal labels then say nothing of a fitted one. Without --scan the scan is
simulated. The second table is of memory, by the number of slices (the scan repeated).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile

#: Reads a scan as osteon does; each other way then runs the network in its own manner.
BEGIN = """
import sys, tifffile, numpy as np, torch
from pathlib import Path
from osteon.formats import open_volume
from osteon.intensity import normalise, statistics
from osteon.model_file import load_model
from osteon.networks import build_network, load_weights
model = load_model(Path(sys.argv[1]))
net = build_network(model.spec.network); load_weights(net, model.weights); net.eval()
scan = open_volume(Path(sys.argv[2])); stats = statistics(scan, model.spec.recipe)
out = Path(sys.argv[3]); out.mkdir()
def padded(image):
    return np.pad(image, [(0, -n % 32) for n in image.shape], mode="edge")
with torch.inference_mode():
    for z in range(scan.shape[0]):
        image = normalise(scan.read(slice(z, z + 1)), stats)[0]
        height, width = image.shape
        batch = torch.from_numpy(padded(image))[None, None]
"""
END = """
        labels = logits.argmax(1)[0, :height, :width].numpy().astype(np.uint8)
        tifffile.imwrite(out / f"{z:04d}.tif", labels)
"""
#: Whole slices through the eager network.
WHOLE = f"{BEGIN}        logits = net(batch)\n{END}"
#: MONAI's sliding window as its users call it.
MONAI = (
    BEGIN.replace(
        "import sys", "from monai.inferers import sliding_window_inference\nimport sys", 1
    )
    + """
        logits = sliding_window_inference(
            batch, (256, 256), sw_batch_size=4, predictor=net, overlap=0.5, mode="gaussian")
"""
    + END
)
#: Keep PyTorch and oneDNN from using more than AVX2.
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "DNNL_MAX_CPU_ISA": "AVX2"}
REFERENCE = "whole slices, eager torch fp32"
BACKENDS = ("torch", "openvino", "onnxruntime")


def make_model(path: Path) -> None:
    """Write a U-Net/ResNet-18 of random weights."""
    import torch

    from osteon.labels import BONE_PORES
    from osteon.model_file import Model, ModelSpec, save_model
    from osteon.networks import NetworkSpec, build_network

    torch.manual_seed(0)
    network = NetworkSpec("unet", "resnet18", 1, 3, (256, 128, 64, 32, 16))
    spec = ModelSpec("random", network, BONE_PORES, "zscore", 1)
    save_model(path, Model(spec, build_network(network).state_dict()))


def make_scan(folder: Path, *, size: int, slices: int) -> None:
    """Write a simulated scan as TIFF slices."""
    made = folder.with_name("simulated")
    settings = [f"size={size}", f"slices={slices}", "kinds=[vertebra]"]
    words = [word for item in settings for word in ("--set", item)]
    command = [sys.executable, "-m", "osteon", "simulate", "scan", "--out", str(made), *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    write_slices(folder, made / "scan")


def write_slices(folder: Path, source: Path) -> None:
    """Copy TIFF slices to a folder that holds nothing else."""
    folder.mkdir()
    for z, path in enumerate(slices_of(source)):
        shutil.copyfile(path, folder / f"{z:05d}.tif")


def slices_of(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in (".tif", ".tiff"))


def run(command: list[str], environment: dict[str, str] | None = None) -> tuple[float, float]:
    """Return seconds and peak MiB of a process.

    Raises:
        RuntimeError: If it fails.
    """
    code = (
        "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], "
        "stdout=subprocess.DEVNULL, stderr=subprocess.PIPE); "
        "done.returncode and sys.exit(done.stderr[-2000:].decode()); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *command],
        capture_output=True, text=True, env={**os.environ, **(environment or {})},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr)
    return time.perf_counter() - start, int(done.stdout) / 1024


def osteon(scan: Path, model: Path, *words: str) -> list[str]:
    return [
        sys.executable, "-m", "osteon", "predict", str(scan), "--model", str(model),
        "--overwrite", "--set", "report=no", *words, "--out",
    ]  # fmt: skip


def ways(scan: Path, model: Path) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Commands by row, without their target; and what is added to the environment."""

    def script(text: str) -> list[str]:
        return [sys.executable, "-c", text, str(model), str(scan)]

    rows = {
        REFERENCE: (script(WHOLE), {}),
        "the same, capped to AVX2": (script(WHOLE), AVX2),
        "MONAI sliding window, eager": (script(MONAI), {}),
    }
    for name in BACKENDS:
        rows[f"osteon, {name}"] = (osteon(scan, model, "--backend", name), {})
    rows["osteon, --speed normal"] = (osteon(scan, model), {})
    rows["osteon, --speed fast"] = (osteon(scan, model, "--speed", "fast"), {})
    rows["osteon, openvino --speed fast"] = (
        osteon(scan, model, "--backend", "openvino", "--speed", "fast"), {},
    )  # fmt: skip
    return rows


def equal_share(a: Path, b: Path) -> float:
    """Share of equal labels of two folders of slices."""
    pairs = list(zip(slices_of(a), slices_of(b), strict=True))
    return float(np.mean([(tifffile.imread(p) == tifffile.imread(q)).mean() for p, q in pairs]))


def remark(labels: Path) -> str:
    """What osteon says of the backend in its record."""
    record = labels.with_name(f"{labels.name}.osteon.json")
    if not record.exists():
        return ""
    found = json.loads(record.read_text(encoding="utf-8"))
    fast = found.get("fast")
    said = found["backend"]
    return said if fast is None or fast["used"] else f"{said}; int8 refused: {fast['why']}"


def speed_table(work: Path, scan: Path, model: Path, wanted: list[str]) -> None:
    voxels = sum(tifffile.imread(p).size for p in slices_of(scan))
    print("| way | seconds | Mvoxel/s | × MONAI | peak MiB | equal labels | backend |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    rows = ways(scan, model)
    first = [REFERENCE, "MONAI sliding window, eager"]
    reference, monai = work / "labels-0", None
    for number, name in enumerate([*first, *(n for n in rows if n not in first)]):
        if wanted and name not in (*wanted, REFERENCE):
            continue
        command, environment = rows[name]
        out = work / f"labels-{number}"
        try:
            seconds, peak = run([*command, str(out)], environment)
        except RuntimeError as error:
            print(f"| {name} | failed: {str(error).strip().splitlines()[-1]} | | | | | |")
            continue
        if name == first[1]:
            monai = seconds
        times = "" if monai is None else f"{monai / seconds:.1f}"
        print(
            f"| {name} | {seconds:.1f} | {voxels / seconds / 1e6:.3f} | {times} | {peak:.0f} | "
            f"{equal_share(out, reference):.4%} | {remark(out)} |",
            flush=True,
        )


def memory_table(work: Path, scan: Path, model: Path, depths: list[int]) -> None:
    """Peak memory by the number of slices, for each backend."""
    files = slices_of(scan)
    print("\n| backend | slices | seconds | peak MiB |\n| --- | --- | --- | --- |", flush=True)
    for depth in depths:
        deep, out = work / f"deep-{depth}", work / "deep-labels"
        deep.mkdir()
        for z in range(depth):
            os.link(files[z % len(files)], deep / f"{z:05d}.tif")
        for name in BACKENDS:
            seconds, peak = run([*osteon(deep, model, "--backend", name), str(out)])
            print(f"| {name} | {depth} | {seconds:.1f} | {peak:.0f} |", flush=True)
        shutil.rmtree(deep)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path)
    parser.add_argument("--scan", type=Path, help="folder of TIFF slices")
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--slices", type=int, default=64)
    parser.add_argument("--depths", type=int, nargs="*", default=[64, 256, 1024])
    parser.add_argument("--rows", nargs="*", default=[], help="only these rows")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        model = args.model or work / "model.safetensors"
        if args.model is None:
            make_model(model)
        scan = work / "scan"
        if args.scan is None:
            make_scan(scan, size=args.size, slices=args.slices)
        else:
            write_slices(scan, args.scan)
        speed_table(work, scan, model, args.rows)
        if args.depths:
            memory_table(work, scan, model, args.depths)


if __name__ == "__main__":
    main()
