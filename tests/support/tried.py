"""Run many command lines of `sorter`, each in a child of one warm process.

Imports once. A line that runs longer than it may is killed, as one that runs for ever is. Each has
an empty folder to stand in and a state folder of its own.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress

TOGETHER = 6
"""Children at a time: most of them end at once, and the rest wait."""


def tried(lines: Sequence[Sequence[str]], seconds: float) -> list[str]:
    """What each line said on stderr before it ended, or was killed after so long."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.tried", str(seconds)],
        input=json.dumps(lines),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    said: list[str] = json.loads(done.stdout)
    return said


def main() -> None:
    """The warm process: lines from stdin, what they said to stdout."""
    lines = json.load(sys.stdin)
    wanted = ["numpy", "openvino", "PIL.Image", "sorter.cli.app"]
    if any(line[0] in ("train", "export") for line in lines):
        wanted += ["torch", "train.entry"]
    for name in wanted:
        with suppress(ImportError):
            importlib.import_module(name)
    said: list[str] = []
    for at in range(0, len(lines), TOGETHER):
        said += _run(lines[at : at + TOGETHER], float(sys.argv[1]))
    sys.stdout.write(json.dumps(said))


def _run(lines: Sequence[list[str]], seconds: float) -> list[str]:
    with tempfile.TemporaryDirectory() as home:
        children = {}
        for number, line in enumerate(lines):
            folder = f"{home}/{number}"
            os.mkdir(folder)  # noqa: PTH102
            child = os.fork()
            if child == 0:
                _be(line, folder)
            children[child] = f"{folder}.err"
        until = time.monotonic() + seconds
        running = set(children)
        while running and time.monotonic() < until:
            time.sleep(0.02)
            running -= {child for child in running if os.waitpid(child, os.WNOHANG)[0]}
        for child in running:
            with suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
        said = []
        for errors in children.values():
            with open(errors, encoding="utf-8", errors="replace") as stream:  # noqa: PTH123
                said.append(stream.read())
        return said


def _be(line: list[str], folder: str) -> None:
    """Become the command; does not return."""
    os.setsid()
    out = os.open(os.devnull, os.O_RDWR)
    errors = os.open(f"{folder}.err", os.O_WRONLY | os.O_CREAT)
    for number, target in ((0, out), (1, out), (2, errors)):
        os.dup2(target, number)
    os.chdir(folder)
    os.environ |= {"XDG_STATE_HOME": folder, "XDG_CACHE_HOME": folder, "HOME": folder}
    sys.argv = ["sorter", *line]
    code = 70
    try:
        from sorter.cli import exits
        from sorter.cli.app import app

        code = exits.run(app, "sorter")
    except BaseException:
        sys.excepthook(*sys.exc_info())
    os._exit(code)


if __name__ == "__main__":
    main()
