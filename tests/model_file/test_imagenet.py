"""ImageNet weights by the libraries' own code, from a cache made here: nothing is downloaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision
from safetensors.torch import save_file
from segmentation_models_pytorch.encoders import encoders
from torch import nn

from osteon.errors import InputError, UsageError
from osteon.labels import BONE_PORES
from osteon.model_file import check_start, start_weights
from osteon.networks import NetworkSpec, build_network

LABELS = BONE_PORES


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of huggingface_hub, without a network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path


def put(cache: Path, repository: str, revision: str, state: dict[str, torch.Tensor]) -> Path:
    """Lay out a download as huggingface_hub does."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    commit = revision if revision != "main" else "0" * 40
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(commit)
    snapshot = folder / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    save_file(state, snapshot / "model.safetensors")
    return snapshot / "model.safetensors"


def put_resnet(cache: Path, name: str) -> nn.Module:
    """A ResNet of torchvision as if it were fitted to ImageNet."""
    torch.manual_seed(11)
    network: nn.Module = getattr(torchvision.models, name)()
    with torch.no_grad():
        network(torch.randn(2, 3, 64, 64))
    where = encoders[name]["pretrained_settings"]["imagenet"]
    put(cache, where["repo_id"], where["revision"], dict(network.state_dict()))
    return network.eval()


def fresh(spec: NetworkSpec) -> nn.Module:
    torch.manual_seed(99)
    return build_network(spec).eval()


@torch.inference_mode()
def first_feature(resnet: nn.Module, image: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = resnet.relu(resnet.bn1(resnet.conv1(image)))
    return found


def test_the_encoder_starts_from_imagenet_and_the_rest_at_random(cache: Path) -> None:
    theirs = put_resnet(cache, "resnet18")
    spec = NetworkSpec("unet", "resnet18", 1, 3)
    untouched, drawn = fresh(spec), torch.rand(3)
    network = fresh(spec)
    start = start_weights(network, spec, "imagenet", labels=LABELS)
    assert torch.equal(torch.rand(3), drawn)  # the fit's random numbers are the same
    state, before = network.state_dict(), untouched.state_dict()
    expected = theirs.state_dict()
    for name in state:
        if not name.startswith("encoder."):
            assert torch.equal(state[name], before[name]), name
        elif name != "encoder.conv1.weight":
            assert torch.equal(state[name], expected[name.removeprefix("encoder.")]), name
    # A grey image of one channel gives what three equal colours give.
    grey = torch.randn(1, 1, 64, 64)
    found = first_feature(network.encoder, grey)  # type: ignore[arg-type]
    torch.testing.assert_close(found, first_feature(theirs, grey.expand(-1, 3, -1, -1)))
    assert start.source == "imagenet"
    assert len(str(start.sha256)) == 64
    assert "starts from its ImageNet weights" in start.notes[0]


@pytest.mark.parametrize("slices", [3, 5])
def test_neighbouring_slices_take_the_place_of_colours(slices: int, cache: Path) -> None:
    theirs = put_resnet(cache, "resnet18")
    spec = NetworkSpec("fpn", "resnet18", slices, 2)
    network = fresh(spec)
    start_weights(network, spec, "imagenet", labels=LABELS)
    weight, colours = network.state_dict()["encoder.conv1.weight"], theirs.conv1.weight
    for channel in range(slices):
        torch.testing.assert_close(weight[:, channel], colours[:, channel % 3] * 3 / slices)


def test_a_3d_encoder_is_inflated(cache: Path) -> None:
    theirs = put_resnet(cache, "resnet50")
    spec = NetworkSpec("unet", "resnet50", 1, 3, dimensions=3)
    network = fresh(spec)
    start = start_weights(network, spec, "imagenet", labels=LABELS)
    assert any("stacked along depth" in note for note in start.notes)
    state, expected = network.state_dict(), theirs.state_dict()
    weight = expected["layer3.0.conv2.weight"]
    assert state["encoder.layer3.0.conv2.weight"].shape == (*weight.shape[:2], 3, 3, 3)
    for depth in range(3):
        found = state["encoder.layer3.0.conv2.weight"][:, :, depth]
        torch.testing.assert_close(found, weight / 3)
    total = state["encoder.conv1.weight"].sum(dim=(1, 2))
    torch.testing.assert_close(total, expected["conv1.weight"].sum(dim=1))


def test_an_encoder_of_timm(cache: Path) -> None:
    torch.manual_seed(12)
    theirs = timm.create_model("resnet10t", pretrained=False)
    where = timm.models.get_pretrained_cfg("resnet10t").hf_hub_id
    put(cache, where, "main", dict(theirs.state_dict()))
    spec = NetworkSpec("unet", "tu-resnet10t", 3, 3)
    network = fresh(spec)
    start_weights(network, spec, "imagenet", labels=LABELS)
    state, expected = network.state_dict(), theirs.state_dict()
    shared = [n for n in state if n.startswith("encoder.")]
    assert len(shared) > 50
    for name in shared:
        assert torch.equal(state[name], expected[name.removeprefix("encoder.model.")]), name


# --- refused --------------------------------------------------------------------------------


@pytest.mark.parametrize("encoder", ["resnet18", "tu-resnet10t"])
def test_without_a_network_the_way_out_is_told(encoder: str, cache: Path) -> None:
    with pytest.raises(InputError, match="not on this machine and cannot be downloaded") as caught:
        check_start(NetworkSpec("unet", encoder, 1, 3), "imagenet", labels=LABELS)
    mend = str(caught.value.mend)
    assert "network.weights=random" in mend
    assert "hf download" in mend
    assert "HF_HOME" in mend
    repository = encoders["resnet18"]["pretrained_settings"]["imagenet"]["repo_id"]
    assert (repository if encoder == "resnet18" else "timm/resnet10t") in mend


@pytest.mark.slow
def test_a_network_that_is_down_is_told_in_the_end(tmp_path: Path) -> None:
    # Port 9 of this machine answers nobody; the library tries for 25 seconds.
    code = (
        "from osteon.errors import InputError\n"
        "from osteon.labels import BONE_PORES\n"
        "from osteon.model_file import check_start\n"
        "from osteon.networks import NetworkSpec\n"
        "try:\n"
        "    check_start(NetworkSpec('unet', 'resnet18', 1, 3), 'imagenet', labels=BONE_PORES)\n"
        "except InputError as error:\n"
        "    print(error.what)\n"
    )
    environment = {
        **{k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")},
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert "cannot be downloaded" in done.stdout


def test_a_damaged_download_is_told(cache: Path) -> None:
    where = encoders["resnet18"]["pretrained_settings"]["imagenet"]
    path = put(cache, where["repo_id"], where["revision"], {"a": torch.zeros(3)})
    for content in (path.read_bytes()[:20], path.read_bytes()):  # cut off; of something else
        path.write_bytes(content)
        with pytest.raises(InputError, match="ImageNet weights of resnet18 are damaged") as caught:
            check_start(NetworkSpec("unet", "resnet18", 1, 3), "imagenet", labels=LABELS)
        assert f"hf cache rm model/{where['repo_id']}" in str(caught.value.mend)


def test_encoders_without_imagenet_weights_are_refused(cache: Path) -> None:
    for name in ("dpn107", "tu-efficientnet_cc_b0_4e"):
        with pytest.raises(UsageError, match=f"no ImageNet weights of {name}"):
            check_start(NetworkSpec("fpn", name, 1, 3), "imagenet", labels=LABELS)
    with pytest.raises(UsageError, match="segresnet has no encoder"):
        check_start(NetworkSpec("segresnet", "", 1, 3, dimensions=3), "imagenet", labels=LABELS)


def test_the_library_gives_the_same_by_its_own_way(cache: Path) -> None:
    put_resnet(cache, "resnet18")
    spec = NetworkSpec("pspnet", "resnet18", 1, 3)  # three of five stages
    network = fresh(spec)
    start_weights(network, spec, "imagenet", labels=LABELS)
    own = smp.PSPNet("resnet18", encoder_weights="imagenet", in_channels=1, classes=3).encoder
    found = {n: t for n, t in network.state_dict().items() if n.startswith("encoder.")}
    assert found.keys() == {f"encoder.{n}" for n in own.state_dict()}
    for name, tensor in own.state_dict().items():
        assert torch.equal(found[f"encoder.{name}"], tensor), name
