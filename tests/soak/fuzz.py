"""Damaged input into every reader: an error of ours comes out, or the thing itself; nothing else.

    python -m tests.soak.fuzz --target all --seconds 300 --seed 1
    python -m tests.soak.fuzz --target decode --seed 1 --only 4711      one case again, in full

Each target runs in a child process, so that a decoder that crashes, hangs (HANG_S of processor time
in one case, or STUCK_S in all) or eats memory is seen as a fault of that case; the next one goes on
in a new child. A case is given by target, seed and number alone. Exit code 1 where there was a
fault.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import itertools
import mmap
import os
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.soak.fuzz_targets import Target

HANG_S = 5.0
STUCK_S = 60.0

TARGETS_MODULE = "tests.soak.fuzz_targets"

_SLOT = struct.Struct("=QQQddQ")
"""Case under way, accepted, refused, when it began (monotonic, 0 between cases), the processor time
used by then, peak resident bytes."""

_OVER = 1 << 63


@dataclass
class Tally:
    """What came of a target; `faults` are texts that begin with the case's number."""

    cases: int = 0
    accepted: int = 0
    refused: int = 0
    peak_mb: float = 0.0
    faults: list[str] = field(default_factory=list)


def run(
    target: str, *, seed: int, seconds: float = 0.0, cases: int = 0, module: str = TARGETS_MODULE
) -> Tally:
    """Fuzz one target of `module` for `seconds`, or for so many `cases`.

    After a fault a new child goes on with the next case.
    """
    limit_mb = _target(module, target).limit_mb
    tally = Tally()
    until = time.monotonic() + seconds if seconds else 0.0
    first = 0
    while len(tally.faults) < 20:
        with tempfile.TemporaryDirectory(prefix="sorter-fuzz-") as name:
            folder = Path(name)
            words = [module, target, seed, first, cases or _OVER - 1, until, folder]
            first, fault = _watch_child([str(w) for w in words], folder, tally)
        if fault:
            tally.faults.append(fault)
        if tally.peak_mb > limit_mb:
            tally.faults.append(f"{first - 1}: {tally.peak_mb:.0f} MB resident")
            break
        if not fault or (cases and first >= cases) or (until and time.monotonic() >= until):
            break
    return tally


def _watch_child(words: list[str], folder: Path, tally: Tally) -> tuple[int, str]:
    """Run a child to its end; the first case that is still to do, and the fault it ended by."""
    slot_file = folder / "slot"
    slot_file.write_bytes(bytes(_SLOT.size))
    errors = folder / "stderr"
    first = int(words[3])
    with slot_file.open("r+b") as handle, errors.open("wb") as stderr:
        view = mmap.mmap(handle.fileno(), _SLOT.size)
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.fuzz", "--child", *words], stderr=stderr
        )
        hung = False
        while child.poll() is None:
            _, _, _, began, used_s, _ = _SLOT.unpack(view[:])
            if began and (
                time.monotonic() - began > STUCK_S or _used_s(child.pid) - used_s > HANG_S
            ):
                hung = True
                child.kill()
                child.wait()
            time.sleep(0.02)
        number, accepted, refused, _, _, peak = _SLOT.unpack(view[:])
        view.close()
    tally.accepted += accepted
    tally.refused += refused
    tally.cases += number - first + (child.returncode == 0)
    tally.peak_mb = max(tally.peak_mb, peak / 1e6)
    if child.returncode == 0:
        return number + 1, ""
    tally.cases += 1
    said = errors.read_text(errors="replace").strip()[-3000:]
    why = f"hangs, after {HANG_S:g} s" if hung else f"exit {child.returncode}"
    return number + 1, f"{number}: {why}\n{said}"


def _child(
    module: str, target: str, seed: str, first: str, last: str, until: str, folder: str
) -> int:
    from sorter.errors import SorterError

    faulthandler.enable()
    place = Path(folder) / "work"
    place.mkdir()
    try_one = _target(module, target).make(place)
    deadline, accepted, refused = float(until), 0, 0
    with (Path(folder) / "slot").open("r+b") as handle:
        view = mmap.mmap(handle.fileno(), _SLOT.size)
        for number in itertools.count(int(first)):
            began = time.monotonic(), time.process_time()
            view[:] = _SLOT.pack(number, accepted, refused, *began, _peak_bytes())
            try:
                try_one(Random(f"{target} {seed} {number}"))
                accepted += 1
            except SorterError:
                refused += 1
            except BaseException:
                traceback.print_exc()
                return 1
            view[:] = _SLOT.pack(number, accepted, refused, 0.0, 0.0, _peak_bytes())
            if number + 1 >= int(last) or (deadline and time.monotonic() >= deadline):
                return 0
    return 0


def _target(module: str, name: str) -> Target:
    found: Target = importlib.import_module(module).TARGETS[name]
    return found


def _used_s(pid: int) -> float:
    """Processor seconds of a process; 0 where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_bytes() -> int:
    """The most that was ever resident. Not ru_maxrss, which a child takes over from its parent."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def main() -> int:
    """Parse, run, print; 1 if there was a fault."""
    from tests.soak.fuzz_targets import TARGETS

    if sys.argv[1:2] == ["--child"]:
        return _child(*sys.argv[2:9])
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--target", choices=["all", *TARGETS], default="all")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="one case in this process, its error in full")
    args = parser.parse_args()
    chosen = list(TARGETS) if args.target == "all" else [args.target]
    if args.only is not None:
        with tempfile.TemporaryDirectory() as name:
            TARGETS[chosen[0]].make(Path(name))(Random(f"{chosen[0]} {args.seed} {args.only}"))
        return 0
    faults = 0
    for target in chosen:
        tally = run(target, seed=args.seed, seconds=args.seconds)
        faults += len(tally.faults)
        sys.stdout.write(
            f"{target}: seed {args.seed}, {tally.cases} cases, {tally.refused} refused, "
            f"{tally.accepted} read, {len(tally.faults)} faults, {tally.peak_mb:.0f} MB\n"
        )
        for fault in tally.faults:
            sys.stdout.write(f"  {fault}\n")
        sys.stdout.flush()
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
