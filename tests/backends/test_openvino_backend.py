"""What is peculiar to the OpenVINO backend; what all backends share is in test_torch_backend.py."""

from __future__ import annotations

import subprocess
import sys

import pytest

from osteon.backends import open_backend, openvino_backend
from osteon.errors import DependencyError, UsageError
from osteon.networks import NetworkSpec, build_network
from osteon.settings import PredictSettings

SPEC = NetworkSpec("unet", "resnet18", 1, 3, (16, 16, 8, 8, 8))
#: Seconds, on a busy machine.
PATIENCE = 250


def opened(**settings: str) -> None:
    asked = PredictSettings.model_validate({"backend": "openvino", **settings})
    open_backend(SPEC, build_network(SPEC).state_dict(), asked)


def test_a_missing_library_is_named_with_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(DependencyError, match=r"osteon\[fast\]"):
        opened()


class WithoutBf16:
    """OpenVINO on an older processor."""

    def get_property(self, device: str, name: str) -> list[str]:
        assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
        return ["FP32", "INT8"]


@pytest.mark.parametrize("change", [{"device": "cuda"}, {"precision": "bf16"}])
def test_what_it_cannot_do_is_refused(
    change: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_backend, "core", WithoutBf16)
    with pytest.raises(UsageError, match="openvino"):
        opened(**change)


_SIGNAL = """
import signal
import torch
from osteon.backends import open_backend
from osteon.networks import NetworkSpec, build_network
from osteon.settings import PredictSettings

spec = NetworkSpec("unet", "tu-lcnet_035", 1, 3, (8, 8, 8, 8, 8))
weights = build_network(spec).eval().state_dict()
asked = PredictSettings(backend="openvino", device="cpu", threads=1)
backends = [open_backend(spec, weights, asked) for _ in range(2)]
del backends[0]
del backends[0]
signal.signal(signal.SIGINT, lambda *_: print("heard"))
signal.raise_signal(signal.SIGINT)
"""


def test_a_signal_is_heard_after_networks_have_been_used() -> None:
    # In a process of its own, which it would end.
    ran = subprocess.run(
        [sys.executable, "-c", _SIGNAL], capture_output=True, text=True, timeout=PATIENCE
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "heard\n"
