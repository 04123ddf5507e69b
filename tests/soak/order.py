"""The order of system calls: is a SENT row on the disk before the first byte of its GO leaves?

    python -m tests.soak.order --items 1000

strace watches a real station with a real journal and a simulated gate. With synchronous=NORMAL the
same check must fail, or it would show nothing. Needs the Debian package strace.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.soak.station import deliver, gate, start, states, wait_for_all, wait_ready

AT_ONCE = 50
CALLS = "trace=pwrite64,fdatasync,fsync,write"


def watch(home: Path, items: int, *, synchronous: str, seed: int = 1) -> list[bool]:
    """For each GO of `items` pictures: was the journal synced after its last write?"""
    (home / "camera").mkdir()
    trace = home / "trace"
    prefix = ["strace", "-f", "-y", "-s", "48", "-e", CALLS, "-o", str(trace)]
    stream = random.Random(seed)
    with gate(home / "moves.jsonl") as port:
        station = start(home, port, prefix=prefix, synchronous=synchronous)
        wait_ready(home, 60)
        for first in range(0, items, AT_ONCE):
            names = [f"p{n:05d}" for n in range(first, min(items, first + AT_ONCE))]
            deliver(home, names, stream, first=first)
            wait_for_all(home, first + len(names))
        # A signal to strace itself would only detach it.
        children = Path(f"/proc/{station.pid}/task/{station.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGTERM)
        assert station.wait(30) == 0
    found = Counter(state for _, _, state in states(home))
    assert found["DONE"] == items, f"not every picture came to a movement: {dict(found)}"
    order = _synced_before_go(trace)
    assert len(order) >= items, "a movement without a GO in the trace: the check saw too little"
    return order


def _synced_before_go(trace: Path) -> list[bool]:
    synced, found = True, []
    with trace.open(errors="replace") as stream:
        for line in stream:
            if "-wal>" in line and re.search(r"\bpwrite64\(", line):
                synced = False
            elif "-wal>" in line and re.search(r"\bf(data)?sync\(", line):
                synced = True
            elif re.search(r'\bwrite\(\d+<[^>]*>, "GO ', line):
                found.append(synced)
    return found


def main() -> None:
    """Run both ways and print one JSON line; exit 1 unless FULL holds and NORMAL does not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    words = parser.parse_args()
    found = {}
    for synchronous in ("FULL", "NORMAL"):
        with tempfile.TemporaryDirectory(prefix="sorter-order-") as folder:
            order = watch(Path(folder), words.items, synchronous=synchronous, seed=words.seed)
        found[synchronous] = {"go": len(order), "synced_before": sum(order)}
    sys.stdout.write(json.dumps({"mode": "order", "items": words.items, **found}) + "\n")
    full, normal = found["FULL"], found["NORMAL"]
    holds = full["go"] > 0 and full["go"] == full["synced_before"]
    sys.exit(not holds or normal["go"] == normal["synced_before"])


if __name__ == "__main__":
    main()
