"""A station under load: a flood beyond what it can sort, and a working day.

    python -m tests.soak.load flood --seconds 600
    python -m tests.soak.load steady --seconds 28800

`flood`: 50 pictures a second for a gate that takes five, or (`--slow model`) for a model that does.
Memory must stay flat, the gate busy, the rest EXPIRED, and nothing unrecorded in the end; a slow
model classifies them all, which takes ten times as long as the flood. `steady`: two pictures a
second with an archive; memory, descriptors and threads must not grow.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from tests.soak.camera import Camera
from tests.soak.site import Site, open_site, tell

FLOOD_RATE = 50.0
SLOW_S = 0.2
"""What the slow part takes for one picture: a capacity of five a second."""

STEADY_RATE = 2.0
FLAT = 0.20
"""What the resident memory may grow by over a flood."""

STEADY_FLAT = 0.05
LOOK_S = 0.5


@dataclass
class Samples:
    """What was seen of the process, one entry a look."""

    rss: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)

    def look(self, site: Site) -> None:
        self.rss.append(site.rss())
        self.descriptors.append(site.descriptors())
        self.threads.append(site.threads())

    def figures(self) -> dict[str, Any]:
        """First and last tenth's median in MiB; the extremes of the counts."""
        return {
            "rss_mib": [round(self.early() / 2**20, 1), round(self.late() / 2**20, 1)],
            "rss_peak_mib": round(max(self.rss) / 2**20, 1),
            "growth": round(self.late() / self.early() - 1, 3),
            "descriptors": [min(self.descriptors), max(self.descriptors)],
            "threads": [min(self.threads), max(self.threads)],
        }

    def early(self) -> float:
        """The memory once it was warm: the second tenth of the time."""
        tenth = max(1, len(self.rss) // 10)
        return statistics.median(self.rss[tenth : 2 * tenth])

    def late(self) -> float:
        return statistics.median(self.rss[-max(1, len(self.rss) // 10) :])


def flood(
    seconds: float, seed: int, *, slow: str = "gate", rate: float = FLOOD_RATE
) -> tuple[dict[str, Any], list[str]]:
    """`rate` pictures a second, where five can be sorted: `slow` is "gate" or "model"."""
    samples = Samples()
    with open_site(move_s=SLOW_S if slow == "gate" else 0.03) as site:
        if slow == "gate":
            site.start()
        else:
            surroundings = {"SOAK_PREDICT_S": str(SLOW_S)}
            site.start(module="tests.soak.timed_watch", environment=surroundings)
        with Camera(site.camera, seed, rate=rate) as camera:
            _watch(site, samples, seconds)
        delivered, ended = len(camera.wanted), time.monotonic()
        moved = len(site.moves())
        limit_s = 60 + delivered * (0.05 if slow == "gate" else 2 * SLOW_S)
        while not site.settled(delivered) and time.monotonic() < ended + limit_s:
            time.sleep(LOOK_S)
            if not site.alive:
                break
            samples.look(site)
        drained_s = time.monotonic() - ended
        site.stop()
        broken = site.judge(camera.wanted)
        figures: dict[str, Any] = {"seconds": seconds, "seed": seed, "slow": slow}
        figures |= {"rate": rate, "pictures": delivered}
        figures |= {"states": site.states(), "drained_s": round(drained_s, 1), **samples.figures()}
        # At least half of what the slow part alone could do meanwhile.
        figures["share"] = round(moved * SLOW_S / seconds, 2)
        if figures["share"] < 0.5:
            broken.append(f"the gate moved only {moved} times in {seconds:.0f} s")
        if max(samples.rss) > samples.early() * (1 + FLAT):
            broken.append(f"the memory grew: {samples.figures()['rss_mib']} MiB")
        return figures, broken


def steady(seconds: float, seed: int) -> tuple[dict[str, Any], list[str]]:
    """A working day's pace."""
    samples = Samples()
    with open_site() as site:
        site.start("--archive", str(site.home / "archive"), "--ring", str(site.home / "ring"))
        with Camera(site.camera, seed, rate=STEADY_RATE) as camera:
            _watch(site, samples, seconds)
        site.wait_records(len(camera.wanted), 60)
        site.stop()
        broken = site.judge(camera.wanted)
        figures: dict[str, Any] = {"seconds": seconds, "seed": seed}
        figures["pictures"] = len(camera.wanted)
        figures |= {"states": site.states(), **samples.figures()}
        if samples.late() > samples.early() * (1 + STEADY_FLAT):
            broken.append(f"the memory grew: {samples.figures()['rss_mib']} MiB")
        for name, seen in (("descriptors", samples.descriptors), ("threads", samples.threads)):
            half = len(seen) // 2
            # What leaks stays; a journal that is being written for a moment is one more for once.
            if statistics.median(seen[half:]) > max(seen[:half]):
                broken.append(f"{name} grew from {max(seen[:half])} to {max(seen[half:])}")
        left = [p.name for p in site.camera.iterdir()]
        if left:
            broken.append(f"{len(left)} pictures were not archived")
        return figures, broken


def _watch(site: Site, samples: Samples, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and site.alive:
        samples.look(site)
        time.sleep(LOOK_S if seconds < 600 else 5.0)


def main() -> int:
    """Parse, run, print one JSON line; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("mode", choices=("flood", "steady"))
    parser.add_argument("--seconds", type=float, help="default 600 (flood), 28800 (steady)")
    parser.add_argument("--slow", choices=("gate", "model"), default="gate")
    parser.add_argument("--rate", type=float, default=FLOOD_RATE, help="pictures a second (flood)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.mode == "flood":
        figures, broken = flood(args.seconds or 600.0, args.seed, slow=args.slow, rate=args.rate)
    else:
        figures, broken = steady(args.seconds or 28_800.0, args.seed)
    return tell(args.mode, figures, broken)


if __name__ == "__main__":
    sys.exit(main())
