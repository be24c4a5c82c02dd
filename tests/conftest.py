"""What all tests share: a cache folder of their own, and the real scans where they are there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

#: Files of very many tests that share nothing: each may run in any process.
APART = {"test_networks.py"}


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist, which reads the marks once
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file in one process, for what they share is made once."""
    for item in items:
        if item.path.name not in APART:
            item.add_marker(pytest.mark.xdist_group(str(item.path)))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Neither read nor fill the user's cache; spawned processes inherit it."""
    os.environ["OSTEON_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real scans, which are not part of the project."""
    if not DATA.is_dir():
        pytest.skip(f"no real scans in {DATA}")
    return DATA
