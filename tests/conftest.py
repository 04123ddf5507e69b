"""Which tests run, and what every test may ask for. Nothing here replaces a real part.

Every test is of exactly one kind: the one it is marked with, else that of its folder, else `quick`.
`pytest` alone runs the quick ones; a path or `-m` is taken at its word; `pytest --all` runs all.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.tiny import write_bundle

HERE = Path(__file__).parent
KINDS = ("quick", "waits", "process", "machine", "training", "soak")
OF_FOLDER = {"process": "process", "machine": "machine", "train": "training"}
STARTS = frozenset({"subprocess.Popen", "os.fork", "os.posix_spawn", "os.system", "os.forkpty"})

_ALL = pytest.StashKey[bool]()
_running_quick: list[str] = []


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The pictures by others; the test skips where they are not."""
    named = os.environ.get("SORTER_DATA")
    root = Path(named) if named else HERE.parents[1] / "shared" / "data"
    if not root.is_dir():
        pytest.skip("no pictures: set SORTER_DATA")
    return root


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A released model of three classes; read it only, a test that changes one writes its own."""
    return write_bundle(tmp_path_factory.mktemp("bundle"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="every kind of test, not the quick alone")


def pytest_configure(config: pytest.Config) -> None:
    named = config.args_source is not pytest.Config.ArgsSource.TESTPATHS
    config.stash[_ALL] = bool(config.getoption("--all") or config.option.markexpr or named)
    sys.addaudithook(_no_process_in_a_quick_test)


def _no_process_in_a_quick_test(event: str, _: object) -> None:
    if _running_quick and event in STARTS:
        raise RuntimeError(f"{_running_quick[-1]} starts a process ({event}): it is not quick")


def _folder(path: Path) -> str:
    parts = path.relative_to(HERE).parts if path.is_relative_to(HERE) else ()
    return OF_FOLDER.get(parts[0], "quick") if parts else "quick"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The quick run does not even import what needs torch."""
    return True if _folder(collection_path) == "training" and not config.stash[_ALL] else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if not any(item.get_closest_marker(kind) for kind in KINDS):
            item.add_marker(_folder(item.path))
        if "data_root" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.dataset)
    if not config.stash[_ALL]:
        slow = [item for item in items if _kind(item) != "quick"]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if _kind(item) == "quick"]


def _kind(item: pytest.Item) -> str:
    """The kind that is marked nearest to the test."""
    return next(mark.name for mark in item.iter_markers() if mark.name in KINDS)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    if _kind(item) == "quick":
        _running_quick.append(item.nodeid)
    try:
        return (yield)
    finally:
        _running_quick.clear()


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
