"""Models that come with osteon, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from scipy import ndimage
from tests.cli.calling import call, refused, setting, write_slices

from osteon.labels import BONE_PORES
from osteon.model_file import ContextSpec, Model, ModelSpec, load_model, save_model
from osteon.networks import NetworkSpec, build_network
from osteon.tables import shipped

NETWORK = NetworkSpec("unet", "resnet18", 2, 3, (16, 16, 8, 8, 8))
FP32 = ("--set", "precision=fp32", "--device", "cpu")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package folder with a model, in half precision, as osteon would ship it."""
    made = tmp_path / "models"
    torch.manual_seed(0)
    spec = ModelSpec(
        "bone-pores",
        NETWORK,
        BONE_PORES,
        "edges",
        1,
        context=ContextSpec(48),
        feature_px=(2.0, 6.0),
    )
    weights = build_network(NETWORK).eval().state_dict()
    save_model(made / "bone-pores.safetensors", Model(spec, weights), half=True)
    monkeypatch.setattr(shipped, "shipped_folder", lambda: made)
    monkeypatch.setattr("osteon.prediction.context.UNDECIDED_SHARE", 1.0)  # random weights
    return made


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    field = ndimage.gaussian_filter(rng.normal(size=(9, 120, 130)), 6)
    image = ndimage.gaussian_filter((field > 0.3 * field.std()) * 100.0, 1)
    noisy = image + 80 + rng.normal(0, 4, image.shape)
    return write_slices(tmp_path / "scan", noisy.astype(np.uint8))


@pytest.mark.usefixtures("folder")
def test_a_report_shows_slices_and_what_was_warned_of(scan: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.tif"
    sized = ("--voxel-size", "10", "--json", "--set", "contiguous=no")
    ran = call("predict", scan, "--out", out, *sized, *FP32)
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)["scans"][0]
    report = tmp_path / "labels.tif.report.html"
    assert told["report"] == str(report)
    page = report.read_text(encoding="utf-8")
    assert page.count("<img") == 2 * 6
    assert page.count("slice ") >= 6
    assert 'src="http' not in page
    for name, voxels in told["voxels"].items():
        assert name in page
        assert f"{voxels:,d}" in page
        # Voxels of 10 µm are 1e-6 mm³.
        assert f"{voxels * 1e-6:.4g}" in page
    # Bone of 12 pixels is seen reduced; there is no metal.
    assert "far brighter than bone" not in page

    assert call("predict", scan, "--out", out, "--overwrite", *sized, *FP32).code == 0
    report.unlink()
    ran = call("predict", scan, "--out", out, "--overwrite", "--set", "report=no", *FP32)
    assert ran.code == 0, ran.err
    assert not report.exists()


@pytest.mark.usefixtures("folder")
def test_a_report_says_what_was_warned_of(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    flat = np.full((2, 96, 96), 90.0) + rng.normal(0, 4, (2, 96, 96))
    scan = write_slices(tmp_path / "flat", flat.astype(np.uint8))
    ran = call("predict", scan, "--out", tmp_path / "labels.tif", *FP32)
    assert ran.code == 0, ran.err
    assert "no-bone-like-edges" in ran.err
    page = (tmp_path / "labels.tif.report.html").read_text(encoding="utf-8")
    assert "no edges that stand out of the noise" in page
    assert "The voxel size is unknown" in page


@pytest.mark.usefixtures("folder")
def test_a_scan_is_labelled_without_naming_a_model(scan: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.tif"
    ran = call("predict", scan, "--out", out, *FP32)
    assert ran.code == 0, ran.err
    assert tifffile.imread(out).shape == (9, 120, 130)
    assert "so the slices are reduced" in ran.err
    assert "the outline is sought in slices as one piece of space" in ran.err
    record = json.loads((tmp_path / "labels.tif.osteon.json").read_text())
    assert record["model"]["name"] == "bone-pores"
    assert record["contiguity"]["contiguous"] is True
    # About 12 pixels thick, brought to the end of 2 to 6.
    thickness = record["features"]["thickness_px"]
    assert thickness == pytest.approx(12, rel=0.4)
    assert record["scale"]["factor"] == pytest.approx(thickness / 6)
    assert record["plan"]["context"]["contiguous"] is True
    assert record["resampled"][1] == pytest.approx(120 / record["scale"]["factor"], abs=1)

    named = tmp_path / "named.tif"
    assert call("predict", scan, "--model", "bone-pores", "--out", named, *FP32).code == 0
    np.testing.assert_array_equal(tifffile.imread(named), tifffile.imread(out))


@pytest.mark.usefixtures("folder")
def test_slices_on_their_own(scan: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.tif"
    ran = call("predict", scan, "--out", out, *setting("contiguous=no"), *FP32)
    assert ran.code == 0, ran.err
    assert "each on its own: as was said" in ran.err
    refused(call("predict", scan, "--out", out, *setting("contiguous=perhaps")), 2, "contiguous")


def test_it_is_listed_shown_and_converted(folder: Path, tmp_path: Path) -> None:
    assert list(call("model", "list", "--json").json["models"]) == ["bone-pores"]
    shown = call("model", "show", "bone-pores").out
    assert "looks twice:    first at the whole, at most 48 pixels wide" in shown
    assert "2 to 6 pixels thick" in shown
    out = tmp_path / "full.safetensors"
    assert call("model", "convert", "bone-pores", "--out", out).code == 0
    assert load_model(out).spec == load_model(folder / "bone-pores.safetensors").spec
    refused(call("model", "convert", "bone-pores", "--out", tmp_path / "m.pth"), 2, "slice twice")


def test_without_it_one_must_be_named(folder: Path, scan: Path, tmp_path: Path) -> None:
    (folder / "bone-pores.safetensors").unlink()
    words = ("predict", scan, "--out", tmp_path / "labels")
    refused(call(*words), 3, "comes without the model 'bone-pores'", "osteon fit")
    refused(call(*words, "--model", "bone-pore"), 3, "there is no model 'bone-pore'")
    assert "models: none" in call("model", "list").out
