"""Mistakes of `train`, `export` and the checkpoint of a bundle: one line each, as in test_messages.

What a run says of its progress comes before the line; nothing comes after it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="missing: pip install '.[train]'")

from sorter.taxonomy import taxonomy_to_dict  # noqa: E402
from sorter.vision.bundle import default_bundle  # noqa: E402
from tests.support.mishaps import check_line, mishaps, typed  # noqa: E402
from tests.support.tiny import taxonomy3, write_bundle  # noqa: E402

TRAIN = (
    "train {data} --taxonomy {taxonomy} --out {none}-run --cache {none}-cache --network cnn "
    "--size 32 --epochs 1 --threads 1 --no-int8"
)
EXPORT = "export {released} --data {data} --out {none}-bundle"

ROWS: list[tuple[str, int, str, str]] = [
    (TRAIN.replace("{data}", "{none}"), 5, "{none}", "name one"),
    (TRAIN.replace("{data}", "{onlyval}"), 5, "{onlyval}", "DATA/train"),
    (f"{TRAIN} --out {{file}}", 5, "{file}", "--out"),
    (f"{TRAIN} --out {{data}}/run", 2, "--out", "choose another"),
    (f"{TRAIN} --cache {{data}}/cache", 2, "--cache", "choose another"),
    (f"{TRAIN} --cache {{file}}", 5, "{file}", "name another"),
    (f"{TRAIN} --network tree", 2, "network", "swin_t"),
    (f"{TRAIN} --stage x", 2, "stage", "both, head, full"),
    (f"{TRAIN} --size 3", 2, "size_px is 3", "from 16"),
    (f"{TRAIN} --epochs 0", 2, "epochs is 0", "above 0"),
    (f"{TRAIN} --lr nan", 2, "lr is nan", "from 0"),
    (f"{TRAIN} --lr inf", 2, "lr is inf", "from 0"),
    (f"{TRAIN} --mixup -1", 2, "mixup is -1", "from 0"),
    (f"{TRAIN} --weight-decay nan", 2, "weight_decay is nan", "from 0"),
    (f"{TRAIN} --warmup 7", 2, "warmup is 7", "from 0 to 1"),
    (f"{TRAIN} --max-drop nan", 2, "max_drop is nan", "from 0"),
    (f"{TRAIN} --seed {10**30}", 2, "seed is 1000", "from 0"),
    (f"{TRAIN} --seed -1", 2, "seed is -1", "from 0"),
    (f"{TRAIN} --threads -3", 2, "threads is -3", "from 0"),
    (f"{TRAIN} --folds 1", 2, "folds is 1", "2 or more"),
    (f"{TRAIN} --set epochs", 2, "--set", "NAME=VALUE"),
    (f"{TRAIN} --set epochs=x", 2, "epochs is 'x'", "whole number"),
    (f"{TRAIN} --set freeze_norm=perhaps", 2, "freeze_norm", "true or false"),
    (f"{TRAIN} --set nothing=1", 2, "nothing", "--settings"),
    (f"{TRAIN} --set blended=1", 2, "blended", "such as blend"),
    (f"{TRAIN} --preset mine", 2, "mine", "release or paper"),
    (f"{TRAIN} --device tpu", 2, "tpu", "auto, cpu, cuda"),
    (f"WORLD_SIZE=two {TRAIN}", 2, "WORLD_SIZE", "unset it"),
    (f"{TRAIN} --leave-one-source-out", 5, "--leave-one-source-out", "--extra DIR"),
    *[
        (f"{TRAIN} --groups {{{what}}}", 5, f"{{{what}}}", "sorter data check")
        for what in ("none", "empty", "groups_header", "groups_none", "groups_zero", "groups_long")
    ],
    *[
        (f"{TRAIN} --init {{{what}}}", 3, f"{{{what}}}", "name a")
        for what in ("none", "empty", "file", "cut", "pt_list", "pt_numbers", "wheel")
    ],
    *[
        (f"{TRAIN} --oof {{{what}}}", 5, f"{{{what}}}", "oof.npz")
        for what in ("none", "empty", "file", "array", "arrays", "cut")
    ],
    (f"{TRAIN} --init {{pt_other}}", 3, "not of this network", "--init none"),
    *[
        (f"{TRAIN} --teacher {{{what}}}", 5, f"{{{what}}}", "--teacher")
        for what in ("none", "file", "arrays", "cut")
    ],
    # export
    (EXPORT.replace("{released}", "{none}"), 3, "{none}", "name a checkpoint"),
    (EXPORT.replace("{released}", "{file}"), 3, "{file}", "name another"),
    (EXPORT.replace("{released}", "{empty}"), 3, "{empty}", "name a checkpoint"),
    (EXPORT.replace("{released}", "{pt_other}"), 3, "{pt_other}", "name another"),
    (EXPORT.replace("{released}", "{pt_unfinished}"), 3, "{pt_unfinished}", "--resume"),
    *[
        (EXPORT.replace("{released}", f"{{pt_{what}}}"), 3, f"{{pt_{what}}}", "name the checkpoint")
        for what in ("taxonomy", "config", "calibration", "size", "model", "card")
    ],
    ("export {released} --out {none}-bundle", 2, "{released}", "--data"),
    (EXPORT, 5, "{data}", "--taxonomy"),
    (f"{EXPORT} --out {{pics}}", 5, "{pics}", "--out"),
    (f"{EXPORT} --out {{file}}", 5, "{file}", "--out"),
    (f"{EXPORT} --out /", 5, "/", "--out"),
    (f"{EXPORT} --max-drop nan", 2, "max_drop is nan", "from 0"),
    # evaluate
    ("evaluate {data} --model {bundle} --precision torch", 3, "{bundle}", "name a checkpoint"),
    ("evaluate {data} --model {spoilt} --precision torch", 3, "{spoilt}", "name another"),
]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """The mishaps, and checkpoints that are none."""
    root = tmp_path_factory.mktemp("mishaps")
    found, open_ends = mishaps(root)
    extra: dict[str, Path] = {"released": default_bundle() / "checkpoint.pt"}
    whole = torch.load(extra["released"], weights_only=True)
    small = json.dumps(taxonomy_to_dict(taxonomy3()))
    spoilt: dict[str, Any] = {
        "list": [1],
        "numbers": {1: torch.zeros(2)},
        "other": {"a": torch.zeros(3)},
        "unfinished": {"format": 1},
        "taxonomy": {**whole, "taxonomy": "[]"},
        "config": {**whole, "config": '{"epochs": [1]}'},
        "calibration": {**whole, "calibration": "{}"},
        "size": {**whole, "size_px": 10**6},
        "model": {**whole, "taxonomy": small},
        "card": {**whole, "card": "5"},
    }
    for name, content in spoilt.items():
        extra[f"pt_{name}"] = root / f"{name}.pt"
        torch.save(content, extra[f"pt_{name}"])
    extra["wheel"] = root / "x.whl"
    extra["wheel"].write_bytes(b"PK")
    extra["spoilt"] = write_bundle(root / "spoilt")
    (extra["spoilt"] / "checkpoint.pt").write_bytes(b"\x80\x02cposix\nsystem\n(S'id'\ntR.")
    yield {**found, **{name: str(path) for name, path in extra.items()}}
    for end in open_ends:
        end.close()


@pytest.mark.parametrize(("line", "code", "where", "remedy"), ROWS, ids=[r[0] for r in ROWS])
def test_one_line_says_what_where_and_what_to_do(
    line: str,
    code: int,
    where: str,
    remedy: str,
    places: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    got = typed(line, places, monkeypatch)
    said = capsys.readouterr().err
    last = "\n".join(row for row in said.splitlines() if not row.startswith("["))
    check_line(last, got, (code, where.format(**places), remedy.format(**places)))
