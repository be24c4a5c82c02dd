"""The ways from a scan on the disk to labels on the disk that `prediction.py` measures."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
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
#: The network alone, slice by slice, by a backend; reading and normalising are not counted. The
#: first call of a shape is counted, as the command has it too.
OWN = (
    BEGIN.replace(
        "import sys",
        "import time; from osteon.backends import open_backend\n"
        "from osteon.settings import PredictSettings\nimport sys",
        1,
    ).replace(
        "scan = open_volume",
        "backend = open_backend(model.spec.network, model.weights,"
        " PredictSettings(backend=sys.argv[4]))\nspent = 0.0\nscan = open_volume",
        1,
    )
    + """
        image = np.ascontiguousarray(batch.numpy(), np.float32)
        start = time.perf_counter(); backend.labels(image); spent += time.perf_counter() - start
(out / "seconds").write_text(str(spent))
"""
)
#: Floating-point operations a second of matrix products: larger ones as long as they are quick (in
#: bf16 a processor without it takes minutes for what another does at once).
PEAK = """
import sys, time, torch
kind, best, n = getattr(torch, sys.argv[1]), 0.0, 256
while n <= 4096:
    a, b = torch.randn(n, n).to(kind), torch.randn(n, n).to(kind)
    a @ b
    taken = []
    for _ in range(3):
        start = time.perf_counter(); a @ b; taken.append(time.perf_counter() - start)
    best = max(best, 2 * n ** 3 / min(taken))
    if sum(taken) > 1:
        break
    n *= 2
print(best)
"""
MONAI_ROW = "MONAI sliding window, eager"
NORMAL = "osteon, --speed normal"
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
        MONAI_ROW: (script(MONAI), {}),
    }
    for name in BACKENDS:
        rows[f"osteon, {name}"] = (osteon(scan, model, "--backend", name), {})
    rows[NORMAL] = (osteon(scan, model), {})
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
