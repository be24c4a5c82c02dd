"""The tables behind the settings: networks, normalisation, backends."""

from __future__ import annotations

from osteon.registry import Row, Table

#: Capabilities of an architecture: ``dimensions`` it works in; ``global_context`` True where a
#: voxel's label may depend on the whole input (then tiles and whole slices can differ).
ARCHITECTURES = Table(
    "networks",
    (
        Row(
            "unet",
            "U-Net (Ronneberger 2015)",
            "osteon.networks:build_unet",
            {"dimensions": (2,), "global_context": False},
        ),
    ),
)

#: Capabilities of an encoder: ``divisor`` that height and width of the input must be a multiple of.
ENCODERS = Table(
    "encoders",
    tuple(
        Row(name, help, "osteon.networks:smp_encoder", {"divisor": 32})
        for name, help in (
            ("resnet18", "ResNet-18: the paper's choice; small and fast"),
            ("resnet34", "ResNet-34"),
            ("resnet50", "ResNet-50"),
        )
    ),
)

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

BACKENDS = Table(
    "backends",
    (
        Row(
            "torch",
            "PyTorch on the CPU, an NVIDIA GPU (CUDA) or an Apple GPU (MPS)",
            "osteon.backends.torch_backend:TorchBackend",
        ),
    ),
)
