"""The original's model files: read, written, and the same by torch and its library alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch

from osteon.errors import ModelFileError, OsteonWarning, UsageError
from osteon.labels import BONE_PORES, LabelClass, LabelScheme
from osteon.model_file import (
    Model,
    ModelSpec,
    load_model,
    read_reference,
    save_model,
    weights_digest,
    write_reference,
)
from osteon.networks import NetworkSpec, build_network, load_weights

from .pth import metadata, network, raw, write

NAME = "BP-2D-03_best_epoch_17_val_jaccard_0.9688.pth"


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return dict(network().state_dict())


@pytest.fixture
def theirs(tmp_path: Path, state: dict[str, torch.Tensor]) -> Path:
    return write(tmp_path / NAME, state, metadata())


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_weights_and_metadata_are_read(
    zipped: bool, tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    path = write(tmp_path / NAME, state, metadata(), _use_new_zipfile_serialization=zipped)
    model = load_model(path)
    spec = model.spec
    assert spec.name == "BP-2D-03"
    assert spec.network == NetworkSpec("unet", "resnet18", 1, 3)
    assert spec.labels == BONE_PORES
    assert (spec.recipe, spec.recipe_version) == ("reference-zscore-positive", 1)
    assert (spec.mode, spec.slices, spec.patch_size) == ("2D", 1, (256, 256))
    assert (spec.voxel_size_um, spec.ranges.voxel_size_um) == (None, None)
    assert spec.provenance["best"] == {"epoch": 17, "val_mean_iou": 0.96875}
    told = spec.provenance["reference"]
    assert told["train_dataset"] == ["/data/a/scan", "D:\\b\\scan"]
    assert (told["augmentations"], told["version"]) == (True, "1.0 µ")
    assert told["peak_vram_GB"] is None  # NaN has no place in JSON
    assert json.loads(json.dumps(spec.as_dict(), allow_nan=False)) == spec.as_dict()
    assert model.path == path
    assert spec.weights_sha256 == weights_digest(state)
    assert {n: raw(t) for n, t in model.weights.items()} == {n: raw(t) for n, t in state.items()}


def test_it_gives_the_same_logits(theirs: Path) -> None:
    model = load_model(theirs)
    ours = build_network(model.spec.network).eval()
    load_weights(ours, model.weights)
    image = torch.randn(1, 1, 96, 64, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        assert torch.equal(ours(image), network()(image))


@pytest.mark.parametrize(
    ("name", "kind", "encoder"),
    [
        ("UNet++", smp.UnetPlusPlus, "resnet18"),
        ("FPN", smp.FPN, "efficientnet-b0"),
        ("PSPNet", smp.PSPNet, "resnet18"),
        ("DeepLabV3+", smp.DeepLabV3Plus, "mobilenet_v2"),
        ("Linknet", smp.Linknet, "resnet18"),
        ("MAnet", smp.MAnet, "resnet18"),
        ("UPerNet", smp.UPerNet, "resnet18"),
        ("Segformer", smp.Segformer, "mit_b0"),
        ("U-Net", smp.Unet, "vgg11_bn"),
    ],
)
def test_every_architecture_of_the_original(
    name: str, kind: Any, encoder: str, tmp_path: Path
) -> None:
    torch.manual_seed(8)
    theirs = kind(encoder, encoder_weights=None, in_channels=3, classes=2)
    changes = {"num_classes": 2, "in_channels": 3, "mode": "2.5D"}
    told = metadata(model_arch=name, backbone=encoder, **changes)
    model = load_model(write(tmp_path / "a.pth", theirs.state_dict(), told))
    ours = build_network(model.spec.network)
    load_weights(ours, model.weights)
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(ours.eval()(image), theirs.eval()(image))
    write_reference(tmp_path / "b.pth", model)
    back = torch.load(tmp_path / "b.pth", weights_only=True)
    assert (back["metadata"]["model_arch"], back["metadata"]["backbone"]) == (name, encoder)
    count = sum(p.numel() for p in theirs.parameters())
    assert back["metadata"]["param_count"] == count
    theirs.load_state_dict(back["model_state"], strict=True)


def test_the_name_of_the_file_does_not_matter(theirs: Path) -> None:
    other = theirs.rename(theirs.with_name("model.safetensors"))
    assert load_model(other).spec.network.encoder == "resnet18"


@pytest.mark.parametrize("wrapper", ["module.", "module._orig_mod.", "_orig_mod."])
def test_the_names_of_wrapped_networks_are_unwrapped(
    wrapper: str, tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    wrapped = {f"{wrapper}{name}": tensor for name, tensor in state.items()}
    path = write(tmp_path / "a.pth", wrapped, metadata())
    if wrapper == "_orig_mod.":
        assert read_reference(path).spec.weights_sha256 == weights_digest(state)
        return
    assert set(read_reference(path).weights) == set(state)


@pytest.mark.parametrize(
    ("channels", "classes", "changes", "mode"),
    [
        (5, 2, {"in_channels": 5, "num_classes": 2, "mode": "2.5D"}, "2.5D"),
        (5, 2, {"in_channels": None, "num_classes": None, "mode": None}, "2.5D"),
        (1, 4, {"in_channels": None, "num_classes": None, "mode": None, "is_3d": None}, "2D"),
        (3, 3, {"in_channels": "3", "num_classes": "3", "mode": " 2.5d "}, "2.5D"),
    ],
)
def test_what_the_metadata_lack_is_told_by_the_weights(
    channels: int, classes: int, changes: dict[str, Any], mode: str, tmp_path: Path
) -> None:
    built = network(channels=channels, classes=classes)
    path = write(tmp_path / "a.pth", built.state_dict(), metadata(**changes))
    spec = read_reference(path).spec
    assert (spec.network.in_channels, spec.network.classes) == (channels, classes)
    assert spec.mode == mode
    assert spec.slices == (channels if channels > 1 else 1)
    if classes != 3:
        assert spec.labels.names == tuple(f"class{i}" for i in range(classes))


@pytest.mark.parametrize(
    ("given", "recipe"),
    [
        ("minMax", "reference-minmax-positive"),
        ("min-max", "reference-minmax-positive"),
        ("zscore", "reference-zscore-positive"),
        ("Z-Score", "reference-zscore-positive"),
    ],
)
def test_normalisations(
    given: str, recipe: str, tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    path = write(tmp_path / "a.pth", state, metadata(normalization=given))
    assert read_reference(path).spec.recipe == recipe


def test_an_unknown_normalisation_is_the_default_with_a_warning(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    path = write(tmp_path / "a.pth", state, metadata(normalization=None))
    with pytest.warns(OsteonWarning, match="reference-normalisation-unknown"):
        assert read_reference(path).spec.recipe == "reference-zscore-positive"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_arch": None}, "lack 'model_arch'"),
        ({"backbone": None}, "lack 'backbone'"),
        ({"model_arch": "Mask R-CNN"}, "architecture 'Mask R-CNN'"),
        ({"backbone": "alexnet"}, "encoder 'alexnet'"),
        ({"backbone": "resnet34"}, "do not belong to the network .* missing"),
        ({"num_classes": 4}, "2 of another shape .segmentation_head.0.bias"),
        ({"in_channels": 3}, "1 of another shape .encoder.conv1.weight"),
        ({"normalization": "percentile"}, "normalisation 'percentile'"),
        ({"num_classes": -3}, "'num_classes' .* -3"),
        ({"num_classes": "three"}, "'num_classes' .* 'three'"),
        ({"num_classes": 10**9}, "out of range"),
        ({"in_channels": 2.5}, "'in_channels' .* 2.5"),
        ({"mode": "2.5D"}, "odd number of slices"),
        ({"mode": "sideways"}, "no mode 'SIDEWAYS'"),
        ({"mode": "3D"}, "3D model of the original: .* no longer kept"),
        ({"is_3d": True}, "3D model of the original"),
    ],
)
def test_metadata_that_do_not_fit_are_told(
    changes: dict[str, Any], message: str, tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    path = write(tmp_path / "a.pth", state, metadata(**changes))
    with pytest.raises(ModelFileError, match=message) as caught:
        load_model(path)
    assert caught.value.where == str(path)


def test_3d_weights_are_told_whatever_the_metadata_say(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    volumetric = {**state, "encoder.conv1.weight": torch.zeros(64, 1, 7, 7, 7)}
    path = write(tmp_path / "a.pth", volumetric, metadata(is_3d=None, mode=None))
    with pytest.raises(ModelFileError, match="3D model of the original"):
        load_model(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": torch.zeros(1)}, "no 'model_state'"),
        ([1, 2], "no 'model_state'"),
        ({"model_state": {}, "metadata": [1]}, "no 'metadata'"),
        ({"model_state": {"a": torch.zeros(1)}}, "no 'metadata'"),
        ({"model_state": {"a": "text"}, "metadata": metadata()}, "'a' .* no plain tensor"),
        ({"model_state": {1: torch.zeros(1)}, "metadata": metadata()}, "'1' .* no plain tensor"),
        (
            {"model_state": {"a": torch.zeros(2).to_sparse()}, "metadata": metadata()},
            "no plain tensor",
        ),
        ({"model_state": {}, "metadata": metadata()}, "do not belong to the network"),
    ],
)
def test_files_of_torch_that_are_no_models_are_told(
    content: Any, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.pth"
    torch.save(content, path)
    with pytest.raises(ModelFileError, match=message):
        load_model(path)


def test_a_tensor_that_pretends_to_be_huge_is_refused_at_once(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    huge = {**state, "segmentation_head.0.bias": torch.zeros(1).expand(10**13)}
    path = write(tmp_path / "a.pth", huge, metadata())
    with pytest.raises(ModelFileError, match="1 of another shape"):
        load_model(path)


def test_metadata_without_end_are_cut_off(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    ring: list[Any] = []
    ring.append(ring)
    laughs: list[Any] = ["ha"]
    for _ in range(8):
        laughs = [laughs] * 100
    path = write(tmp_path / "a.pth", state, metadata(train_dataset=ring, notes=laughs))
    model = read_reference(path)
    assert len(json.dumps(model.spec.as_dict())) < 1_000_000
    save_model(tmp_path / "b.safetensors", model)
    assert load_model(tmp_path / "b.safetensors").spec == model.spec


class _Harm:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {os.environ['MARK']}",)


def test_harm_in_the_metadata_is_not_done(
    tmp_path: Path, state: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARK", str(tmp_path / "mark"))
    path = write(tmp_path / "a.pth", state, metadata(optimizer=_Harm()))
    with pytest.raises(ModelFileError, match=f"'{os.name}.system'"):
        load_model(path)
    assert not (tmp_path / "mark").exists()


# --- writing --------------------------------------------------------------------------------


def spec_of(**changes: Any) -> ModelSpec:
    given: dict[str, Any] = {
        "name": "a",
        "network": NetworkSpec("unet", "resnet18", 1, 3),
        "labels": BONE_PORES,
        "recipe": "reference-minmax-positive",
        "recipe_version": 1,
        "patch_size": (128, 128),
        "provenance": {
            "settings": {
                "seed": 7,
                "patches": {"size": 128, "per_slice": 2, "max_overlap": 0.3},
                "training": {"batch_size": 16, "workers": "auto"},
                "augmentation": {"preset": "none"},
                "optimiser": {"name": "adamw", "learning_rate": 0.002, "weight_decay": 0.01},
                "loss": {"name": "focal-tversky", "alpha": 1.5, "focal_weight": 0.25},
            },
            "split": {
                "training": [{"scan": "m1", "slices": [0, 9]}],
                "validation": [{"scan": "m2", "slices": [0, 5]}],
            },
            "costs": {
                "gflops_per_patch": 5.5,
                "peak_memory_bytes": 1_500_000_000,
                "gpu_memory_bytes": None,
                "gpu_use": None,
                "seconds": 90.0,
            },
            "best": {"epoch": 4, "val_mean_iou": 0.875},
        },
    }
    return ModelSpec(**{**given, **changes})


def test_what_is_written_is_read_by_torch_and_its_library_alone(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "out.pth"
    write_reference(path, Model(spec_of(), state))
    content = torch.load(path, weights_only=True)  # without any list: plain values alone
    assert set(content) == {"model_state", "metadata"}
    assert list(content["model_state"]) == list(state)
    for name, tensor in state.items():
        assert raw(content["model_state"][name]) == raw(tensor), name
    other = smp.Unet("resnet18", encoder_weights=None, in_channels=1, classes=3)
    other.load_state_dict(content["model_state"], strict=True)
    image = torch.randn(1, 1, 64, 96)
    with torch.inference_mode():
        assert torch.equal(other.eval()(image), network()(image))
    told = content["metadata"]
    assert {k: told[k] for k in ("model_arch", "backbone", "mode", "is_3d", "in_channels")} == {
        "model_arch": "U-Net",
        "backbone": "resnet18",
        "mode": "2D",
        "is_3d": False,
        "in_channels": 1,
    }
    assert (told["num_classes"], told["normalization"]) == (3, "minMax")
    assert told["param_count"] == 14_322_227  # the paper's
    assert (told["num_patches"], told["patch_size"], told["max_overlap"]) == (2, 128, 0.3)
    assert (told["batch_size"], told["random_seed"], told["augmentations"]) == (16, 7, False)
    assert (told["optimizer"], told["learning_rate"]) == ("AdamW", 0.002)
    assert (told["optim_weight_decay"], told["optim_momentum"]) == (0.01, None)
    assert (told["criterion"], told["alpha"], told["foc_wt"]) == ("Focal Tversky", 1.5, 0.25)
    assert (told["train_dataset"], told["val_dataset"]) == (["m1"], ["m2"])
    assert (told["best_val_score"], told["best_epoch"]) == (0.875, 4)
    assert (told["flops_G"], told["peak_ram_GB"], told["wall_time_sec"]) == (5.5, 1.5, 90.0)
    assert all(told[k] is None for k in ("patch_depth", "stride", "peak_vram_GB", "pt_workers"))


def test_every_entry_of_the_original_is_written(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "out.pth"
    bare = spec_of(provenance={}, patch_size=())
    write_reference(path, Model(bare, state))
    expected = {
        *("train_dataset", "val_dataset", "num_classes", "num_patches", "patch_size"),
        *("patch_depth", "max_overlap", "batch_size", "augmentations", "normalization"),
        *("pt_workers", "prefetch_factor", "random_seed", "version", "is_3d", "model_arch"),
        *("backbone", "stride", "in_channels", "mode", "optimizer", "optim_momentum"),
        *("optim_weight_decay", "learning_rate", "criterion", "alpha", "beta", "gamma"),
        *("foc_wt", "tver_wt", "metric", "flops_G", "param_count", "peak_ram_GB"),
        *("peak_vram_GB", "avg_gpu_util_percent", "wall_time_sec", "fitting_time_sec"),
        *("best_val_score", "best_epoch"),
    }
    assert set(torch.load(path, weights_only=True)["metadata"]) == expected | {"class_names"}


def test_there_and_back_is_exact(theirs: Path, tmp_path: Path) -> None:
    model = load_model(theirs)
    save_model(tmp_path / "a.safetensors", model)
    write_reference(tmp_path / "b.pth", load_model(tmp_path / "a.safetensors"))
    back = load_model(tmp_path / "b.pth")
    assert {n: raw(t) for n, t in back.weights.items()} == {
        n: raw(t) for n, t in model.weights.items()
    }
    assert (back.spec.network, back.spec.labels) == (model.spec.network, model.spec.labels)
    assert (back.spec.recipe, back.spec.mode) == (model.spec.recipe, model.spec.mode)
    first, second = (m.spec.provenance["reference"] for m in (model, back))
    assert {k: second[k] for k in first} == {**first}
    assert back.spec.provenance["best"] == model.spec.provenance["best"]


def test_the_names_of_the_classes_come_back(tmp_path: Path) -> None:
    labels = LabelScheme((LabelClass("air", 0, (0, 0, 0)), LabelClass("bone", 1, (230, 159, 0))))
    network_spec = NetworkSpec("unet", "resnet18", 3, 2)
    spec = spec_of(network=network_spec, labels=labels, mode="2.5D")
    built = network(channels=3, classes=2)
    write_reference(tmp_path / "a.pth", Model(spec, built.state_dict()))
    back = load_model(tmp_path / "a.pth").spec
    assert (back.labels.names, back.mode, back.slices) == (("air", "bone"), "2.5D", 3)
    assert [c.colour for c in back.labels.classes] == [(0, 0, 0), (230, 159, 0)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": "zscore"}, "normalisation 'zscore'.*labels would be wrong"),
        (
            {"network": NetworkSpec("unet", "resnet18", 1, 3, (16, 16, 8, 8, 8))},
            "own decoder",
        ),
        ({"network": NetworkSpec("pan", "resnet18", 1, 3)}, "original has no pan"),
        (
            {"network": NetworkSpec("unet", "resnet18", 1, 3, dimensions=3), "mode": "3D"},
            "3D networks are of another library",
        ),
    ],
)
def test_what_the_original_cannot_run_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "a.pth"
    with pytest.raises(UsageError, match=message):
        write_reference(path, Model(spec_of(**changes), state))
    assert not path.exists()


def test_the_default_decoder_spelled_out_is_the_default(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    spelled = NetworkSpec("unet", "resnet18", 1, 3, (256, 128, 64, 32, 16))
    write_reference(tmp_path / "a.pth", Model(spec_of(network=spelled), state))
    assert load_model(tmp_path / "a.pth").spec.network == NetworkSpec("unet", "resnet18", 1, 3)


def test_a_lost_voxel_size_is_told(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    with pytest.warns(OsteonWarning, match=r"resampled to 12.5 µm .* \[voxel-size-lost\]"):
        write_reference(tmp_path / "a.pth", Model(spec_of(voxel_size_um=12.5), state))
