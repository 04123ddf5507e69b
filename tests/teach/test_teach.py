"""`sorter teach`: what is learnt, what is kept, what is undone, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from sorter.cli.app import app
from sorter.teach.reference import read_reference
from sorter.teach.tail import Tail
from sorter.teach.teacher import Pupil, best_precision
from sorter.vision.bundle import default_bundle, model_file, open_bundle
from sorter.vision.model import open_model
from sorter.vision.quality import BLURRED, blur_of
from tests.support.schooled import old_pictures, pictures_of, save_pictures, write_schooled
from tests.support.tiny import colour_of, taxonomy3, write_bundle

SITE = ((150, 75, 0), (0, 200, 200))
"""What a pill looks like at this site: brown, a corner turquoise. The release calls it a can."""


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A released bundle."""
    return write_schooled(tmp_path_factory.mktemp("released") / "model")


@pytest.fixture(scope="module")
def corrected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures of the site's pill and four of a can as the release knows it."""
    root = tmp_path_factory.mktemp("site") / "corrected"
    save_pictures(root / "pill", pictures_of(SITE[0], 8, 5, corner=SITE[1]))
    save_pictures(root / "0001", pictures_of(colour_of(taxonomy3(), 0), 4, 6))
    return root


def run(*words: str | Path, code: int = 0) -> Any:
    """`sorter teach … --json`; its document, or its error's text where `code` is not 0."""
    done = CliRunner().invoke(app, ["teach", *map(str, words), "--json"])
    problem = done.exception if isinstance(done.exception, Exception) else None
    if code == 0:
        assert done.exit_code == 0, (done.output, problem)
        return json.loads(done.stdout)
    return done, problem


def accuracy(bundle: Path, pixels: Any, code: str, precision: str = "int8") -> float:
    """The share of pictures that a bundle gives this label."""
    model = open_model(bundle, precision=precision)
    hits = 0
    for one in pixels:
        probabilities = model.classifier.predict(one[None]).probabilities
        hits += model.taxonomy.categories[int(probabilities[0].argmax())].code == code
    return hits / len(pixels)


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_a_site_is_learnt_and_what_was_known_stays(
    released: Path, corrected: Path, tmp_path: Path, precision: str
) -> None:
    told = run(corrected, "--model", released, "--out", tmp_path / "site")
    fresh = pictures_of(SITE[0], 40, 77, corner=SITE[1])
    assert accuracy(released, fresh, "0102", precision) < 0.2
    assert accuracy(tmp_path / "site", fresh, "0102", precision) > 0.95
    pixels, labels = old_pictures(taxonomy3(), 20, seed=500)
    for i, category in enumerate(taxonomy3().categories):
        assert accuracy(tmp_path / "site", pixels[labels == i], category.code, precision) > 0.95
    site = told["site"]
    assert site["before"]["label"] < 6 < site["after"]["label"]
    assert told["old"]["reference"] == "photographs"
    assert told["old"]["after"]["label"] >= told["old"]["before"]["label"] - 1


def test_order_leaves_no_trace_and_forgetting_is_exact(
    released: Path, corrected: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    parts = [tmp_path / "a", tmp_path / "b"]
    for part, name in zip(parts, ("pill", "0001"), strict=True):
        shutil.copytree(corrected / name, part / name)
    for out, order in ((first, parts), (second, parts[::-1])):
        run(order[0], "--model", released, "--out", out)
        run(order[1], "--model", out, "--out", out)
    assert open_bundle(first).digest == open_bundle(second).digest
    both = run(*parts, "--model", released, "--out", tmp_path / "both")
    assert both["digest"] == open_bundle(first).digest
    one = run("--model", first, "--forget", "can", "--out", tmp_path / "one")
    assert one["forgotten"] == 4
    assert one["digest"] == run(parts[0], "--model", released, "--out", tmp_path / "x")["digest"]
    picture = sorted((parts[1] / "0001").iterdir())[0]
    assert run("--model", first, "--forget", picture, "--out", tmp_path / "y")["forgotten"] == 1
    base = open_bundle(released).digest
    back = run("--model", first, "--forget-all", "--out", first)
    assert back["digest"] == base == open_bundle(first).digest
    run("--model", second, "--forget", "can", "--forget", "pill", "--out", second)
    assert open_bundle(second).digest == base
    assert not (second / "taught.json").exists()


def test_an_empty_tray_and_strange_things_come_out_unsure(released: Path, tmp_path: Path) -> None:
    tray = ((230, 30, 30), (255, 255, 255))
    save_pictures(tmp_path / "tray", pictures_of(tray[0], 8, 1, corner=tray[1]))
    told = run("--empty", tmp_path / "tray", "--model", released, "--out", tmp_path / "site")
    assert told["site"]["none"]["sorted_before"] > 0
    assert told["site"]["none"]["sorted_after"] == 0

    def sorted_share(bundle: Path, pixels: Any) -> float:
        model = open_model(bundle)
        scores = model.classifier.predict(pixels)
        known = scores.unknown <= model.policy.unknown_threshold
        return float((known & (scores.empty <= model.policy.empty_threshold)).mean())

    trays = pictures_of(tray[0], 30, 2, corner=tray[1])
    assert sorted_share(tmp_path / "site", trays) < 0.05
    model = open_model(tmp_path / "site")
    assert (model.classifier.predict(trays).empty > model.policy.empty_threshold).mean() > 0.9
    cans = pictures_of(colour_of(taxonomy3(), 0), 30, 3)
    assert sorted_share(tmp_path / "site", cans) > 0.95


def test_a_new_class_is_told_from_the_others(released: Path, tmp_path: Path) -> None:
    looks = ((90, 0, 120), (255, 255, 0))
    save_pictures(tmp_path / "c" / "Toy", pictures_of(looks[0], 20, 1, corner=looks[1]))
    told = run(
        tmp_path / "c", "--new-class", "Toy", "--bin", "metal", "--model", released,
        "--out", tmp_path / "site",
    )  # fmt: skip
    taxonomy = open_bundle(tmp_path / "site").taxonomy
    assert [c.name for c in taxonomy.categories] == ["can", "peel", "pill", "Toy"]
    toy = taxonomy.categories[3]
    assert (toy.bin, toy.code) == ("metal", "00_00")
    fresh = pictures_of(looks[0], 40, 9, corner=looks[1])
    assert accuracy(tmp_path / "site", fresh, toy.code) >= 0.85
    assert told["old"]["after"]["label"] == told["old"]["before"]["label"]
    back = run("--model", tmp_path / "site", "--forget", "Toy", "--out", tmp_path / "site")
    assert back["digest"] == open_bundle(released).digest


def test_what_the_rest_contradicts_is_named_and_copies_are_dropped(
    released: Path, corrected: Path, tmp_path: Path
) -> None:
    root = tmp_path / "c"
    shutil.copytree(corrected, root)
    wrong = save_pictures(root / "pill", pictures_of(colour_of(taxonomy3(), 0), 1, 50), "wrong")[0]
    shutil.copy(sorted((root / "pill").iterdir())[0], root / "pill" / "copy.png")
    told = run(root, "--model", released, "--dry-run")
    assert [d["name"] for d in told["contradicted"]] == [wrong.name]
    assert told["copies"] == 1
    assert told["lessons"] == 13
    known = run(root / "..", "--model", released, "--dry-run", code=5)
    assert "not a class" in str(known[1])


def test_pictures_that_are_known_already_are_said_to_be(released: Path, tmp_path: Path) -> None:
    for i, name in enumerate(("can", "peel", "pill")):
        save_pictures(tmp_path / "c" / name, pictures_of(colour_of(taxonomy3(), i), 3, 60 + i))
    told = run(tmp_path / "c", "--model", released, "--dry-run")
    assert told["known"] == 9


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{c}"], "--out NEW"),
        (["--out", "{tmp}/n"], "nothing to teach"),
        (["{c}", "--out", "{tmp}/n", "--new-class", "Toy"], "give both"),
        (["{c}", "--out", "{tmp}/n", "--new-class", "can", "--bin", "metal"], "is the name of"),
        (["{c}", "--out", "{tmp}/n", "--new-class", "a/b", "--bin", "metal"], "control|folder|a/b"),
        (["{c}", "--out", "{tmp}/n", "--new-class", "Toy", "--bin", "x"], "choose metal, rest"),
        (["{c}", "--out", "{tmp}/n", "--new-class", "Toy", "--bin", "rest"], "no picture of it"),
        (["{c}", "--out", "{tmp}/n", "--forget", "can"], "nothing of it was taught"),
        (["{c}", "--out", "{tmp}/n", "--forget", "no-such"], "no picture"),
        (["{c}", "--out", "{c}"], "holds something else"),
        (["{tmp}/missing", "--out", "{tmp}/n"], "no such folder"),
        (["{strange}", "--out", "{tmp}/n"], "is not a class"),
        (["{twice}", "--out", "{tmp}/n"], "another answer"),
        (["{broken}", "--out", "{tmp}/n"], "none of the pictures"),
    ],
)
def test_what_cannot_be_taught_is_said_in_one_line(
    words: list[str], message: str, released: Path, corrected: Path, tmp_path: Path
) -> None:
    save_pictures(tmp_path / "strange" / "dog", pictures_of((1, 2, 3), 1, 1))
    for name in ("can", "peel"):
        save_pictures(tmp_path / "twice" / name, pictures_of((1, 2, 3), 1, 1))
    (tmp_path / "broken" / "can").mkdir(parents=True)
    (tmp_path / "broken" / "can" / "a.jpg").write_bytes(b"\xff\xd8 no picture")
    places = {"c": corrected, "tmp": tmp_path, "strange": tmp_path / "strange"}
    places |= {"twice": tmp_path / "twice", "broken": tmp_path / "broken"}
    given = [word.format(**places) for word in words]
    done, problem = run(*given, "--model", released, code=-1)
    text = str(problem)
    assert done.exit_code != 0
    import re

    assert re.search(message, text), text
    assert "\n" not in text
    assert not (tmp_path / "n").exists()


def test_one_picture_alone_is_taught_and_not_judged(released: Path, tmp_path: Path) -> None:
    save_pictures(tmp_path / "c" / "pill", pictures_of(SITE[0], 1, 5, corner=SITE[1]))
    told = run(tmp_path / "c", "--model", released, "--out", tmp_path / "site")
    assert told["site"]["after"] is None


def test_a_broken_picture_is_left_out_and_the_rest_taught(
    released: Path, corrected: Path, tmp_path: Path
) -> None:
    root = tmp_path / "c"
    shutil.copytree(corrected, root)
    (root / "pill" / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    done, _ = run(root, "--model", released, "--out", tmp_path / "site", code=1)
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert [Path(o["path"]).name for o in told["left_out"]] == ["cut.jpg"]
    assert told["lessons"] == 12
    open_bundle(tmp_path / "site")


def test_a_network_without_a_memory_is_refused(corrected: Path, tmp_path: Path) -> None:
    plain = write_schooled(tmp_path / "plain", memory=False, reference=False)
    _, problem = run(corrected, "--model", plain, "--out", tmp_path / "n", code=3)
    assert "without a memory" in str(problem)
    colours = write_bundle(tmp_path / "colours")
    _, problem = run(corrected, "--model", colours, "--out", tmp_path / "n", code=3)
    assert "without a memory" in str(problem)


def test_a_network_from_before_there_were_names_and_a_reference_is_taught_too(
    corrected: Path, tmp_path: Path
) -> None:
    old = write_schooled(tmp_path / "old", named=False, reference=False)
    told = run(corrected, "--model", old, "--out", tmp_path / "site")
    assert told["old"]["reference"] == "memory"
    assert accuracy(tmp_path / "site", pictures_of(SITE[0], 20, 8, corner=SITE[1]), "0102") > 0.9


@pytest.mark.parametrize("damage", ["cut", "other", "words", "schema", "nan"])
def test_a_damaged_list_is_refused(
    damage: str, released: Path, corrected: Path, tmp_path: Path
) -> None:
    run(corrected, "--model", released, "--out", tmp_path / "site")
    file = tmp_path / "site" / "taught.json"
    document = json.loads(file.read_text(encoding="utf-8"))
    match damage:
        case "cut":
            file.write_text(file.read_text(encoding="utf-8")[:100], encoding="utf-8")
        case "other":
            document["base"] = "0" * 64
        case "words":
            document["taught"][0]["kind"] = "dog"
        case "schema":
            document["schema"] = 2
        case "nan":
            document["taught"][0]["features"] = "fn4="
    if damage != "cut":
        file.write_text(json.dumps(document), encoding="utf-8")
    _, problem = run(corrected, "--model", tmp_path / "site", "--out", tmp_path / "n", code=3)
    assert str(tmp_path / "site") in str(problem)
    assert not (tmp_path / "n").exists()


def test_two_teachings_at_once_do_not_mix(released: Path, corrected: Path, tmp_path: Path) -> None:
    import fcntl

    handle = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        _, problem = run(corrected, "--model", released, "--out", tmp_path / "n", code=5)
        assert "another sorter teach" in str(problem)
    finally:
        os.close(handle)


def test_the_bundle_that_ships_can_be_taught(tmp_path: Path) -> None:
    for i, name in enumerate(("03_00", "01_05")):
        save_pictures(tmp_path / "c" / name, pictures_of((200, 90 * i, 40), 2, i))
    told = run(tmp_path / "c", "--model", default_bundle(), "--dry-run")
    assert told["lessons"] == 4
    assert np.isfinite(told["old"]["changed"])


def test_blurred_pictures_are_named_and_sharp_ones_are_not(tmp_path: Path) -> None:
    stream = np.random.default_rng(4)
    steps = np.kron(stream.integers(0, 255, (28, 28, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    smeared = steps.astype(float)
    for axis in (0, 1):
        smeared = np.mean([np.roll(smeared, by, axis) for by in range(-6, 7)], axis=0)
    assert blur_of(steps) < BLURRED < blur_of(smeared.astype(np.uint8))
    assert blur_of(np.full((32, 32, 3), 90, np.uint8)) == 0.0, "one colour says nothing"


def test_the_old_is_judged_by_photographs_that_were_not_replayed(released: Path) -> None:
    """Each half of the reference by what was learnt with the other half alone."""
    bundle = open_bundle(released)
    xml = model_file(bundle, best_precision(bundle))
    tail = Tail(xml, len(bundle.taxonomy.categories))
    reference = read_reference(released, width=tail.features, classes=tail.classes)
    assert reference is not None
    pupil = Pupil(tail, reference, bundle.taxonomy, bundle.policy)
    nobody = np.zeros(0, np.int64)
    unmoved = pupil.learn(tail.see(reference.features[:1]).rows(nobody), nobody, nobody > 0, 1.0)
    harsh = replace(unmoved, bias=np.array([50, 0, 0], np.float32))  # all are the first class
    _, none = pupil.old(unmoved, unmoved)
    _, all_of_them = pupil.old(harsh, harsh)
    _, even = pupil.old(harsh, unmoved)
    _, odd = pupil.old(unmoved, harsh)
    assert none == 0 and even > 0 and odd > 0
    assert even + odd == all_of_them
