"""A sitting of `sorter review` as its own process, over tiny real parts, for several test files."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.tiny import colour_of, paint, taxonomy3, write_bundle

ROOT = Path(__file__).parents[2]


def make_ring(folder: Path, count: int = 4) -> Path:
    """A ring as a station leaves it: picture i shows class i % 3, the station said `peel`."""
    folder.mkdir()
    words = taxonomy3()
    for i in range(count):
        name = f"20261125T1200{i:02d}Z_n{i}_0101_4{i % 10}.png"
        paint(folder / name, colour_of(words, i % 3), size=(60 + i, 40))
    return folder


@dataclass
class Sitting:
    """A running command and a way to talk to it."""

    process: subprocess.Popen[str]
    url: str

    @property
    def path(self) -> str:
        """The part of the address with the token."""
        return urlsplit(self.url).path

    def ask(
        self,
        method: str,
        rest: str,
        body: bytes | dict[str, Any] | None = None,
        *,
        path: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """One request: status, headers with small names, body."""
        at = urlsplit(self.url)
        connection = http.client.HTTPConnection(str(at.hostname), at.port, timeout=20)
        sent = dict(headers or {})
        if isinstance(body, dict):
            body = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        try:
            target = path if path is not None else self.path + rest
            connection.request(method, target, body=body, headers=sent)
            reply = connection.getresponse()
            found = {name.lower(): value for name, value in reply.getheaders()}
            return reply.status, found, reply.read()
        finally:
            connection.close()

    def state(self) -> dict[str, Any]:
        """The page's state."""
        return self._json(self.ask("GET", "state"))

    def answer(self, what: str, **body: str) -> dict[str, Any]:
        """Label, skip or undo; the state after it."""
        return self._json(self.ask("POST", what, dict(body)))

    def end(self) -> tuple[int, str, str]:
        """Exit code, stdout and stderr once it ended."""
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err

    @staticmethod
    def _json(reply: tuple[int, dict[str, str], bytes]) -> dict[str, Any]:
        assert reply[0] == 200, reply
        found: dict[str, Any] = json.loads(reply[2])
        return found


@contextmanager
def sitting(folder: Path, into: Path, *words: str, model: Path | None = None) -> Generator[Sitting]:
    """`sorter review folder --into into`, killed if still there at the end.

    Without `model` a tiny one of three colours suggests.
    """
    bundle = model or into.parent / "bundle"
    if not bundle.is_dir():
        write_bundle(bundle)
    line = [sys.executable, "-m", "sorter", "review", str(folder), "--into", str(into)]
    line += ["--model", str(bundle), "--no-open", *words]
    with subprocess.Popen(
        line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url.startswith("http://"), process.communicate(timeout=30)
            yield Sitting(process, url)
        finally:
            if process.poll() is None:
                process.kill()
