from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _spawned_workers_find_the_toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
