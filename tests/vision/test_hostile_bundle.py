"""A bundle comes from elsewhere: what lies, leads out of its folder or never ends is refused.

Each row changes one thing of a sound bundle; the message must name the file and the reason.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from sorter.domain import Category, Policy
from sorter.errors import BundleError
from sorter.vision.bundle import MODEL_FILES, open_bundle
from sorter.vision.metadata import write_metadata
from tests.support.tiny import build_model, taxonomy3, write_bundle

BOTH = tuple(MODEL_FILES.values())


def _edit(old: str, new: str) -> Callable[[Path], None]:
    """Replace a text of both graphs."""

    def change(folder: Path) -> None:
        for name in BOTH:
            text = (folder / name).read_text(encoding="utf-8")
            assert old in text
            (folder / name).write_text(text.replace(old, new), encoding="utf-8")

    return change


def _said(key: str, value: str) -> Callable[[Path], None]:
    """Make both networks say `value` of themselves under `key`."""

    def change(folder: Path) -> None:
        for name in BOTH:
            model = openvino.Core().read_model(
                (folder / name).read_bytes(), (folder / name).with_suffix(".bin").read_bytes()
            )
            model.set_rt_info(value, ["sorter", key])
            openvino.save_model(model, folder / name)

    return change


def _taxonomy(**changes: Any) -> Callable[[Path], None]:
    """The three-class taxonomy with its first item or bin changed."""
    document: dict[str, Any] = {
        "name": "tiny",
        "bins": [{"key": "metal", "name": "Metal"}, {"key": "rest", "name": "Rest"}],
        "items": [
            {"code": f"000{i}", "name": name, "bin": key}
            for i, (name, key) in enumerate((("can", "metal"), ("peel", "rest"), ("pill", "rest")))
        ],
    }
    for where, value in changes.items():
        table, key = where.split("_", 1)
        document[f"{table}s"][0][key] = value
    return _said("taxonomy", json.dumps(document))


def _graph(make: Callable[[], Any]) -> Callable[[Path], None]:
    """Another graph under the same words about itself."""

    def change(folder: Path) -> None:
        model = make()
        taxonomy = taxonomy3()
        write_metadata(model, taxonomy=taxonomy, policy=Policy((0.5, 0.5), 0.8), temperature=1.0)
        openvino.save_model(model, folder / BOTH[0])
        (folder / BOTH[1]).unlink()

    return change


def _network(
    shape: list[int],
    kind: type[np.generic] = np.uint8,
    *,
    classes: int = 3,
    rows: int | None = None,
    answer: str = "f32",
) -> Callable[[], Any]:
    """A graph of constant answers with this input."""

    def make() -> Any:
        image = ops.parameter(shape, kind, name="image")
        zero = ops.multiply(
            ops.reduce_sum(ops.convert(image, "f32"), np.arange(len(shape))), np.float32(0)
        )
        flat = np.full((rows or max(1, shape[0]), classes), 1 / classes, np.float32)
        return openvino.Model([ops.convert(ops.add(flat, zero), answer)], [image], "flat")

    return make


def _answering(*numbers: int) -> Callable[[], Any]:
    """The sound network giving these of its outputs, in this order."""

    def make() -> Any:
        model = build_model(taxonomy3())
        given = [output.get_node().input_value(0) for output in model.outputs]
        return openvino.Model([given[n] for n in numbers], model.get_parameters(), "other")

    return make


def _two_inputs() -> Any:
    first, second = (ops.parameter([1, 32, 32, 3], np.uint8, name=n) for n in "ab")
    both = ops.add(ops.convert(first, "f32"), ops.convert(second, "f32"))
    return openvino.Model([ops.reduce_mean(both, np.array([1, 2]))], [first, second], "two")


def _remembering() -> Any:
    """A network whose answer depends on the pictures before."""
    model = build_model(taxonomy3(), with_unknown=False)
    scores = model.outputs[0].get_node().input_value(0)
    kept = ops.read_value(scores, "memory", openvino.Type.f32, openvino.PartialShape([1, 3]))
    keep = ops.assign(ops.add(kept, scores), "memory")
    return openvino.Model([ops.result(kept)], [keep], model.get_parameters(), "memory")


def _linked(name: str) -> Callable[[Path], None]:
    """A file of the bundle is a link to one outside of it."""

    def change(folder: Path) -> None:
        outside = folder.parent / f"outside-{name}"
        shutil.move(folder / name, outside)
        (folder / name).symlink_to(outside)

    return change


def _many_labels(folder: Path) -> None:
    items = tuple(Category(f"c{i}", f"n{i}", f"z{i}", "metal") for i in range(10_001))
    rows = [{"code": i.code, "name": i.name, "bin": i.bin} for i in items]
    bins = [{"key": "metal", "name": "Metal"}]
    _said("taxonomy", json.dumps({"bins": bins, "items": rows}))(folder)


def _dangling_card(folder: Path) -> None:
    (folder / "card.json").unlink()
    (folder / "card.json").symlink_to("nowhere")


def _folder_card(folder: Path) -> None:
    (folder / "card.json").unlink()
    (folder / "card.json").mkdir()


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _pipe(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return change


HOSTILE: dict[str, tuple[Callable[[Path], object], str, str]] = {
    # Numbers.
    "NaN threshold": (_said("bin_thresholds", "[NaN, 0.5]"), "model.xml", "bin_thresholds"),
    "negative threshold": (_said("bin_thresholds", "[-0.1, 0.5]"), "model.xml", "bin_thresholds"),
    "infinite threshold": (
        _said("bin_thresholds", "[Infinity, 0.5]"),
        "model.xml",
        "bin_thresholds",
    ),
    "threshold above 1": (_said("bin_thresholds", "[7, 0.5]"), "model.xml", "bin_thresholds"),
    "true as a threshold": (_said("bin_thresholds", "[true, 0.5]"), "model.xml", "bin_thresholds"),
    "too few thresholds": (_said("bin_thresholds", "[0.5]"), "model.xml", "one threshold"),
    "no thresholds": (_said("bin_thresholds", "{}"), "model.xml", "one threshold"),
    "NaN unknown threshold": (_said("unknown_threshold", "nan"), "model.xml", "unknown_threshold"),
    "zero temperature": (_said("temperature", "0"), "model.xml", "temperature"),
    "negative temperature": (_said("temperature", "-1"), "model.xml", "temperature"),
    "NaN temperature": (_said("temperature", "nan"), "model.xml", "temperature"),
    "infinite temperature": (_said("temperature", "inf"), "model.xml", "temperature"),
    "temperature in words": (_said("temperature", "hot"), "model.xml", "temperature"),
    # Labels and bins.
    "10,001 labels": (_many_labels, "model.xml", "limit of 10000"),
    "a label of 10 MB": (_taxonomy(item_name="x" * 10_000_001), "model.xml", "characters long"),
    "duplicate label": (_taxonomy(item_name="peel"), "model.xml", "appears twice"),
    "duplicate code": (_taxonomy(item_code="0001"), "model.xml", "appears twice"),
    "duplicate bin": (_taxonomy(bin_key="rest", item_bin="rest"), "model.xml", "appears twice"),
    "a bin that is not on the map": (_taxonomy(item_bin="gold"), "model.xml", "gold"),
    "a bin that leads out of the archive": (
        _taxonomy(bin_key="../../etc", item_bin="../../etc"),
        "model.xml",
        "cannot name a folder",
    ),
    "a code that leads out of the ring": (
        _taxonomy(item_code="../../x"),
        "model.xml",
        "cannot name a folder",
    ),
    "a control sequence as a label": (
        _taxonomy(item_name="\x1b]0;x\x07"),
        "model.xml",
        "control character",
    ),
    "labels that are no table": (_said("taxonomy", "[]"), "model.xml", "not a table"),
    "labels that are no JSON": (_said("taxonomy", "{"), "model.xml", "not JSON"),
    "labels nested without end": (_said("taxonomy", "[" * 9999), "model.xml", "not JSON"),
    "four labels, three outputs": (_graph(_network([1, 32, 32, 3], classes=4)), "model.xml", "3"),
    # The graph.
    "other schema": (_said("schema_version", "9"), "model.xml", "schema version"),
    "no words about itself": (_edit("<sorter>", "<other>"), "model.xml", "not a readable"),
    "planes first": (_graph(_network([1, 3, 32, 32])), "model.xml", "not u8"),
    "floats in": (_graph(_network([1, 32, 32, 3], np.float32)), "model.xml", "not u8"),
    "no square": (_graph(_network([1, 32, 16, 3])), "model.xml", "not u8"),
    "a side of 5000": (_graph(_network([1, 5000, 5000, 3])), "model.xml", "not u8"),
    "any number of pictures": (_graph(_network([-1, 32, 32, 3])), "model.xml", "static"),
    "any size": (_graph(_network([1, -1, -1, 3])), "model.xml", "static"),
    "no pictures": (_graph(_network([0, 32, 32, 3])), "model.xml", "pictures at once"),
    "a million pictures": (_graph(_network([1 << 20, 32, 32, 3])), "model.xml", "at once"),
    "two answers to one picture": (
        _graph(_network([1, 32, 32, 3], rows=2)),
        "model.xml",
        "first output",
    ),
    "whole numbers out": (_graph(_network([1, 32, 32, 3], answer="i32")), "model.xml", "i32"),
    "two inputs": (_graph(_two_inputs), "model.xml", "one input"),
    "four outputs": (_graph(_answering(0, 1, 1, 1)), "model.xml", "outputs"),
    "a wide third output": (_graph(_answering(0, 1, 0)), "model.xml", "third output"),
    "a wide second output": (_graph(_answering(0, 0)), "model.xml", "second output"),
    "a network that remembers": (_graph(_remembering), "model.xml", "ReadValue"),
    # The files.
    "graph that is a link": (_linked("model.xml"), "model.xml", "is a link"),
    "weights that are a link": (_linked("model.bin"), "model.bin", "is a link"),
    "INT8 weights that are a link": (_linked("model-int8.bin"), "model-int8.bin", "is a link"),
    "card that is a link": (_linked("card.json"), "card.json", "is a link"),
    "card that leads nowhere": (_dangling_card, "card.json", "is a link"),
    "card that is a pipe": (_pipe("card.json"), "card.json", "not a regular file"),
    "card that is a folder": (_folder_card, "card.json", "not a regular file"),
    "card of 2 MB": (
        lambda f: (f / "card.json").write_bytes(b" " * (2 << 20)),
        "card.json",
        "bytes",
    ),
    "card that is no JSON": (lambda f: (f / "card.json").write_text("{"), "card.json", "not JSON"),
    "card that is no table": (lambda f: (f / "card.json").write_text("[1]"), "card.json", "object"),
    "card of bytes": (lambda f: (f / "card.json").write_bytes(b"\xff"), "card.json", "not JSON"),
    "card nested without end": (
        lambda f: (f / "card.json").write_text("[" * 100_000),
        "card.json",
        "not JSON",
    ),
    "weights that are a pipe": (_pipe("model.bin"), "model.bin", "not a regular file"),
    "no weights": (lambda f: (f / "model.bin").unlink(), "model.bin", "incomplete"),
    "empty weights": (lambda f: (f / "model.bin").write_bytes(b""), "model.bin", "0 bytes"),
    "cut weights": (
        lambda f: (f / "model.bin").write_bytes((f / "model.bin").read_bytes()[:4]),
        "model.xml",
        "not a readable",
    ),
    "cut graph": (
        lambda f: (f / "model.xml").write_bytes((f / "model.xml").read_bytes()[:400]),
        "model.xml",
        "not a readable",
    ),
    "weights beyond the file": (_edit('offset="0"', 'offset="999999999"'), "model.xml", "readable"),
    "no network": (_emptied, "b", "neither"),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_bundle_is_refused_by_name_and_reason(how: str, tmp_path: Path) -> None:
    change, file, says = HOSTILE[how]
    folder = write_bundle(tmp_path / "b")
    change(folder)
    with pytest.raises(BundleError) as caught:
        open_bundle(folder)
    message = str(caught.value)
    named = folder if file == "b" else folder / file
    assert message.startswith(f"{named}: "), message
    assert says in message.removeprefix(f"{named}: ")
    assert "\n" not in message
    assert len(message) < 600


def test_what_is_not_hostile_stays_allowed(tmp_path: Path) -> None:
    """A folder that is a link (`current` → `v3`), no card, one precision."""
    folder = write_bundle(tmp_path / "b", precisions=("fp16",))
    (folder / "card.json").unlink()
    (tmp_path / "current").symlink_to(folder)
    bundle = open_bundle(tmp_path / "current")
    assert bundle.precisions == ("fp16",)
    assert bundle.card == {}
