"""One contestant, one set of pictures, one process: run it and measure from outside and inside.

    python -m tests.benchmarks.runner NAME MODELS LISTING STARTED WARM

is the process itself: it answers WARM pictures, which gives the seconds to the first row since
STARTED (Unix time), then all of LISTING, timed, and prints a JSON line.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

WARM = 32
"""Pictures answered before the clock runs: a batch, and every thread's first."""


@dataclass(frozen=True, slots=True)
class Lap:
    """One run: pictures a second and CPU seconds a picture once warm, start to first row, memory.

    `peak_mb` is the proportional set size of the process and its children, at its highest, MB.
    """

    rate_per_s: float
    cpu_s: float
    first_s: float
    peak_mb: float


def run(python: Path, name: str, models: Path, listing: Path, *, limit_s: float = 900.0) -> Lap:
    """Run one lap. Raises RuntimeError with the end of what the contestant said when it failed."""
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONWARNINGS": "ignore"}
    words = [str(python), "-m", "tests.benchmarks.runner", name, str(models), str(listing)]
    with subprocess.Popen(
        [*words, repr(time.time()), str(WARM)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=models,
    ) as process:
        peak = _Peak(process.pid)
        peak.start()
        try:
            out, said = process.communicate(timeout=limit_s)
        except BaseException:
            process.kill()
            raise
        finally:
            peak.stop()
    if process.returncode != 0:
        raise RuntimeError(f"{name}: exit {process.returncode}: {said.strip()[-600:]}")
    figures = json.loads(out.strip().splitlines()[-1])
    return Lap(**figures, peak_mb=peak.highest / 1e6)


class _Peak(threading.Thread):
    """Looks at a process and its children a few times a second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.highest = 0
        self._pid = pid
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.1):
            self.highest = max(self.highest, sum(map(_pss, _family(self._pid))))

    def stop(self) -> None:
        self._over.set()
        self.join()


def _family(pid: int) -> list[int]:
    found, below = [], [pid]
    while below:
        one = below.pop()
        found.append(one)
        with suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                with suppress(OSError):
                    below += map(int, (task / "children").read_text().split())
    return found


def _pss(pid: int) -> int:
    """Bytes; pages shared with others count by share, so that forked workers count once."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _cpu_s() -> float:
    both = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def main(name: str, models: Path, listing: Path, started: float, warm: int) -> None:
    """The contestant's process."""
    from tests.benchmarks.contestants import CONTESTANTS

    paths = [Path(line) for line in listing.read_text(encoding="utf-8").splitlines()]
    answer = CONTESTANTS[name](models)
    first_s = 0.0
    for _ in answer(paths[:warm]):
        first_s = first_s or time.time() - started
    cpu, begun, rows = _cpu_s(), time.perf_counter(), 0
    for _ in answer(paths):
        rows += 1
    seconds = time.perf_counter() - begun
    if rows != len(paths):
        raise SystemExit(f"{rows} rows of {len(paths)} pictures")
    figures = {
        "rate_per_s": rows / seconds,
        "cpu_s": (_cpu_s() - cpu) / rows,
        "first_s": first_s,
    }
    sys.stdout.write("\n" + json.dumps(figures) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))
