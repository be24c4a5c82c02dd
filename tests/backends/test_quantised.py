"""Int8 by NNCF: another network than in full precision, close to it, the same each time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from osteon.backends import open_backend, quantised
from osteon.backends.quantised import Quantiser, why_not_int8
from osteon.errors import OutputError
from osteon.networks import NetworkSpec, build_network
from osteon.settings import PredictSettings

SPEC = NetworkSpec("unet", "resnet18", 1, 3, (16, 16, 8, 8, 8))
ASKED = PredictSettings(backend="openvino", device="cpu", threads=1)


def layers(path: Path, kind: str) -> int:
    """Layers of a kind in a file of OpenVINO, read without it."""
    return sum(layer.get("type") == kind for layer in ElementTree.parse(path).iter("layer"))  # noqa: S314


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    torch.manual_seed(0)
    network = build_network(SPEC)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.bias.data.normal_()  # biases that matter: they once came out wrong in int8
    network(torch.randn(4, 1, 64, 64))  # so that the batch norms have statistics of their own
    weights = network.eval().state_dict()
    full = open_backend(SPEC, weights, ASKED)
    quantiser = Quantiser(SPEC, weights, ASKED, backend=full)
    samples = [np.random.default_rng(i).normal(size=(1, 1, 64, 64)).astype("f4") for i in range(4)]
    path = tmp_path_factory.mktemp("int8") / "int8.xml"
    quantiser.make(samples, path)
    return SimpleNamespace(full=full, quantiser=quantiser, path=path)


def test_it_is_close_to_full_precision_and_not_the_same(made: SimpleNamespace) -> None:
    batch = np.random.default_rng(9).normal(size=(2, 1, 96, 64)).astype(np.float32)
    exact, found = made.full.run(batch), made.quantiser.open(made.path).run(batch)
    assert found.shape == exact.shape
    assert 0 < np.abs(found - exact).mean() < 0.1 * exact.std()
    assert np.corrcoef(found.ravel(), exact.ravel())[0, 1] > 0.99


def test_all_but_the_ends_is_in_whole_numbers(made: SimpleNamespace) -> None:
    assert layers(made.path, "FakeQuantize") > 20
    convolutions = layers(made.path, "Convolution")
    # A convolution in int8 has its weights stored so, with a Convert to floats before it is fused.
    tree = ElementTree.parse(made.path)  # noqa: S314
    stored = [d.get("element_type") for d in tree.iter("data") if d.get("element_type")]
    assert stored.count("i8") == convolutions - 2


def test_it_is_the_same_each_time_it_is_opened(made: SimpleNamespace) -> None:
    batch = np.random.default_rng(8).normal(size=(1, 1, 64, 96)).astype(np.float32)
    first, second = (made.quantiser.open(made.path) for _ in range(2))
    np.testing.assert_array_equal(first.run(batch), second.run(batch))
    np.testing.assert_array_equal(first.labels(batch), first.run(batch).argmax(1))
    assert "int8" in first.description
    assert sorted(p.name for p in made.path.parent.iterdir()) == ["int8.bin", "int8.xml"]


def test_a_damaged_file_is_refused(made: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "int8.xml"
    path.write_text("<net>")
    path.with_suffix(".bin").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be read"):
        made.quantiser.open(path)


Why = Callable[..., str | None]


@pytest.mark.parametrize(
    ("networks", "device", "views", "expected"),
    [(1, "cpu", 1, None), (1, "cuda", 1, "CPUs"), (2, "cpu", 1, "mean"), (1, "cpu", 4, "mean")],
)
def test_it_says_why_not(networks: int, device: str, views: int, expected: str | None) -> None:
    asked = PredictSettings.model_validate({"views": views})
    found = why_not_int8(asked, networks=networks, device=device)
    assert found is None if expected is None else expected in str(found)


def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantised, "find_spec", lambda name: None if name == "nncf" else object())
    found = str(why_not_int8(PredictSettings(), networks=1, device="cpu"))
    assert found.startswith("nncf must be installed")
    assert "osteon[fast]" in found
