"""The Containerfile, as far as it goes without a container engine: what it copies is enough."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _steps() -> list[tuple[str, str]]:
    """(instruction, the rest) of each line, continued lines joined."""
    text = (ROOT / "systemd" / "Containerfile").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", text, flags=re.M)).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines if line)]


def _copied() -> list[list[str]]:
    """The words of each COPY out of the checkout: sources, then the place."""
    return [rest.split() for word, rest in _steps() if word == "COPY" and "--from" not in rest]


def test_a_short_base_no_root_and_sorter_as_the_command() -> None:
    steps = _steps()
    for word, rest in steps:
        if word == "FROM":
            assert re.fullmatch(r"python:3\.\d+-slim( AS \w+)?", rest)
    last = dict(steps)  # a later instruction replaces an earlier one
    assert last["USER"] == "sorter"
    assert last["ENTRYPOINT"] == '["sorter"]'
    words = [word for word, _ in steps]
    assert words.index("USER") < words.index("ENTRYPOINT")


def test_what_is_copied_is_enough_for_its_pip_install(tmp_path: Path) -> None:
    pytest.importorskip("build", reason="the dev extra is not installed")
    source = tmp_path / "src"
    source.mkdir()
    ignored = shutil.ignore_patterns("__pycache__")
    for *names, place in _copied():
        for name in names:
            here = ROOT / name
            assert here.exists(), name
            if here.is_dir():
                shutil.copytree(here, source / place, ignore=ignored)
            else:
                shutil.copy(here, source / place)
    assert any("pip install --no-cache-dir ." in rest for word, rest in _steps() if word == "RUN")
    words = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    done = subprocess.run([*words, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert len(list(tmp_path.glob("sorter-*.whl"))) == 1
