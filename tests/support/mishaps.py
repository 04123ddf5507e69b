"""What a user may point a command at by mistake: a folder of broken and foreign things.

Every name in `mishaps` may stand in a command line as `{name}`.
"""

from __future__ import annotations

import os
import shlex
import socket
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from sorter.cli import exits
from sorter.cli.app import app
from sorter.domain import Taxonomy
from sorter.station.journal.opening import open_journal
from tests.support.tiny import colour_of, paint, taxonomy3, write_bundle

GROUPS = {
    "header": b"a,b\n1,2\n",
    "none": b"path,group\n",
    "zero": b"path,group\nx\0y,1\n",
    "long": b"path,group\n" + b"a" * 200_000 + b",1\n",
}

TAXONOMIES = {
    "syntax": "x = = 1",
    "empty": "",
    "deep": "a=" + "[" * 5000,
    "digits": "a=" + "9" * 5000,
    "words": 'bins="x"\nitems="y"',
}


def toml_of(taxonomy: Taxonomy) -> str:
    """`taxonomy` as a user would write it."""
    lines = [f'name = "{taxonomy.name}"']
    for b in taxonomy.bins:
        lines += ["[[bins]]", f'key = "{b.key}"', f'name = "{b.name}"']
    for item in taxonomy.categories:
        lines += ["[[items]]", f'code = "{item.code}"', f'name = "{item.name}"']
        lines += [f'bin = "{item.bin}"']
    return "\n".join(lines) + "\n"


def mishaps(root: Path) -> tuple[Mapping[str, str], list[socket.socket]]:
    """Make them all below `root`; their paths by name, and what must be closed at the end."""
    taxonomy = taxonomy3()
    names = {name: root / name for name in ("empty", "none", "pics", "data", "onlyval", "onlybad")}
    for name, folder in names.items():
        if name != "none":
            folder.mkdir()
    for i in range(3):
        code = taxonomy.categories[i].code
        paint(names["pics"] / f"{i}.png", colour_of(taxonomy, i))
        (names["data"] / code).mkdir()
        for k in range(4):  # the fewest that leave some to judge by
            colour = (40 * k, 70 * i, 11 * k + 5)
            paint(names["data"] / code / f"{k}.png", colour, size=(64, 48 + k))
        (names["onlybad"] / code).mkdir()
        (names["onlybad"] / code / "page.jpg").write_text("<html>")
    (names["onlyval"] / "val" / "0001").mkdir(parents=True)
    paint(names["onlyval"] / "val" / "0001" / "0.png", (1, 2, 3))
    names["bundle"] = write_bundle(root / "bundle")
    names["file"] = _written(root / "file", b"x")
    names["inside"] = names["file"] / "x"
    names["long"] = root / ("a" * 300)
    names["loop"] = root / "loop"
    names["loop"].symlink_to("loop")
    names["pipe"] = root / "pipe"
    os.mkfifo(names["pipe"])
    names["odd"] = root / "odd\n\x1b[31m"
    names["taxonomy"] = _written(root / "ok.toml", toml_of(taxonomy).encode())
    text = toml_of(taxonomy)
    wrong = {
        **TAXONOMIES,
        "twice": text.replace('"peel"', '"can"'),
        "nobin": text.replace('bin = "metal"', 'bin = "gold"'),
        "slash": text.replace('"0001"', '"../1"'),
    }
    for name, content in wrong.items():
        names[f"taxonomy_{name}"] = _written(root / f"{name}.toml", content.encode())
    names["taxonomy_bytes"] = _written(root / "bytes.toml", b"\xe9 = 1\n")
    for name, rows in GROUPS.items():
        names[f"groups_{name}"] = _written(root / f"{name}.csv", rows)
    _journals(root, names)
    _arrays(root, names)
    taken = socket.create_server(("127.0.0.1", 0))
    ports = {"taken": str(taken.getsockname()[1])}
    return {**{name: str(path) for name, path in names.items()}, **ports}, [taken]


def typed(line: str, places: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of a command line, run in this process through the entry point's boundary.

    `{name}` in it is one of `places`; `NAME=value` before the command is its environment.
    """
    words = [word.format(**places) for word in shlex.split(line)]
    while "=" in words[0]:
        monkeypatch.setenv(*words.pop(0).split("=", 1))
    monkeypatch.setattr("sys.argv", ["sorter", *words])
    return exits.run(app, "sorter")


def _journals(root: Path, names: dict[str, Path]) -> None:
    for name, version in (("foreign", 0), ("newer", 99), ("half", 1)):
        names[f"journal_{name}"] = root / f"{name}.sqlite"
        db = sqlite3.connect(names[f"journal_{name}"])
        db.execute("CREATE TABLE x (a)")
        db.execute(f"PRAGMA user_version = {version}")
        db.commit()
        db.close()
    for name, sql in {
        "good": "SELECT 1",
        "lost": "DELETE FROM meta",
        "tables": "DROP TABLE items",
    }.items():
        file = names[f"journal_{name}"] = root / f"{name}.sqlite"
        open_journal(file).close()
        db = sqlite3.connect(file)
        db.execute(sql)
        db.commit()
        db.close()
    names["journal_empty"] = _written(root / "empty.sqlite", b"")
    names["journal_text"] = _written(root / "text.sqlite", b"hello " * 1000)


def _arrays(root: Path, names: dict[str, Path]) -> None:
    names["array"] = root / "one.npy"
    np.save(names["array"], np.zeros(3))
    names["arrays"] = root / "other.npz"
    np.savez(names["arrays"], a=np.zeros(3))
    names["number"] = root / "number.npz"
    np.savez(names["number"], digests=np.array(5), scores=np.zeros((1, 3)))
    cut = root / "cut.npz"
    cut.write_bytes(names["arrays"].read_bytes()[:100])
    names["cut"] = cut


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def check_line(said: str, code: int, wanted: tuple[int, str, str]) -> None:
    """One line of stderr, `wanted` code, naming where and what to do."""
    expected, where, remedy = wanted
    assert "Traceback" not in said
    assert code == expected, said
    lines = said.splitlines()
    if where != "Usage":  # a group's help is no error
        assert len(lines) == 1, said
        assert lines[0].startswith("sorter")
        assert len(lines[0]) < 900
    assert where in said
    assert remedy in said
