"""Writing models in the original's format, for its programs and for Avizo."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from osteon import __version__
from osteon.errors import UsageError, warn
from osteon.files import write_bytes
from osteon.model_file.reference import ARCHITECTURE_NAMES, CLASS_NAMES, RECIPE_NAMES
from osteon.model_file.shapes import build_aside
from osteon.model_file.spec import Model, ModelSpec

#: The entries of the original's metadata, in its order.
METADATA = (
    *("train_dataset", "val_dataset", "num_classes", "num_patches", "patch_size", "patch_depth"),
    *("max_overlap", "batch_size", "augmentations", "normalization", "pt_workers"),
    *("prefetch_factor", "random_seed", "version", "is_3d", "model_arch", "backbone", "stride"),
    *("in_channels", "mode", "optimizer", "optim_momentum", "optim_weight_decay"),
    *("learning_rate", "criterion", "alpha", "beta", "gamma", "foc_wt", "tver_wt", "metric"),
    *("flops_G", "param_count", "peak_ram_GB", "peak_vram_GB", "avg_gpu_util_percent"),
    *("wall_time_sec", "fitting_time_sec", "best_val_score", "best_epoch"),
)
_OPTIMISERS = {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD"}
_LOSSES = {
    "jaccard": "Jaccard",
    "dice": "Dice",
    "lovasz": "Lovász-Softmax",
    "focal": "Focal",
    "tversky": "Tversky",
    "focal-tversky": "Focal Tversky",
}
_GB = 1e9
_MEND = "keep it as .safetensors"


def write_reference(path: Path, model: Model) -> None:
    """Write a model as a ``.pth`` of the original; the weights stay as they are, byte for byte.

    What the metadata cannot hold is lost: training ranges, the voxel size that scans are resampled
    to (with a warning). The names of the classes are kept in an entry of their own.

    Args:
        path: The target; an existing file is replaced.
        model: The model.

    Raises:
        UsageError: If the original has no such network or normalises grey values otherwise: its
            programs would read the file and give wrong labels.
        OutputError: If the file cannot be written.
    """
    spec = model.spec
    _check_writable(spec, path)
    state = {name: t.detach().cpu().contiguous().clone() for name, t in model.weights.items()}
    buffer = io.BytesIO()
    torch.save({"model_state": state, "metadata": reference_metadata(spec)}, buffer)
    write_bytes(path, buffer.getvalue())
    if spec.voxel_size_um is not None:
        warn(
            "voxel-size-lost",
            f"the original's format cannot say that scans are resampled to {spec.voxel_size_um:g} "
            "µm first: its programs do not do so",
            where=path,
        )


def reference_metadata(spec: ModelSpec) -> dict[str, Any]:
    """Return the metadata of a model in the original's format; None for what is not known.

    Args:
        spec: The description of the model.

    Returns:
        Plain values by the original's names.
    """
    # Of a model that came from the original: as it was, but for what may have changed since.
    kept = spec.provenance.get("reference")
    found = dict(kept) if isinstance(kept, Mapping) else _of_fit(spec.provenance)
    architectures = {ours: theirs for theirs, ours in ARCHITECTURE_NAMES.items()}
    recipes = {ours: theirs for theirs, ours in RECIPE_NAMES.items()}
    best = _mapping(spec.provenance, "best")
    found |= {
        "num_classes": spec.network.classes,
        "normalization": recipes[spec.recipe],
        "is_3d": False,
        "model_arch": architectures[spec.network.architecture],
        "backbone": spec.network.encoder,
        "in_channels": spec.network.in_channels,
        "mode": spec.mode,
        "param_count": sum(p.numel() for p in build_aside(spec.network).parameters()),
        "best_val_score": best.get("val_mean_iou"),
        "best_epoch": best.get("epoch"),
    }
    return {
        **{name: found.get(name) for name in METADATA},
        **{name: value for name, value in found.items() if name not in METADATA},
        CLASS_NAMES: list(spec.labels.names),
    }


def _check_writable(spec: ModelSpec, path: Path) -> None:
    network = spec.network
    if network.dimensions == 3:
        why = "the original's 3D networks are of another library"
    elif spec.context is not None:
        why = (
            "it looks at each slice twice, coarsely for the outline of the bone and then finely, "
            "and the original's programs look once"
        )
    elif network.architecture not in ARCHITECTURE_NAMES.values():
        why = f"the original has no {network.architecture}"
    elif _unlike_default(spec):
        why = "the original's networks have the library's own decoder and options, this one has not"
    elif spec.recipe not in RECIPE_NAMES.values():
        why = (
            f"it was fitted with the normalisation '{spec.recipe}', and the original's programs "
            "would normalise otherwise: the labels would be wrong"
        )
    else:
        return
    recipes = " or ".join(RECIPE_NAMES.values())
    raise UsageError(
        f"this model cannot be written in the original's format: {why}",
        where=path,
        mend=f"{_MEND}, or fit with normalisation.recipe={recipes}"
        if spec.recipe not in RECIPE_NAMES.values()
        else _MEND,
    )


def _unlike_default(spec: ModelSpec) -> bool:
    if spec.network.options:
        return True
    if spec.network.decoder_channels is None:
        return False
    plain = replace(spec.network, decoder_channels=None)
    given, default = (build_aside(network).state_dict() for network in (spec.network, plain))
    return {n: t.shape for n, t in given.items()} != {n: t.shape for n, t in default.items()}


def _of_fit(provenance: Mapping[str, Any]) -> dict[str, Any]:
    settings, costs = _mapping(provenance, "settings"), _mapping(provenance, "costs")
    patches, training = _mapping(settings, "patches"), _mapping(settings, "training")
    optimiser, loss = _mapping(settings, "optimiser"), _mapping(settings, "loss")
    split = _mapping(provenance, "split")
    workers = training.get("workers")
    preset = _mapping(settings, "augmentation").get("preset")
    flops, gpu_use = costs.get("gflops_per_patch"), costs.get("gpu_use")
    return {
        "train_dataset": _scans(split, "training"),
        "val_dataset": _scans(split, "validation"),
        "num_patches": patches.get("per_slice"),
        "patch_size": patches.get("size"),
        "max_overlap": patches.get("max_overlap"),
        "batch_size": training.get("batch_size"),
        "augmentations": None if preset is None else preset != "none",
        "pt_workers": workers if isinstance(workers, int) else None,
        "random_seed": settings.get("seed"),
        "version": f"osteon {__version__}",
        "optimizer": _OPTIMISERS.get(str(optimiser.get("name")), optimiser.get("name")),
        "optim_momentum": optimiser.get("momentum"),
        "optim_weight_decay": optimiser.get("weight_decay"),
        "learning_rate": optimiser.get("learning_rate"),
        "criterion": _LOSSES.get(str(loss.get("name")), loss.get("name")),
        "alpha": loss.get("alpha"),
        "beta": loss.get("beta"),
        "gamma": loss.get("gamma"),
        "foc_wt": loss.get("focal_weight"),
        "tver_wt": loss.get("tversky_weight"),
        "metric": "Jaccard" if provenance.get("best") else None,
        "flops_G": flops,
        "peak_ram_GB": _gigabytes(costs.get("peak_memory_bytes")),
        "peak_vram_GB": _gigabytes(costs.get("gpu_memory_bytes")),
        "avg_gpu_util_percent": None if gpu_use is None else 100 * gpu_use,
        "wall_time_sec": costs.get("seconds"),
    }


def _mapping(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    return value if isinstance(value, Mapping) else {}


def _scans(split: Mapping[str, Any], name: str) -> list[str] | None:
    parts = split.get(name)
    if not isinstance(parts, list):
        return None
    return [str(part["scan"]) for part in parts if isinstance(part, Mapping) and "scan" in part]


def _gigabytes(size: float | None) -> float | None:
    return None if size is None else size / _GB
