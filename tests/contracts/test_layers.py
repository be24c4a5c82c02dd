"""What must be quick to start does without torch (import-linter keeps the layers themselves)."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "lightning", "segmentation_models_pytorch", "torchmetrics", "torchvision")
LIGHT = (
    "osteon",
    "osteon.settings",
    "osteon.tables",
    "osteon.tables.choices",
    "osteon.formats",
    "osteon.datasets",
    "osteon.reports",
    "osteon.simulation",
    "osteon.evaluation",
    "osteon.morphometry",
)


def imported(code: str) -> set[str]:
    """Run code in a fresh interpreter and return the top-level packages it ended with."""
    code += "\nimport sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=240
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", LIGHT)
def test_importing_it_does_not_import_torch(module: str) -> None:
    found = imported(f"import {module}")
    assert "osteon" in found
    assert found.isdisjoint(HEAVY)


def test_torch_would_be_noticed() -> None:
    assert "torch" in imported("import osteon.losses")


def test_settings_know_every_choice_without_torch() -> None:
    code = """
from osteon.settings import FitSettings, MeasureSettings, PredictSettings, SimulateSettings
from osteon.settings import settings_help
for kind in (FitSettings, MeasureSettings, PredictSettings, SimulateSettings):
    assert len(settings_help(kind)) > 4
"""
    assert imported(code).isdisjoint({*HEAVY, "numpy"})
