"""New weights again and again while pictures flow: good, cut, foreign, half-copied.

    python -m tests.soak.swap --times 500

Three bundles of the same classes give three different answers to the same picture, so a record
that names one and answers like another shows. They come by rename, by copies over the files in
use, and as a whole folder; some are cut short or of other classes, and the station is asked to take
them in the middle of a copy too. No picture may be lost, and every record must name the weights
that answered.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

from sorter.vision.bundle import MODEL_FILES, open_bundle
from tests.soak.camera import TAXONOMY, Camera
from tests.soak.site import Site, open_site, tell
from tests.support.tiny import write_bundle, write_bundle26

VARIANTS = 3
RATE = 10.0
FILES = [name for xml in MODEL_FILES.values() for name in (xml, xml.replace(".xml", ".bin"))]


def variants(folder: Path) -> tuple[list[Path], dict[str, int]]:
    """The bundles, and for every digest (of their mixtures too) how its INT8 network answers."""
    made = [write_bundle(folder / f"variant{i}", turned=i) for i in range(VARIANTS)]
    known = {}
    for fp16, int8 in product(range(VARIANTS), repeat=2):
        mixture = folder / "mixture"
        shutil.copytree(made[int8], mixture)
        for name in FILES[:2]:
            shutil.copy(made[fp16] / name, mixture / name)
        known[open_bundle(mixture).digest] = int8
        shutil.rmtree(mixture)
    return made, known


def renamed(source: Path, target: Path, ask: Callable[[], None], random: Random) -> None:
    """Each file beside its old one, then over it."""
    for name in FILES:
        part = target / f".{name}.new"
        shutil.copyfile(source / name, part)
        part.rename(target / name)


def copied(source: Path, target: Path, ask: Callable[[], None], random: Random) -> None:
    """Over the files in use, as cp does."""
    for name in FILES:
        shutil.copyfile(source / name, target / name)


def asked_early(source: Path, target: Path, ask: Callable[[], None], random: Random) -> None:
    """In pieces, and the station is asked in between."""
    early = random.randrange(len(FILES))
    for number, name in enumerate(FILES):
        data = (source / name).read_bytes()
        with (target / name).open("wb", buffering=0) as stream:
            stream.write(data[: len(data) // 2])
            if number == early:
                ask()
                time.sleep(random.uniform(0.0, 0.1))
            stream.write(data[len(data) // 2 :])


def whole_folder(source: Path, target: Path, ask: Callable[[], None], random: Random) -> None:
    """Another folder under the old name."""
    new, old = target.with_name("new"), target.with_name("old")
    shutil.copytree(source, new)
    target.rename(old)
    new.rename(target)
    shutil.rmtree(old)


def cut(source: Path, target: Path, ask: Callable[[], None], random: Random) -> None:
    """A file that ends too early, in place."""
    name = random.choice(FILES)
    size = (source / name).stat().st_size
    with (target / name).open("r+b") as stream:
        stream.truncate(random.choice([0, size // 2, random.randrange(size)]))


def other_classes(source: Path, target: Path, ask: Callable[[], None], random: Random) -> None:
    """A sound bundle that is not for this station."""
    copied(source.with_name("other"), target, ask, random)


GOOD = (renamed, copied, asked_early, whole_folder)
BAD = (cut, other_classes)


def run(*, times: int, seed: int, notice_every: int = 20) -> tuple[dict[str, Any], list[str]]:
    """`times` swaps; every `notice_every`th is left for the station to notice by itself."""
    random = Random(seed)
    hows: Counter[str] = Counter()
    unnoticed = 0
    with open_site() as site:
        made, known = variants(site.home)
        write_bundle26(site.home / "other")
        shutil.rmtree(site.bundle)
        shutil.copytree(made[0], site.bundle)
        site.start()
        with Camera(site.camera, seed, rate=RATE) as camera:
            for turn in range(times):
                how = random.choice(GOOD if turn % 3 else BAD)
                source = made[random.randrange(VARIANTS)]
                hows[how.__name__] += 1
                how(source, site.bundle, lambda: _ask(site), random)
                if turn % notice_every == notice_every - 1:
                    copied(source, site.bundle, lambda: None, random)
                    digest = open_bundle(site.bundle).digest
                    unnoticed += not site.wait(lambda d=digest: site.live().get("model") == d, 30)  # type: ignore[misc]
                else:
                    _ask(site)
                    time.sleep(random.uniform(0.0, 0.6))
                if not site.alive:
                    break
        site.wait_records(len(camera.wanted), 60)
        site.stop()
        broken = site.judge(camera.wanted) + _answers(site, known)
        if unnoticed:
            broken.append(f"{unnoticed} new bundles were not noticed")
        said = site.log.read_text(errors="replace")
        figures = {"times": times, "seed": seed, "hows": dict(hows), "states": site.states()}
        figures["taken"] = said.count(" in place of ")
        figures["refused"] = said.count("new weights refused, the old ones stay")
        return figures | {"models": len({row.model for row in site.rows()})}, broken


def _ask(site: Site) -> None:
    if site.process is not None:
        site.process.send_signal(signal.SIGHUP)


def _answers(site: Site, known: dict[str, int]) -> list[str]:
    """Records whose label is not what the weights that they name say."""
    broken = []
    for row in site.rows():
        if row.model not in known:
            broken.append(f"{row.name} names weights {row.model[:12]!r}, which nobody delivered")
            continue
        colour = int(row.name.removeprefix("p").removesuffix(".png"))
        item = TAXONOMY.categories[(colour - known[row.model]) % len(TAXONOMY.categories)]
        if row.label != item.name:
            broken.append(f"{row.name} is {row.label}; {row.model[:12]} says {item.name}")
    return broken


def main() -> int:
    """Parse, run, print one JSON line; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    figures, broken = run(times=args.times, seed=args.seed)
    return tell("swap", figures, broken)


if __name__ == "__main__":
    sys.exit(main())
