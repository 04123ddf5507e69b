"""How far a teaching goes: as far as leaves what was known as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sorter.teach.learn import Task, added, learn_move, shortened
from sorter.teach.reference import Reference
from sorter.teach.site import Array
from sorter.teach.tail import Tail
from sorter.teach.teacher import CALM, CALM_MORE, Figures, Pupil, forgets
from sorter.vision.bundle import model_file, open_bundle
from tests.support.schooled import features_of, pictures_of, write_schooled
from tests.support.tiny import colour_of, taxonomy3

CAN, PEEL, NEW = 0, 1, 3
TAUGHT = 20


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A released bundle."""
    return write_schooled(tmp_path_factory.mktemp("released") / "model")


def between(shares: Array, seed: int) -> Array:
    """Features of a picture for each of `shares`: 0 is a can's colour, 1 a peel's."""
    can, peel = (np.array(colour_of(taxonomy3(), i), float) for i in (CAN, PEEL))
    colours = can + (peel - can) * shares[:, None]
    rows = [pictures_of((r, g, b), 1, seed + i) for i, (r, g, b) in enumerate(colours.tolist())]
    return features_of(np.concatenate(rows))


def test_no_further_than_the_old_stays(released: Path) -> None:
    """Photographs lie all the way from can to peel; the site calls a third of the way a peel."""
    bundle = open_bundle(released)
    tail = Tail(model_file(bundle, "int8"), len(bundle.taxonomy.categories))
    stream = np.random.default_rng(0)
    shares = stream.uniform(0, 1, 200).astype(np.float32)
    reference = Reference(between(shares, 10_000), (shares > 0.5).astype(np.int64), stored=True)
    pupil = Pupil(tail, reference, bundle.taxonomy, bundle.policy)
    taught = tail.see(between(np.full(TAUGHT, 0.3, np.float32), 20_000))
    labels, none = np.full(TAUGHT, PEEL), np.zeros(TAUGHT, np.bool_)

    settled = pupil.settle(taught, labels, none)
    most = CALM + CALM_MORE * TAUGHT
    assert 0.0 < settled.step < 1.0
    assert settled.old_changed <= most * 200
    # As much is true of photographs that no part of this saw, and would not be of a whole step.
    fresh = tail.see(between(stream.uniform(0, 1, 300).astype(np.float32), 30_000))
    old = tail.see(reference.features)
    task = Task(taught, labels, old, tail.without_own_key(old), tail.width)
    whole = learn_move(task, tail.prior)
    before = pupil.plain(fresh)
    new = [
        sum(a.label != b.label for a, b in zip(before, pupil.decide(said), strict=True))
        for said in (pupil.answers(fresh, settled.site), pupil.answers(fresh, whole))
    ]
    assert new[0] <= most * 300 < new[1]


def test_a_shorter_step_adds_its_share_and_takes_odds_from_a_new_class(released: Path) -> None:
    bundle = open_bundle(released)
    tail = Tail(model_file(bundle, "int8"), NEW, new=1)
    taught = tail.see(between(np.linspace(0, 1, TAUGHT, dtype=np.float32), 40_000))
    labels = np.where(np.arange(TAUGHT) % 2, NEW, PEEL)
    none = taught.rows(labels < 0)
    task = Task(taught, labels, none, np.zeros((0, tail.width), np.float32), tail.width)
    site = learn_move(task, tail.prior)
    whole, half = added(taught, site).scores, added(taught, shortened(site, 0.5)).scores
    assert np.abs(whole[:, :NEW]).max() > 0.1
    np.testing.assert_allclose(half[:, :NEW], whole[:, :NEW] / 2, rtol=1e-5, atol=1e-5)
    assert (half[:, NEW] < whole[:, NEW] - 1.0).all()
    np.testing.assert_array_equal(added(taught, shortened(site, 1.0)).scores, whole)


@pytest.mark.parametrize(
    ("pictures", "label", "bin_", "too_far"),
    [
        *((1000, 10, 5, False), (1000, 11, 0, True), (1000, 0, 6, True)),
        *((20, 1, 1, False), (20, 2, 0, True)),  # of so few one more says nothing
    ],
)
def test_the_old_may_fall_so_far(pictures: int, label: int, bin_: int, too_far: bool) -> None:
    before = Figures(pictures, label=pictures, bin=pictures, sorted=0, wrong=0)
    after = Figures(pictures, label=pictures - label, bin=pictures - bin_, sorted=0, wrong=0)
    assert forgets(before, after) == too_far
