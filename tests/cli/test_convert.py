"""``osteon model convert``, and the original's models used at once."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import tifffile
import torch
from safetensors.torch import load_file

from osteon.labels import BONE_PORES
from osteon.model_file import Model, ModelSpec, save_model
from osteon.networks import NetworkSpec

from .calling import call, phantom, refused, setting, write_slices

METADATA = {
    "num_classes": np.int64(3),
    "normalization": "minMax",
    "model_arch": "U-Net",
    "backbone": "resnet18",
    "in_channels": 1,
    "mode": "2D",
    "is_3d": False,
    "best_val_score": np.float64(0.9),
    "best_epoch": 3,
}


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(3)
    built = smp.Unet("resnet18", encoder_weights=None, in_channels=1, classes=3)
    with torch.no_grad():
        built(torch.rand(2, 1, 64, 64))
    return built.eval()


@pytest.fixture
def theirs(tmp_path: Path, network: torch.nn.Module) -> Path:
    path = tmp_path / "BP-2D-03.pth"
    torch.save({"model_state": network.state_dict(), "metadata": METADATA}, path)
    return path


def test_there_and_back(theirs: Path, network: torch.nn.Module, tmp_path: Path) -> None:
    out, back = tmp_path / "sub" / "model.safetensors", tmp_path / "back.pth"
    first = call("model", "convert", theirs, "--out", out)
    assert first.code == 0, first.err
    assert "reference-minmax-positive" in first.out
    assert "0 background, 1 bone, 2 pores" in first.out
    second = call("model", "convert", out, "--out", back, "--json")
    assert second.json["out"] == str(back)
    assert second.json["model"]["network"]["encoder"] == "resnet18"
    content = torch.load(back, weights_only=True)
    for weights in (load_file(out), content["model_state"]):
        assert set(weights) == set(network.state_dict())
        assert all(torch.equal(weights[n], t) for n, t in network.state_dict().items())
    assert content["metadata"]["best_val_score"] == 0.9
    assert [p.name for p in out.parent.iterdir()] == [out.name]


def test_an_existing_target_is_kept(theirs: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.safetensors"
    out.write_text("kept")
    refused(call("model", "convert", theirs, "--out", out), 4, str(out), "--overwrite")
    assert out.read_text() == "kept"
    assert call("model", "convert", theirs, "--out", out, "--overwrite").code == 0
    assert load_file(out)


def test_a_model_does_not_replace_itself(theirs: Path) -> None:
    before = theirs.read_bytes()
    refused(call("model", "convert", theirs, "--out", theirs, "--overwrite"), 4, "another name")
    assert theirs.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.zip", ("'.zip'", ".safetensors")),
        ("a", ("''", ".pth")),
    ],
)
def test_other_formats_are_told(
    name: str, words: tuple[str, ...], theirs: Path, tmp_path: Path
) -> None:
    refused(call("model", "convert", theirs, "--out", tmp_path / name), 2, *words)


def test_classes_are_renamed(theirs: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.safetensors"
    ran = call("model", "convert", theirs, "--out", out, "--classes", "air, bone,marrow", "--json")
    assert [c["name"] for c in ran.json["model"]["labels"]["classes"]] == ["air", "bone", "marrow"]
    assert "1 bone, 2 marrow" in call("model", "show", out).out
    for names, words in (
        ("a,b", "3 classes, not 2"),
        ("a,b,", "3 classes"),
        ("a,b,a", "different"),
    ):
        ran = call("model", "convert", theirs, "--out", tmp_path / "b.pth", "--classes", names)
        refused(ran, 2, words)


def test_a_model_of_another_recipe_has_no_place_in_the_originals_format(
    network: torch.nn.Module, tmp_path: Path
) -> None:
    spec = ModelSpec("a", NetworkSpec("unet", "resnet18", 1, 3), BONE_PORES, "zscore", 1)
    ours = save_model(tmp_path / "a.safetensors", Model(spec, network.state_dict())).path
    out = tmp_path / "a.pth"
    mend = "normalisation.recipe=reference-zscore-positive"
    refused(call("model", "convert", ours, "--out", out), 2, "original's format", "zscore", mend)
    assert not out.exists()


def test_a_pth_predicts_at_once_and_as_the_original_does(
    theirs: Path, network: torch.nn.Module, tmp_path: Path
) -> None:
    image, _ = phantom(0, shape=(3, 64, 96))
    scan = write_slices(tmp_path / "scan", image)
    out = tmp_path / "labels.tif"
    fixed = setting("precision=fp32", "device=cpu")
    ran = call("predict", scan, "--model", theirs, "--out", out, *fixed)
    assert ran.code == 0, ran.err
    positive = image[image > 0].astype(np.float64)
    low, high = positive.min(), positive.max()
    normal = np.clip((image - low) / (high - low), 0, 1).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(normal)[:, None]).argmax(1).numpy()
    found = tifffile.imread(out)
    assert len(np.unique(expected)) > 1
    assert np.mean(found == expected) > 0.999  # ties of two logits may fall either way


def test_onnx_gives_what_the_network_gives(
    theirs: Path, network: torch.nn.Module, tmp_path: Path
) -> None:
    runtime = pytest.importorskip("onnxruntime")
    out = tmp_path / "model.onnx"
    ran = call("model", "convert", theirs, "--out", out)
    assert ran.code == 0, ran.err
    session = runtime.InferenceSession(out.read_bytes(), providers=["CPUExecutionProvider"])
    for shape in ((1, 1, 64, 64), (2, 1, 32, 96)):  # batch and sides stay free
        batch = torch.randn(shape)
        (found,) = session.run(["logits"], {"image": batch.numpy()})
        with torch.inference_mode():
            expected = network(batch).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-4 * abs(expected).max())
    about = session.get_modelmeta().custom_metadata_map
    assert about["schema"] == "1"
    shown = call("model", "show", theirs, "--json")
    assert json.loads(about["osteon"]) == shown.json
    assert [p.name for p in out.parent.iterdir()].count(out.name) == 1


def test_onnx_without_its_library_is_refused(
    theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    out = tmp_path / "model.onnx"
    refused(call("model", "convert", theirs, "--out", out), 6, "onnx", "osteon[fast]")
    assert not out.exists()
