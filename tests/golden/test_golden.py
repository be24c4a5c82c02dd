"""Files that earlier versions wrote stay readable and keep their meaning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from osteon.datasets import Manifest, ScanRow
from osteon.labels import BONE_PORES
from osteon.model_file import (
    HALF_MAXIMUM,
    ContextSpec,
    TrainingRanges,
    load_model,
    read_description,
)
from osteon.networks import NetworkSpec, build_network
from osteon.settings import (
    AdamWSettings,
    FitSettings,
    JaccardCrossEntropySettings,
    OneCycleSchedule,
    load_settings,
)
from osteon.training.plan import FitPlan

HERE = Path(__file__).parent
SCHEMA1 = HERE / "schema1"
SCHEMA2 = HERE / "schema2"  # of the model file alone
SCHEMA3 = HERE / "schema3"  # likewise
SCHEMA4 = HERE / "schema4"  # likewise
MOST_BYTES = 300_000


def description_in(path: Path) -> dict[str, Any]:
    """The description of a model file as it is stored, not migrated."""
    with safe_open(path, framework="pt") as file:
        found: dict[str, Any] = json.loads(file.metadata()["osteon"])
    return found


def test_the_archive_stays_small() -> None:
    assert sum(p.stat().st_size for p in HERE.rglob("*") if p.is_file()) < MOST_BYTES


def test_model_of_schema_1() -> None:
    model = load_model(SCHEMA1 / "model.safetensors")
    spec = model.spec
    assert spec.name == "mouse-tibia"
    assert spec.network == NetworkSpec("unet", "resnet18", 1, 3, (256, 128, 64, 32, 16))
    assert spec.labels == BONE_PORES
    assert (spec.recipe, spec.recipe_version, spec.mode) == ("zscore", 1, "2D")
    assert spec.ranges == TrainingRanges((10.5, 39.0), ("uint8", "uint16"))
    assert spec.provenance["best"] == {"epoch": 7, "val_mean_iou": 0.93}
    assert (spec.voxel_size_um, spec.patch_size, spec.slices) == (None, (), 1)
    assert (spec.context, spec.feature_px) == (None, None)
    assert read_description(SCHEMA1 / "model.safetensors")["schema"] == 4  # migrated
    # Written out, so that digest and bytes are not only consistent with each other.
    assert spec.weights_sha256 == (
        "802b6189abaac3162b2003f9e820c5ac76c77a3937bca44541a622e327f608fc"
    )
    expected = {
        "encoder.conv1.weight": torch.arange(8, dtype=torch.float32).reshape(2, 1, 2, 2) / 7,
        "encoder.bn1.num_batches_tracked": torch.tensor(12),
        "segmentation_head.0.bias": torch.tensor([0.25, -1.5, 3.0]),
    }
    assert set(model.weights) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(model.weights[name], tensor)


def test_model_of_schema_2() -> None:
    model = load_model(SCHEMA2 / "model.safetensors")
    spec = model.spec
    assert (spec.name, spec.mode, spec.slices) == ("rat-femur", "2.5D", 3)
    assert spec.network == NetworkSpec("unet", "resnet18", 3, 2)
    assert spec.labels.names == ("background", "Kortikalis µ")
    assert spec.labels.classes[1].colour == (10, 20, 30)
    assert (spec.recipe, spec.recipe_version) == ("percentile", 1)
    assert (spec.voxel_size_um, spec.patch_size) == (18.5, (256, 192))
    assert (spec.context, spec.feature_px) == (None, None)
    assert spec.ranges == TrainingRanges((9.0, 18.5), ("int16",))
    assert spec.provenance == {"best": {"epoch": 3, "val_mean_iou": None}, "note": "Größe 1e-7"}
    # Written out, so that digests and contents are not only consistent with each other.
    described = description_in(SCHEMA2 / "model.safetensors")
    assert described["description_sha256"] == (
        "2d8a6de26471c419270243a9408a0f42d757a1c1a70cbe85d08e3642c07643ac"
    )
    assert spec.weights_sha256 == (
        "af2e91fbc7224b80f9382c4cc7fa10aa9ba08a6a1af3efad049c1a720d896311"
    )
    assert set(model.weights) == {"encoder.conv1.weight", "segmentation_head.0.bias"}
    expected = torch.arange(12, dtype=torch.float32).reshape(1, 3, 2, 2) / 3
    assert torch.equal(model.weights["encoder.conv1.weight"], expected)
    assert torch.equal(model.weights["segmentation_head.0.bias"], torch.tensor([0.5, -2.0]))


def test_model_of_schema_3() -> None:
    model = load_model(SCHEMA3 / "model.safetensors")
    spec = model.spec
    assert (spec.name, spec.mode, spec.slices) == ("bone-pores", "2D", 1)
    assert spec.network == NetworkSpec("unet", "resnet18", 2, 3, (128, 64, 32, 16, 16))
    assert spec.labels == BONE_PORES
    assert (spec.recipe, spec.recipe_version) == ("edges", 1)
    assert (spec.context, spec.feature_px) == (ContextSpec(256), (3.5, 28.0))
    assert (spec.voxel_size_um, spec.patch_size) == (None, (256, 256))
    assert spec.surface is None
    assert spec.provenance == {"note": "simulated", "best": {"epoch": 2, "val_mean_iou": 0.91}}
    # Written out, so that digests and contents are not only consistent with each other.
    described = description_in(SCHEMA3 / "model.safetensors")
    assert described["weights_stored_as"] == "half precision"
    assert described["description_sha256"] == (
        "79ddaa991f4d229d6e9f9a5e513278248a9032db9386e9ef97535fa93b445757"
    )
    assert spec.weights_sha256 == (
        "fd59048311bba27da68d006654d544a3d766e9e6b4c58b700be58217c9f4cdbc"
    )
    kernel = model.weights["encoder.conv1.weight"]
    assert kernel.dtype == torch.float32
    thirds = [0.0, 0.333251953125, 0.66650390625, 1.0, 1.3330078125, 1.6669921875, 2.0, 2.333984375]
    assert torch.equal(kernel, torch.tensor(thirds).reshape(1, 2, 2, 2))  # as float16 has them
    assert torch.equal(model.weights["encoder.bn1.running_var"], torch.tensor([1e-7]))
    assert torch.equal(model.weights["encoder.bn1.num_batches_tracked"], torch.tensor(5))


def test_model_of_schema_4() -> None:
    spec = load_model(SCHEMA4 / "model.safetensors").spec
    assert (spec.name, spec.mode, spec.recipe) == ("bone-pores", "2D", "edges")
    assert (spec.context, spec.feature_px) == (ContextSpec(256), (2.0, 24.0))
    assert spec.surface == HALF_MAXIMUM
    # Written out, so that digests and contents are not only consistent with each other.
    described = description_in(SCHEMA4 / "model.safetensors")
    assert described["description_sha256"] == (
        "17f32a359f5367444e62e240492823245bd32546acbe6d278336b80c46ea7e6f"
    )
    assert spec.weights_sha256 == (
        "cd6d049e9fc7af6b423d04ffe1d2896d28e98d3b7eb4bc7c04b7ea849bc7618f"
    )


def test_weights_of_schema_1_still_fit_the_network() -> None:
    # A library that renames its layers would make every model file useless.
    archived = json.loads((SCHEMA1 / "unet-resnet18.json").read_text(encoding="utf-8"))
    spec = NetworkSpec("unet", "resnet18", 1, 3, (256, 128, 64, 32, 16))
    state = build_network(spec).state_dict()
    assert {name: list(tensor.shape) for name, tensor in state.items()} == archived


def test_settings_of_schema_1() -> None:
    made = load_settings(FitSettings, SCHEMA1 / "settings.yaml")
    assert made.seed == 7
    assert made.network.encoder == "resnet34"
    assert made.network.decoder_channels == (128, 64, 32, 16, 16)
    assert (made.patches.size, made.patches.per_slice) == (128, 4)
    assert made.loss == JaccardCrossEntropySettings(cross_entropy_weight=0.5)
    assert made.optimiser == AdamWSettings(learning_rate=0.002, weight_decay=0.01)
    assert made.schedule == OneCycleSchedule(warmup=0.1)
    assert made.validation.specimens == ("m1", "m4")
    assert made.validation.max_slices == 20
    assert (made.training.max_minutes, made.training.workers) == (10, 2)


def test_manifest_of_schema_1() -> None:
    manifest = Manifest.load(SCHEMA1 / "dataset.toml")
    assert manifest.labels == BONE_PORES
    one, two, three, four = manifest.scans
    assert one == ScanRow(
        name="m1-left",
        image="m1/scan",
        mask="m1/mask",
        specimen="m1",
        remap={"255": "bone", "128": "ignore"},
        voxel_size_um=10.5,
        species="mouse",
        site="tibia",
    )
    assert (two.contiguous, two.mask_slices, two.derive_pores) == (False, "number", True)
    assert (two.slices, two.voxel_size_um) == ((10, 200), (39.0, 20.0, 20.0))
    assert three.mask_origin == (5, 100, 120)
    assert four.mask_slices == (0, 8, 16)
    assert manifest.resolve(one.image) == SCHEMA1 / "m1" / "scan"


def test_plan_of_schema_1() -> None:
    plan = FitPlan.from_dict(json.loads((SCHEMA1 / "plan.json").read_text(encoding="utf-8")))
    assert (plan.total_steps, plan.steps_per_epoch, plan.epochs) == (1200, 48, 25)
    assert (plan.precision, plan.channels_last) == ("bf16", True)
    assert (plan.threads, plan.workers) == (2, 1)
    assert plan.seconds_per_step == pytest.approx(0.41)
    assert min(plan.probe, key=lambda name: plan.probe[name]) == str(plan.arithmetic)
