"""sorter against what a user would take instead, side by side in one run.

    python3 -m venv peers && peers/bin/pip install -r tests/benchmarks/requirements.txt
    python -m tests.benchmarks --peers peers/bin/python --out results

Every contestant runs in a process of its own; the rounds are interleaved, and each one's median
counts. Writes results.md, results.json and results.png. On a busy machine trust the ratios, not
the rates. Without --peers only sorter runs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

from sorter.vision.bench import machine
from sorter.vision.bundle import default_bundle
from tests.benchmarks.contestants import CONTESTANTS, OURS, cores
from tests.benchmarks.pictures import KINDS, Kind, make
from tests.benchmarks.report import Results, median, plot, to_markdown
from tests.benchmarks.runner import Lap, run


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line says; 1 where a contestant failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", type=Path, help="The Python that has requirements.txt.")
    parser.add_argument("--out", type=Path, default=Path("results"), help="Folder for the files.")
    parser.add_argument("--work", type=Path, help="Keeps pictures and models between runs.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=list(CONTESTANTS), help="These alone.")
    parser.add_argument("--sets", nargs="*", choices=[k.name for k in KINDS], help="These alone.")
    parser.add_argument("--small", action="store_true", help="A tenth of the pictures, one round.")
    parser.add_argument("--count", type=int, help="At most so many pictures a set.")
    words = parser.parse_args(arguments)
    kinds = [kind for kind in KINDS if not words.sets or kind.name in words.sets]
    if words.small:
        kinds = [replace(kind, count=kind.count // 10) for kind in kinds]
        words.rounds = 1
    if words.count:
        kinds = [replace(kind, count=min(kind.count, words.count)) for kind in kinds]
    names = [name for name in words.only or CONTESTANTS if name in OURS or words.peers]
    with tempfile.TemporaryDirectory(prefix="sorter-benchmarks-") as folder:
        work = (words.work or Path(folder)).absolute()
        work.mkdir(parents=True, exist_ok=True)
        results = race(names, kinds, work, peers=words.peers, rounds=words.rounds)
    words.out.mkdir(parents=True, exist_ok=True)
    table = to_markdown(results)
    (words.out / "results.md").write_text(table, encoding="utf-8")
    document = {
        "machine": {**machine(), "cores": cores()},
        "rounds": words.rounds,
        "sets": [asdict(kind) for kind in kinds],
        "results": {k: {n: asdict(lap) for n, lap in row.items()} for k, row in results.items()},
    }
    (words.out / "results.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    plot(results, words.out / "results.png")
    sys.stdout.write(table)
    return 0 if all(len(row) == len(names) for row in results.values()) else 1


def race(
    names: list[str], kinds: list[Kind], work: Path, *, peers: Path | None, rounds: int
) -> Results:
    """Median laps, by set and contestant; one that fails is told on stderr and left out."""
    models = work / "models"
    models.mkdir(parents=True, exist_ok=True)
    if set(names) - set(OURS):
        words = [str(_python(peers)), "-m", "tests.benchmarks.prepare"]
        subprocess.run([*words, str(models), str(default_bundle().absolute())], check=True)
    laps: dict[str, dict[str, list[Lap]]] = {}
    failed: set[str] = set()
    for kind in kinds:
        paths = make(work / "pictures", kind)
        listing = work / f"{kind.name}.txt"
        listing.write_text("\n".join(map(str, paths)), encoding="utf-8")
        row = laps[kind.name] = {name: [] for name in names}
        for number in range(rounds):
            for name in names[number % len(names) :] + names[: number % len(names)]:
                if name in failed:
                    continue
                python = Path(sys.executable) if name in OURS else _python(peers)
                try:
                    lap = run(python, name, models, listing)
                except (RuntimeError, subprocess.TimeoutExpired) as error:
                    failed.add(name)
                    sys.stderr.write(f"left out {error}\n")
                    continue
                sys.stderr.write(f"{kind.name} {number + 1} {name}: {lap.rate_per_s:.1f}/s\n")
                row[name].append(lap)
    return {
        kind: {name: median(found) for name, found in row.items() if found}
        for kind, row in laps.items()
    }


def _python(peers: Path | None) -> Path:
    assert peers is not None
    return peers.absolute()


if __name__ == "__main__":
    sys.exit(main())
