"""The weights that a fit starts from: what is taken, where it goes, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from osteon.errors import InputError, UsageError
from osteon.labels import BONE_PORES, LabelClass, LabelScheme
from osteon.model_file import (
    ContextSpec,
    Model,
    ModelSpec,
    check_start,
    encoder_parameters,
    save_model,
    start_weights,
    weights_digest,
)
from osteon.networks import NetworkSpec, build_network
from osteon.tables import shipped

from .pth import metadata, write
from .pth import network as original

TINY = (16, 16, 8, 8, 8)
UNET = NetworkSpec("unet", "resnet18", 1, 3, TINY)


def scheme(*names: str) -> LabelScheme:
    return LabelScheme(tuple(LabelClass(n, i, (i, 0, 0)) for i, n in enumerate(names)))


def fitted(spec: NetworkSpec, seed: int = 1) -> nn.Module:
    """A network with statistics in its batch norms, as after a fit."""
    torch.manual_seed(seed)
    network = build_network(spec)
    sides = (64, 64) if spec.dimensions == 2 else (32, 32, 32)
    with torch.no_grad():
        network(torch.randn(2, spec.in_channels, *sides))
    return network.eval()


def saved(path: Path, network: nn.Module, spec: NetworkSpec, labels: LabelScheme) -> str:
    mode = "3D" if spec.dimensions == 3 else "2D" if spec.in_channels == 1 else "2.5D"
    described = ModelSpec("femora", spec, labels, "zscore", 1, mode=mode)
    save_model(path, Model(described, network.state_dict()))
    return str(path)


def fresh(spec: NetworkSpec) -> nn.Module:
    torch.manual_seed(99)
    return build_network(spec).eval()


@torch.inference_mode()
def logits(network: nn.Module, image: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = network.eval()(image)
    return found


def image(channels: int = 1, seed: int = 7) -> torch.Tensor:
    return torch.randn(2, channels, 64, 96, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def source() -> nn.Module:
    return fitted(UNET)


@pytest.fixture
def file(source: nn.Module, tmp_path: Path) -> str:
    return saved(tmp_path / "femora.safetensors", source, UNET, BONE_PORES)


def test_random_changes_nothing() -> None:
    network = fresh(UNET)
    before = weights_digest(network.state_dict())
    start = start_weights(network, UNET, "random", labels=BONE_PORES)
    assert (start.source, start.sha256, start.notes) == ("random", None, ())
    assert weights_digest(network.state_dict()) == before


def test_the_same_network_takes_everything(source: nn.Module, file: str) -> None:
    network = fresh(UNET)
    start = start_weights(network, UNET, file, labels=BONE_PORES)
    digest = weights_digest(source.state_dict())
    assert weights_digest(network.state_dict()) == digest == start.sha256
    assert start.notes == ("all layers start from the model 'femora'",)
    assert start.source == file
    assert start.description["classes"] == ["background", "bone", "pores"]
    assert start.as_dict()["sha256"] == digest


def test_a_relative_path_starts_from_the_given_folder(file: str) -> None:
    path = Path(file)
    start = start_weights(fresh(UNET), UNET, path.name, labels=BONE_PORES, base=path.parent)
    assert start.source == file


@pytest.mark.parametrize("classes", [3, 4])
def test_the_random_numbers_of_the_fit_do_not_depend_on_the_start(file: str, classes: int) -> None:
    spec = replace(UNET, classes=classes)
    labels = scheme("background", "bone", "pores", "implant") if classes == 4 else BONE_PORES
    drawn = []
    for weights in ("random", file):
        network = fresh(spec)
        start_weights(network, spec, weights, labels=labels)
        drawn.append(torch.rand(4))
    assert torch.equal(*drawn)


# --- classes --------------------------------------------------------------------------------


def test_classes_are_matched_by_name(source: nn.Module, file: str) -> None:
    labels = scheme("pores", "implant", "background", "bone", "growth plate")
    spec = replace(UNET, classes=5)
    network, untouched = fresh(spec), fresh(spec)
    start = start_weights(network, spec, file, labels=labels)
    found, expected = logits(network, image()), logits(source, image())
    # values in the new scheme ← values in the model's: background 0, bone 1, pores 2
    assert torch.equal(found[:, [2, 3, 0]], expected[:, [0, 1, 2]])
    for name in ("segmentation_head.0.weight", "segmentation_head.0.bias"):
        assert torch.equal(network.state_dict()[name][[1, 4]], untouched.state_dict()[name][[1, 4]])
    assert "classes new to it start at random: implant, growth plate" in start.notes


def test_the_same_number_of_classes_in_another_order_is_not_luck(
    source: nn.Module, file: str
) -> None:
    network = fresh(UNET)
    start_weights(network, UNET, file, labels=scheme("bone", "pores", "background"))
    assert torch.equal(logits(network, image()), logits(source, image())[:, [1, 2, 0]])


def test_classes_that_are_not_wanted_are_left_out(source: nn.Module, file: str) -> None:
    spec = replace(UNET, classes=2)
    network = fresh(spec)
    start = start_weights(network, spec, file, labels=scheme("pores", "other"))
    assert torch.equal(logits(network, image())[:, 0], logits(source, image())[:, 2])
    assert "classes of it that are not used: background, bone" in start.notes


def test_without_a_shared_class_the_output_starts_at_random(file: str) -> None:
    network, untouched = fresh(UNET), fresh(UNET)
    start = start_weights(network, UNET, file, labels=scheme("a", "b", "c"))
    state, before = network.state_dict(), untouched.state_dict()
    assert torch.equal(state["segmentation_head.0.weight"], before["segmentation_head.0.weight"])
    assert not torch.equal(state["encoder.conv1.weight"], before["encoder.conv1.weight"])
    assert "classes new to it start at random: a, b, c" in start.notes


def test_classes_of_a_3d_network_with_several_layers_of_classes(tmp_path: Path) -> None:
    # V-Net ends in two convolutions and a norm with an entry a class: one has two such axes.
    spec = NetworkSpec("vnet", "", 1, 3, dimensions=3)
    network = fitted(spec)
    path = saved(tmp_path / "v.safetensors", network, spec, BONE_PORES)
    turned = fresh(spec)
    start_weights(turned, spec, path, labels=scheme("pores", "background", "bone"))
    block = torch.randn(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(3))
    expected = logits(network, block)[:, [2, 0, 1]]
    torch.testing.assert_close(logits(turned, block), expected)


# --- slices ---------------------------------------------------------------------------------


@pytest.mark.parametrize("slices", [3, 5, 9])
def test_a_2d_model_is_the_same_in_2_5d_at_first(slices: int, source: nn.Module, file: str) -> None:
    spec = replace(UNET, in_channels=slices)
    network = fresh(spec)
    start = start_weights(network, spec, file, labels=BONE_PORES)
    stack = image(slices)
    middle = stack[:, slices // 2 : slices // 2 + 1]
    torch.testing.assert_close(logits(network, stack), logits(source, middle))
    assert any(f"saw 1 neighbouring slices and now sees {slices}" in n for n in start.notes)


@pytest.mark.parametrize("slices", [1, 3, 7])
def test_another_number_of_slices_is_the_same_where_z_does_not_matter(
    slices: int, tmp_path: Path
) -> None:
    five, spec = replace(UNET, in_channels=5), replace(UNET, in_channels=slices)
    model = fitted(five)
    path = saved(tmp_path / "a.safetensors", model, five, BONE_PORES)
    network = fresh(spec)
    start_weights(network, spec, path, labels=BONE_PORES)
    same = image(1)
    found = logits(network, same.expand(-1, slices, -1, -1))
    expected = logits(model, same.expand(-1, 5, -1, -1))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_slices_keep_their_place(tmp_path: Path) -> None:
    five, seven, three = (replace(UNET, in_channels=n) for n in (5, 7, 3))
    model = fitted(five)
    path = saved(tmp_path / "a.safetensors", model, five, BONE_PORES)
    weight = model.state_dict()["encoder.conv1.weight"]
    wider, narrower = fresh(seven), fresh(three)
    start_weights(wider, seven, path, labels=BONE_PORES)
    start_weights(narrower, three, path, labels=BONE_PORES)
    found = wider.state_dict()["encoder.conv1.weight"]
    assert torch.equal(found[:, 1:6], weight)
    assert not found[:, [0, 6]].any()
    found = narrower.state_dict()["encoder.conv1.weight"]
    assert torch.equal(found[:, 1], weight[:, 2])
    torch.testing.assert_close(found[:, 0], weight[:, 0] + weight[:, 1])
    torch.testing.assert_close(found[:, 2], weight[:, 3] + weight[:, 4])


# --- another decoder ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec",
    [
        NetworkSpec("fpn", "resnet18", 1, 3),
        NetworkSpec("unet", "resnet18", 1, 3),
        NetworkSpec("pspnet", "resnet18", 3, 2),
        NetworkSpec("deeplabv3plus", "resnet18", 1, 3),
    ],
    ids=["fpn", "unet with another decoder", "pspnet, 2.5D", "deeplabv3plus"],
)
def test_another_decoder_takes_the_encoder_alone(
    spec: NetworkSpec, source: nn.Module, file: str
) -> None:
    network, untouched = fresh(spec), fresh(spec)
    start = start_weights(network, spec, file, labels=scheme(*"abc"[: spec.classes]))
    assert any("the rest at random" in note for note in start.notes)
    theirs, before = source.state_dict(), untouched.state_dict()
    for name, tensor in network.state_dict().items():
        if not name.startswith("encoder."):
            assert torch.equal(tensor, before[name]), name
        elif name == "encoder.conv1.weight" and spec.in_channels == 3:
            assert torch.equal(tensor[:, 1:2], theirs[name])
            assert not tensor[:, [0, 2]].any()
        else:
            assert torch.equal(tensor, theirs[name]), name


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (NetworkSpec("unet", "resnet34", 1, 3, TINY), "share no encoder"),
        (NetworkSpec("segresnet", "", 1, 3, dimensions=3), "share no encoder"),
        (NetworkSpec("unet", "resnet50", 1, 3, dimensions=3), "share no encoder"),
    ],
)
def test_a_network_without_the_encoder_is_refused_and_left_alone(
    spec: NetworkSpec, message: str, file: str
) -> None:
    network = fresh(spec)
    before = weights_digest(network.state_dict())
    with pytest.raises(UsageError, match=message) as caught:
        start_weights(network, spec, file, labels=BONE_PORES)
    assert caught.value.where == "network.weights"
    assert weights_digest(network.state_dict()) == before


def test_a_3d_model_cannot_become_a_2d_one(tmp_path: Path) -> None:
    spec = NetworkSpec("unet", "resnet18", 1, 3, TINY, 3)
    path = saved(tmp_path / "a.safetensors", fresh(spec), spec, BONE_PORES)
    with pytest.raises(UsageError, match="3D model cannot become a 2D one"):
        check_start(UNET, path, labels=BONE_PORES)


def test_a_network_planned_otherwise_is_refused(tmp_path: Path) -> None:
    def planned(last: list[int]) -> NetworkSpec:
        strides = [[1, 1, 1], [2, 2, 2], last]
        options = {"kernels": [[3, 3, 3]] * 3, "strides": strides}
        return NetworkSpec("dynunet", "", 1, 3, None, 3, options)

    one, other = planned([2, 2, 2]), planned([1, 2, 2])
    path = saved(tmp_path / "a.safetensors", fresh(one), one, BONE_PORES)
    assert check_start(one, path, labels=BONE_PORES).notes
    with pytest.raises(UsageError, match="other kernels, strides or patches"):
        check_start(other, path, labels=BONE_PORES)


# --- where from -----------------------------------------------------------------------------


def test_a_pth_of_the_original_is_a_start(tmp_path: Path) -> None:
    theirs = original()
    path = write(tmp_path / "BP-2D-03.pth", theirs.state_dict(), metadata())
    spec = NetworkSpec("unet", "resnet18", 1, 4)
    network = fresh(spec)
    labels = scheme("background", "bone", "implant", "pores")
    start = start_weights(network, spec, str(path), labels=labels)
    assert torch.equal(logits(network, image())[:, [0, 1, 3]], logits(theirs, image()))
    assert start.description["name"] == "BP-2D-03"


def test_a_missing_file_is_told_beforehand(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such model file"):
        check_start(UNET, "imagnet", labels=BONE_PORES, base=tmp_path)
    assert check_start(UNET, "random", labels=BONE_PORES).notes == ()


# --- the encoder's parameters ---------------------------------------------------------------


@pytest.mark.parametrize(
    "spec",
    [
        UNET,
        NetworkSpec("fpn", "mobilenet_v2", 1, 3),
        NetworkSpec("segformer", "mit_b0", 1, 3),
        NetworkSpec("unet", "resnet18", 1, 3, TINY, 3),
    ],
    ids=lambda spec: f"{spec.architecture}-{spec.encoder}-{spec.dimensions}D",
)
def test_the_parameters_of_the_encoder(spec: NetworkSpec) -> None:
    network: Any = fresh(spec)
    names = encoder_parameters(network, spec)
    own = {id(p) for p in network.encoder.parameters()}
    assert {id(p) for n, p in network.named_parameters() if n in names} == own
    assert len(names) == len(own) < len(list(network.parameters()))


@pytest.mark.parametrize("architecture", ["segresnet", "vnet", "swinunetr"])
def test_networks_without_an_encoder_say_so(architecture: str) -> None:
    spec = NetworkSpec(architecture, "", 1, 2, dimensions=3)
    with pytest.raises(UsageError, match="no encoder of its own") as caught:
        encoder_parameters(fresh(spec), spec)
    assert caught.value.where == "network.encoder_learning_rate"


def twice(path: Path, network: nn.Module) -> str:
    described = ModelSpec(
        "twice", replace(UNET, in_channels=2), BONE_PORES, "edges", 1, context=ContextSpec()
    )
    save_model(path, Model(described, network.state_dict()))
    return str(path)


def test_a_model_that_looks_twice_starts_one_that_looks_once(tmp_path: Path) -> None:
    source = fitted(replace(UNET, in_channels=2))
    into = fresh(UNET)
    start = start_weights(into, UNET, twice(tmp_path / "m.safetensors", source), labels=BONE_PORES)
    image = torch.randn(1, 1, 64, 64)
    without = torch.cat([image, torch.zeros_like(image)], 1)
    torch.testing.assert_close(logits(into, image), logits(source, without))
    assert any("its context is left out" in note for note in start.notes)
    assert start.description["network"]["in_channels"] == 2


def test_a_model_that_looks_once_starts_one_that_looks_twice(tmp_path: Path) -> None:
    spec = replace(UNET, in_channels=2)
    source, into = fitted(UNET), fresh(spec)
    path = saved(tmp_path / "m.safetensors", source, UNET, BONE_PORES)
    start = start_weights(into, spec, path, labels=BONE_PORES)
    image = torch.randn(1, 2, 64, 64)
    torch.testing.assert_close(logits(into, image), logits(source, image[:, :1]))
    assert any("weighs nothing at first" in note for note in start.notes)


def test_a_model_that_looks_twice_goes_on_as_it_is(tmp_path: Path) -> None:
    spec = replace(UNET, in_channels=2)
    source, into = fitted(spec), fresh(spec)
    start_weights(into, spec, twice(tmp_path / "m.safetensors", source), labels=BONE_PORES)
    image = torch.randn(1, 2, 64, 64)
    torch.testing.assert_close(logits(into, image), logits(source, image))


def test_a_shipped_model_starts_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = fitted(UNET)
    saved(tmp_path / "zebra.safetensors", source, UNET, BONE_PORES)
    monkeypatch.setattr(shipped, "shipped_folder", lambda: tmp_path)
    into = fresh(UNET)
    start_weights(into, UNET, "zebra", labels=BONE_PORES, base=tmp_path / "elsewhere")
    image = torch.randn(1, 1, 64, 64)
    torch.testing.assert_close(logits(into, image), logits(source, image))
