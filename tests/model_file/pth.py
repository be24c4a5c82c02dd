"""Files of the original's format, made by torch and segmentation-models-pytorch alone."""

from __future__ import annotations

import pathlib
from pathlib import Path
from typing import Any

import numpy as np
import segmentation_models_pytorch as smp
import torch


class Foreign:
    """Pickles as a path of some system does there."""

    def __init__(self, kind: type[pathlib.PurePath], *parts: str):
        self._made = (kind, parts)

    def __reduce__(self) -> tuple[Any, ...]:
        return self._made


def posix(*parts: str) -> Foreign:
    return Foreign(pathlib.PosixPath, *parts)


def windows(*parts: str) -> Foreign:
    return Foreign(pathlib.WindowsPath, *parts)


def metadata(**changes: Any) -> dict[str, Any]:
    """What the original's training writes; None takes an entry away."""
    data = {
        "train_dataset": [posix("/", "data", "a", "scan"), windows("D:\\", "b", "scan")],
        "val_dataset": [posix("/", "data", "c", "scan")],
        "num_classes": np.int64(3),
        "num_patches": 4,
        "patch_size": np.int32(256),
        "patch_depth": None,
        "max_overlap": np.float32(0.25),
        "batch_size": 32,
        "augmentations": np.bool_(True),
        "normalization": "ZScore",
        "random_seed": 42,
        "version": np.str_("1.0 µ"),
        "is_3d": False,
        "model_arch": "U-Net",
        "backbone": "resnet18",
        "in_channels": 1,
        "mode": "2D",
        "optimizer": "Adam",
        "learning_rate": 1e-3,
        "peak_vram_GB": float("nan"),
        "best_val_score": np.float64(0.96875),
        "best_epoch": np.int64(17),
    }
    data.update(changes)
    return {name: value for name, value in data.items() if value is not None}


def network(seed: int = 0, *, channels: int = 1, classes: int = 3) -> torch.nn.Module:
    """The original's default network, with statistics in its batch norms."""
    torch.manual_seed(seed)
    built = smp.Unet("resnet18", encoder_weights=None, in_channels=channels, classes=classes)
    with torch.no_grad():
        built(torch.randn(2, channels, 64, 64))
    return built.eval()


def write(path: Path, state: Any, data: Any, **how: Any) -> Path:
    torch.save({"model_state": state, "metadata": data}, path, **how)
    return path


def raw(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
