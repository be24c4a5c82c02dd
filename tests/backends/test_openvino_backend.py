"""What is peculiar to the OpenVINO backend; what all backends share is in test_torch_backend.py."""

from __future__ import annotations

import sys

import pytest

from osteon.backends import open_backend
from osteon.errors import DependencyError, UsageError
from osteon.networks import NetworkSpec, build_network
from osteon.settings import PredictSettings

SPEC = NetworkSpec("unet", "resnet18", 1, 3, (16, 16, 8, 8, 8))


def opened(**settings: str) -> None:
    asked = PredictSettings.model_validate({"backend": "openvino", **settings})
    open_backend(SPEC, build_network(SPEC).state_dict(), asked)


def test_a_missing_library_is_named_with_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(DependencyError, match=r"osteon\[fast\]"):
        opened()


@pytest.mark.parametrize("change", [{"device": "cuda"}, {"precision": "bf16"}])
def test_what_it_cannot_do_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="openvino"):
        opened(**change)
