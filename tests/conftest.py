"""What every test may ask for. Nothing here replaces a real part."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The pictures by others; the test skips where they are not."""
    named = os.environ.get("SORTER_DATA")
    root = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not root.is_dir():
        pytest.skip("no pictures: set SORTER_DATA")
    return root


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that asks for `data_root` carries the marker `dataset`, said or not."""
    for item in items:
        if "data_root" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.dataset)
