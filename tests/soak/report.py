"""A report over a journal of a million records: how long it takes, and how much memory.

Makes the journal as a station of version 2 would have left it, opens it as a station does (which
brings it up to date), and runs `sorter report` on it.

    python -m tests.soak.report --rows 1000000
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sorter.station.journal.opening import open_journal
from sorter.taxonomy import default_taxonomy
from tests.support.old_journal import make_old

YEAR_S = 365 * 86_400
_FATES = ("DONE", "DONE", "DONE", "DONE", "DONE", "DONE", "FAILED", "EXPIRED", "UNSURE_HELD")


def records(rows: int, seed: int) -> Iterator[tuple[Any, ...]]:
    """As `items` holds them, spread over the last year, busiest at noon."""
    chance, taxonomy = random.Random(seed), default_taxonomy()
    start = time.time() - YEAR_S
    for i in range(rows):
        category = chance.choice(taxonomy.categories)
        bin_ = taxonomy.bin_of(category)
        doubt = chance.random() < 0.3
        arrived = start + i * YEAR_S / rows + chance.random()
        state = chance.choice(_FATES)
        sent = arrived + 0.1 if state in ("DONE", "FAILED") else None
        yield (
            f"/srv/sorter/camera/{i:09d}.jpg",
            f"{i:064x}",
            f"{i}:123456:{i}:{i}",
            state,
            category.name,
            category.code,
            "residual" if doubt else bin_.key,
            bin_.number,
            0.9,
            0.5 + chance.random() / 2,
            chance.choice(("low_confidence", "unknown_object")) if doubt else "",
            arrived,
            arrived + 0.05,
            sent,
            arrived + 0.4 + chance.random() / 5,
            "b1",
            "a" * 64,
        )


def make(file: Path, rows: int, *, seed: int = 1) -> float:
    """A journal of so many records; how many seconds bringing it up to date took."""
    with contextlib.closing(open_journal(file)):
        pass
    make_old(file, 2)
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.executemany(
            "INSERT INTO items (path, sha256, identity, state, label, code, bin, bin_number,"
            " confidence, bin_confidence, reason, arrived_at, decided_at, sent_at, done_at, boot,"
            " model) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            records(rows, seed),
        )
        db.commit()
    begun = time.monotonic()
    with contextlib.closing(open_journal(file)):
        return time.monotonic() - begun


def measure(*words: str) -> tuple[float, float, float]:
    """Run `sorter report` with `words`: seconds, those of the processor, and the most MB held."""
    begun = time.monotonic()
    child = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "sorter", "report", *words],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, used = os.wait4(child, 0)
    seconds = time.monotonic() - begun
    assert os.waitstatus_to_exitcode(status) == 0
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    rows, seed = (given := parser.parse_args()).rows, given.seed
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "journal.sqlite"
        upgraded_s = make(file, rows, seed=seed)
        found: dict[str, Any] = {
            "rows": rows,
            "journal_mb": round(file.stat().st_size / 1e6),
            "upgrade_s": round(upgraded_s, 1),
        }
        page, table = Path(folder) / "report.html", Path(folder) / "report.csv"
        for by in ("week", "day", "hour"):
            words = ("--journal", str(file), "--since", "all", "--by", by)
            seconds, cpu_s, mb = measure(*words, "--html", str(page), "--csv", str(table), "--json")
            found[by] = {
                "s": round(seconds, 2),
                "cpu_s": round(cpu_s, 2),
                "mb": round(mb),
                "page_kb": page.stat().st_size // 1000,
            }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
