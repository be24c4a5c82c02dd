"""More tables behind the settings: normalisation, backends."""

from __future__ import annotations

from osteon.registry import Row, Table

#: Normalisation recipes. A recipe's name and version never change their meaning.
RECIPES = Table(
    "recipes",
    (
        Row(
            "zscore",
            "mean 0, SD 1 over the voxels that are not fill (0 in unsigned scans; in signed and "
            "float scans the minimum, if many voxels share it)",
            "osteon.intensity:zscore",
            {"version": 1},
        ),
        Row(
            "percentile",
            "-2 at the 1st and 2 at the 99th percentile of the voxels that are not fill: shifts "
            "less than zscore with the share of air in view",
            "osteon.intensity:percentile",
            {"version": 1},
        ),
        Row(
            "edges",
            "-1 on the dark and 1 on the bright side of the edges of bone: hardly shifts with the "
            "share of air in view, padding or the grey window",
            "osteon.intensity:edges",
            {"version": 1},
        ),
        Row(
            "reference-zscore-positive",
            "the original's: mean 0, SD 1 over voxels > 0 (unfit for signed data)",
            "osteon.intensity:zscore_positive",
            {"version": 1},
        ),
        Row(
            "reference-minmax-positive",
            "the original's: 0..1 between minimum and maximum of voxels > 0",
            "osteon.intensity:minmax_positive",
            {"version": 1},
        ),
    ),
)

#: Rows say in which formats their arithmetic can be on a CPU and what must be installed; in the
#: order in which one is taken where none is clearly faster.
BACKENDS = Table(
    "backends",
    (
        Row(
            "torch",
            "PyTorch on the CPU, an NVIDIA GPU (CUDA) or an Apple GPU (MPS)",
            "osteon.backends.torch_backend:TorchBackend",
            {"cpu": ("fp32", "bf16"), "libraries": ()},
        ),
        Row(
            "openvino",
            'OpenVINO on the CPU (pip install "osteon[fast]"); int8 by --speed fast',
            "osteon.backends.openvino_backend:OpenVinoBackend",
            {"cpu": ("fp32", "bf16"), "libraries": ("openvino", "onnx")},
            extra="fast",
        ),
        Row(
            "onnxruntime",
            "ONNX Runtime on the CPU, or a GPU by CUDA, DirectML or CoreML (pip install "
            '"osteon[onnx]")',
            "osteon.backends.onnxruntime_backend:OnnxRuntimeBackend",
            {"cpu": ("fp32",), "libraries": ("onnxruntime", "onnx")},
            extra="onnx",
        ),
    ),
)
#: In place of a backend: the fastest that is installed.
AUTO = "auto"
