"""The choice of the backend: by seconds that the test says; and once measured for true."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from osteon.backends import choosing, open_backend, precision
from osteon.backends.choosing import LITTLE_SECONDS, Pick, pick_backend
from osteon.errors import UsageError
from osteon.networks import NetworkSpec, build_network
from osteon.settings import PredictSettings
from osteon.tables.choices import BACKENDS

SPEC = NetworkSpec("unet", "resnet18", 1, 3, (16, 16, 8, 8, 8))
PROBED = math.prod(choosing.EXTENT[2])
#: So many voxels take torch 100 s where it takes 1 s for the probe.
MUCH = 100 * PROBED

Picked = Callable[..., Pick]


@pytest.fixture
def picked(monkeypatch: pytest.MonkeyPatch) -> Picked:
    def pick(
        seconds: dict[str, float | str],
        *,
        voxels: int = MUCH,
        missing: tuple[str, ...] = (),
        **settings: object,
    ) -> Pick:
        def measured(name: str, *_: object) -> float:
            found = seconds[name]
            if isinstance(found, str):
                raise UsageError(found)
            return found

        monkeypatch.setattr(choosing, "_seconds", measured)
        monkeypatch.setattr(choosing, "_lacks", lambda row: [n for n in missing if n == row.name])
        return pick_backend(SPEC, {}, PredictSettings.model_validate(settings), voxels=voxels)

    return pick


@pytest.mark.parametrize(
    ("torch_takes", "openvino", "onnxruntime", "expected"),
    [
        (1.0, 0.5, 0.6, "openvino"),
        (1.0, 0.6, 0.5, "onnxruntime"),
        (1.0, 0.54, 0.5, "openvino"),  # within 10 %: the first of the table
        (1.0, 0.95, 2.0, "torch"),
        (1.0, 1.5, 2.0, "torch"),
    ],
)
def test_the_fastest_is_picked_and_the_seconds_are_told(
    torch_takes: float, openvino: float, onnxruntime: float, expected: str, picked: Picked
) -> None:
    found = picked({"torch": torch_takes, "openvino": openvino, "onnxruntime": onnxruntime})
    assert found.name == expected
    for name, taken in (("torch", torch_takes), ("openvino", openvino)):
        assert f"{name} {taken:.2f} s" in found.why


def test_what_was_asked_for_is_taken_unmeasured(picked: Picked) -> None:
    assert picked({}, backend="openvino").name == "openvino"


def test_little_work_is_left_to_torch(picked: Picked) -> None:
    seconds: dict[str, float | str] = {"torch": 1.0, "openvino": 0.1, "onnxruntime": 0.1}
    border = int(LITTLE_SECONDS * PROBED)
    little = picked(seconds, voxels=border - PROBED)
    assert little.name == "torch"
    assert "about 29 s" in little.why
    assert picked(seconds, voxels=border + PROBED).name == "openvino"


def test_what_is_not_installed_is_named_with_the_mend(picked: Picked) -> None:
    found = picked({}, missing=("openvino", "onnxruntime"))
    assert found.name == "torch"
    assert "osteon[fast]" in found.why
    assert "osteon[onnx]" in found.why
    one = picked({"torch": 1.0, "onnxruntime": 0.1}, missing=("openvino",))
    assert one.name == "onnxruntime"


def test_a_backend_that_cannot_run_the_network_is_passed_over_and_told(picked: Picked) -> None:
    found = picked({"torch": 1.0, "openvino": "OpenVINO cannot run this", "onnxruntime": 0.5})
    assert found.name == "onnxruntime"
    assert "OpenVINO cannot run this" in found.why


def test_a_precision_leaves_the_backends_that_have_it(picked: Picked) -> None:
    seconds: dict[str, float | str] = {"torch": 1.0, "openvino": 0.5}
    assert picked(seconds, precision="bf16").name == "openvino"  # onnxruntime is not measured


def test_a_gpu_is_for_torch(picked: Picked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "choose_device", lambda _: torch.device("cuda"))
    found = picked({})
    assert found.name == "torch"
    assert "GPU" in found.why


def test_it_is_measured_once_on_a_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OSTEON_CACHE_DIR", str(tmp_path))
    opened: list[str] = []

    def opening(*args: object) -> object:
        opened.append(args[2].backend)  # type: ignore[attr-defined]
        return open_backend(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(choosing, "open_backend", opening)
    monkeypatch.setattr(choosing, "EXTENT", {2: (64, 64)})
    weights = build_network(SPEC).state_dict()
    first = pick_backend(SPEC, weights, PredictSettings(device="cpu"), voxels=10**12)
    assert sorted(opened) == sorted(BACKENDS.names())
    assert first.name in BACKENDS.names()
    assert pick_backend(SPEC, weights, PredictSettings(device="cpu"), voxels=10**12) == first
    assert len(opened) == len(BACKENDS.names())


def test_what_is_measured_is_remembered_by_machine_and_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OSTEON_CACHE_DIR", str(tmp_path))
    prepared: list[str] = []

    def measure(key: str) -> float:
        def prepare() -> Callable[[], object]:
            prepared.append(key)
            return lambda: None

        return precision.measured(prepare, key=key)

    assert measure("a") == measure("a")
    measure("b")
    assert prepared == ["a", "b"]
    monkeypatch.setattr(precision, "machine_of", lambda _: "another")
    measure("a")
    assert prepared == ["a", "b", "a"]
