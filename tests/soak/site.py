"""A whole station on a bench: the real `sorter watch`, a camera's folder, a simulated gate.

Owns the set-up and the verdict that the soaks of the station share; what is done to the station
is each soak's own. The oracle is the gate's log of movements beside the journal.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.soak.station import OPEN_STATES, gate
from tests.support.tiny import write_bundle

MAX_AGE_S = 5.0
LATE_SLACK_S = 0.5
"""From the host's last look at the clock to the gate's line in its log, on a busy machine."""


@dataclass(frozen=True, slots=True)
class Row:
    """One record of the journal. Times are Unix seconds."""

    n: int
    name: str
    sha256: str
    state: str
    label: str
    reason: str
    model: str
    arrived_at: float


class Site:
    """One station and its surroundings, all under `home`; `port` is the gate's."""

    def __init__(self, home: Path, port: str) -> None:
        self.home, self.port = home, port
        self.camera = home / "camera"
        self.journal = home / "state" / "journal.sqlite"
        self.log = home / "station.log"
        self.bundle = home / "bundle"
        self.process: subprocess.Popen[bytes] | None = None
        self.broken: list[str] = []

    def start(
        self,
        *more: str,
        module: str = "sorter",
        serial: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`sorter watch` with `more` options, until the gate has shaken hands."""
        words = [sys.executable, "-m", module, "watch", str(self.camera)]
        words += ["--serial", serial or self.port, "--journal", str(self.journal)]
        words += ["--max-age", str(MAX_AGE_S)]
        if "--model" not in more:
            words += ["--model", str(self.bundle), "--unsure", "hold"]
        surroundings = os.environ | {"XDG_CACHE_HOME": str(self.home / "cache")}
        with self.log.open("ab") as stream:
            self.process = subprocess.Popen(
                [*words, *more],
                stdout=stream,
                stderr=stream,
                env=surroundings | dict(environment or {}),
            )
        ready = "link_ready" if serial is None else "folder"
        if not self.wait(lambda: bool(self.live().get(ready)), 60):
            raise RuntimeError(f"the station did not start: {self._tail()}")

    @property
    def pid(self) -> int:
        """The station's process."""
        assert self.process is not None
        return self.process.pid

    @property
    def alive(self) -> bool:
        """True while the station runs."""
        return self.process is not None and self.process.poll() is None

    def live(self) -> dict[str, Any]:
        """What the station says of itself now; empty where it says nothing."""
        with contextlib.suppress(OSError, ValueError):
            found: dict[str, Any] = json.loads(
                self.journal.with_name(self.journal.name + ".live.json").read_text()
            )
            return found
        return {}

    def stop(self) -> None:
        """SIGTERM; not to end with 0 soon is a broken promise."""
        assert self.process is not None
        if self.process.poll() is not None:
            self.broken.append(f"it ended by itself with {self.process.returncode}")
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.broken.append("SIGTERM did not end it within 30 s")
            return
        if code:
            self.broken.append(f"SIGTERM ended it with {code}")

    def wait(self, what: Callable[[], bool], seconds: float) -> bool:
        """Until `what`, the station's death or the time's end; whether it came."""
        until = time.monotonic() + seconds
        while not what():
            if time.monotonic() > until or not self.alive:
                return False
            time.sleep(0.05)
        return True

    def wait_records(self, count: int, seconds: float) -> None:
        """Until there are `count` records and none is open; `judge` says what lacks."""
        self.wait(lambda: self.settled(count), seconds)

    def settled(self, count: int) -> bool:
        """True once there are `count` records and none is open."""
        return self._counts() == (count, 0)

    def _counts(self) -> tuple[int, int]:
        rows = self._query("SELECT count(*), sum(state IN ('ARRIVED', 'DECIDED', 'SENT'))")
        return (rows[0][0], rows[0][1] or 0) if rows else (0, 0)

    def rows(self) -> list[Row]:
        """All records, oldest first."""
        columns = "n, path, sha256, state, label, reason, model, arrived_at"
        return [
            Row(n, Path(os.fsdecode(path)).name, *rest)
            for n, path, *rest in self._query(f"SELECT {columns}", "ORDER BY n")
        ]

    def _query(self, select: str, tail: str = "") -> list[Any]:
        if not self.journal.exists():
            return []
        with contextlib.closing(sqlite3.connect(self.journal, timeout=10)) as db:
            try:
                return db.execute(f"{select} FROM items {tail}").fetchall()
            except sqlite3.OperationalError:
                return []  # Not made yet.

    def moves(self) -> list[tuple[int, float]]:
        """(n, Unix time) of each movement that the gate made."""
        events = map(json.loads, (self.home / "moves.jsonl").read_text().splitlines())
        return [
            (e["n"], datetime.fromisoformat(e["t"]).timestamp())
            for e in events
            if e["event"] == "move"
        ]

    def judge(self, wanted: Mapping[str, str]) -> list[str]:
        """Every broken promise. `wanted` is name → SHA-256 of its one record."""
        rows = self.rows()
        found: dict[str, list[Row]] = {}
        for row in rows:
            found.setdefault(row.name, []).append(row)
        broken = list(self.broken)
        for name, sha256 in wanted.items():
            got = found.pop(name, [])
            if [row.sha256 for row in got] != [sha256]:
                told = ", ".join(f"{row.sha256[:8]} {row.state} ({row.reason})" for row in got)
                broken.append(f"{name}: {len(got)} records for {sha256[:8]}: {told or 'none'}")
        broken += [f"{name}: a record nobody asked for" for name in found]
        broken += [f"n={r.n} is left {r.state}" for r in rows if r.state in OPEN_STATES]
        moves = self.moves()
        by_n = {row.n: row for row in rows}
        moved = Counter(n for n, _ in moves)
        broken += [f"n={n} moved {times} times" for n, times in moved.items() if times > 1]
        for n, at in moves:
            moving = by_n.get(n)
            if moving is None or moving.state not in ("DONE", "FAILED", "UNCERTAIN"):
                broken.append(f"n={n} moved and is {moving and moving.state}")
            elif at > moving.arrived_at + MAX_AGE_S + LATE_SLACK_S:
                broken.append(f"n={n} moved {at - moving.arrived_at:.1f} s after it arrived")
        broken += [
            f"n={r.n} is DONE and never moved"
            for r in rows
            if r.state == "DONE" and r.n not in moved and r.reason != "record only"
        ]
        if "Traceback" in self.log.read_text(errors="replace"):
            broken.append("a traceback: " + self._tail())
        return broken

    def states(self) -> dict[str, int]:
        """How many records are in each state."""
        return dict(sorted(Counter(row.state for row in self.rows()).items()))

    def rss(self) -> int:
        """Resident bytes of the station now."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        """Open descriptors of the station now."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))  # noqa: PTH208 - only the count.

    def threads(self) -> int:
        """Threads of the station now."""
        return len(os.listdir(f"/proc/{self.pid}/task"))  # noqa: PTH208

    def _tail(self) -> str:
        return self.log.read_text(errors="replace")[-800:]


@contextlib.contextmanager
def open_site(*, move_s: float = 0.03) -> Iterator[Site]:
    """A site in a folder of its own; whatever still runs at the end is killed."""
    with tempfile.TemporaryDirectory(prefix="sorter-soak-") as folder:
        home = Path(folder)
        (home / "camera").mkdir()
        write_bundle(home / "bundle")
        with gate(home / "moves.jsonl", move_s=move_s) as port:
            site = Site(home, port)
            try:
                yield site
            finally:
                if site.process is not None:
                    site.process.kill()
                    site.process.wait()


def tell(mode: str, figures: Mapping[str, Any], broken: Sequence[str]) -> int:
    """Print one JSON line, the broken promises on stderr; the exit code."""
    for line in broken[:40]:
        sys.stderr.write(line + "\n")
    sys.stdout.write(json.dumps({"mode": mode, **figures, "broken": len(broken)}) + "\n")
    return 1 if broken else 0
