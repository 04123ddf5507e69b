"""Induced troubles at a station at work: each told once, each cleared once, nothing held up.

Half of them are a journal's casualty that lies there and goes, beside which items still move; half
a folder's or a device's own. One command in five hangs until it is killed. The time from a
picture's arrival to its record is compared with that of the same station in peace.

    python -m tests.soak.alarms --troubles 200
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from sorter.domain import LinkStatus
from sorter.station.health.alarms import Orders
from sorter.station.settings import Settings
from tests.soak.in_process import Running, running, wait
from tests.support.counting_gate import CountingGate
from tests.support.tiny import paint

PICTURES = 4
"""Between the beginning of a trouble and its end, one after the other."""


class LosableGate(CountingGate):
    """One whose cable can be pulled."""

    lost = False

    def status(self) -> LinkStatus:
        """Ready, unless it is lost."""
        there = super().status()
        return LinkStatus(False, "closed", "no such port") if self.lost else there


def deliver(run: Running, number: int) -> float:
    """One picture that nobody has seen; seconds until its record."""
    before = len(run.records)
    colour = (number % 256, number // 256 % 256, 255)
    part = paint(run.camera / f".{number}.png", colour)
    begun = time.monotonic()
    part.rename(run.camera / f"{number}.png")
    if not wait(lambda: len(run.records) > before, 30):
        raise AssertionError(f"no record of picture {number}")
    return time.monotonic() - begun


def percentile(values: list[float], share: float) -> float:
    """The nearest rank."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def soak(home: Path, troubles: int) -> dict[str, object]:
    """Run it; what was told, and how quick the station was meanwhile."""
    told = home / "told"
    (home / "camera").mkdir()
    (home / "state").mkdir()
    # A damaged journal, which is set aside at start: its file is one of the troubles.
    (home / "state" / "journal.sqlite").write_bytes(b"no journal")
    told.touch()
    command = (
        f"cat >> {told}; echo >> {told}.runs; "
        f"[ $(($(wc -l < {told}.runs) % 5)) -ne 0 ] || sleep 987"
    )
    orders = Orders(command, command, after_s=0.0, every_s=0.0, limit_s=1.0)
    peace: list[float] = []
    trouble: list[float] = []
    expected: Counter[tuple[str, str]] = Counter()
    with running(
        home,
        Settings(unsure="red", settle_s=0.05, max_age_s=5.0),
        alarms=orders,
        gate=LosableGate(),
    ) as run:
        (casualty,) = (home / "state").glob("*.damaged-*")
        away = casualty.with_name("away")
        gate = run.gate
        assert isinstance(gate, LosableGate)
        number = 0

        def there(kind: str) -> bool:
            status = run.stations[0].seen
            return status is not None and kind in [k.value for k in status.troubles()]

        wait(lambda: there("journal"), 10)
        expected["problem", "journal"] += 1
        casualty.rename(away)
        wait(lambda: not there("journal"), 10)
        expected["clear", "journal"] += 1
        for index in range(1, troubles):
            kind = "journal" if index % 2 else "device"
            for times, is_trouble in ((peace, False), (trouble, True)):
                if is_trouble:
                    away.rename(casualty) if kind == "journal" else setattr(gate, "lost", True)
                    wait(lambda kind=kind: there(kind), 10)  # type: ignore[misc]
                    expected["problem", kind] += 1
                if is_trouble and kind == "device":
                    continue  # Its items wait for it, as they should.
                for _ in range(PICTURES):
                    number += 1
                    times.append(deliver(run, number))
            casualty.rename(away) if kind == "journal" else setattr(gate, "lost", False)
            wait(lambda kind=kind: not there(kind), 10)  # type: ignore[misc]
            expected["clear", kind] += 1

        def heard() -> Counter[tuple[str, str]]:
            lines = [json.loads(line) for line in told.read_text().splitlines()]
            return Counter((line["event"], line["kind"]) for line in lines)

        wait(lambda: heard() == expected, 30.0 + troubles)
        found = heard()
    return {
        "troubles": troubles,
        "told": sum(n for (event, _), n in found.items() if event == "problem"),
        "cleared": sum(n for (event, _), n in found.items() if event == "clear"),
        "as_expected": found == expected,
        "pictures": [len(peace), len(trouble)],
        "p50_s": [round(percentile(v, 0.5), 4) for v in (peace, trouble)],
        "p99_s": [round(percentile(v, 0.99), 4) for v in (peace, trouble)],
    }


def main() -> int:
    """Parse, run, print; 1 unless each trouble was told once and cleared once."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--troubles", type=int, default=6)
    with tempfile.TemporaryDirectory() as home:
        found = soak(Path(home), parser.parse_args().troubles)
    sys.stdout.write(json.dumps(found) + "\n")
    return 0 if found["as_expected"] else 1


if __name__ == "__main__":
    sys.exit(main())
