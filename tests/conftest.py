"""What every test may ask for. Nothing here replaces a real part."""

from __future__ import annotations

import os
from collections.abc import Generator
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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI, which installs every package, a test may not skip because one is missing."""
    report = yield
    if report.skipped and os.environ.get("CI") and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2]
        if any(word in reason for word in ("missing", "Debian package", "install the package")):
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} may not skip in CI: {reason}"
    return report
