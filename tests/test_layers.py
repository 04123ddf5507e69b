"""Imports go one way. Counted: those at a module's head, inside functions, and for types alone.

    words ← vision, actuator ← dataset, report, station ← display, demo, doctor, … ← cli

A room that needs an arrow that is not here either lies in the wrong place or asks for something
that should be handed to it.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]

WORDS = frozenset({"domain", "errors", "taxonomy", "text", "files", "host", "audit"})
"""What everyone may say. They know each other, and nobody above them."""

PACKAGES: Mapping[str, frozenset[str]] = {
    "vision": WORDS,
    "actuator": WORDS,
    "station": WORDS,
    "service": WORDS,
    "samples": WORDS,
    "dataset": WORDS | {"vision"},
    "distributed": WORDS | {"vision"},
    # Of `report` only the sheet of mistakes looks at pictures again.
    "report": WORDS | {"vision", "dataset"},
    "teach": WORDS | {"vision", "dataset", "report"},
    "review": WORDS | {"vision", "dataset", "station", "report", "teach"},
    "demo": WORDS | {"vision", "actuator", "station", "samples"},
    "doctor": WORDS | {"vision", "actuator", "station", "service"},
    "display": WORDS | {"vision", "station", "demo", "report"},
    "api": WORDS | {"vision"},
}
"""For each package what it may import; `cli`, where all is joined, may import everything."""

STATION: Mapping[str, frozenset[str]] = {
    "settings": frozenset(),
    "interfaces": frozenset(),
    "burst": frozenset(),
    "health": frozenset(),
    "intake": frozenset(),
    "journal": frozenset({"interfaces", "health"}),
    "sinks": frozenset({"intake", "health"}),
    "mqtt": frozenset({"health", "journal"}),
    "control": frozenset({"interfaces"}),
    "reload": frozenset({"interfaces", "health"}),
    "dispatch": frozenset({"interfaces", "journal", "health"}),
    "station": frozenset(
        {
            *("settings", "interfaces", "burst", "health", "journal", "reload"),
            "dispatch",
        }
    ),
}
"""For each room and wing of the station the others that it may import; `compose` joins them."""


TRAIN = (
    *("config", "checkpoint", "interrupt", "drawn", "progress", "data", "networks", "machine"),
    *("run_folder", "fit", "judge", "release", "run", "__main__"),
)
"""The steps of training: each imports only those to its left."""


def modules(package: str) -> dict[str, Path]:
    """Every module of `package`, by its dotted name."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (ROOT / package).rglob("*.py")
    }


@functools.cache
def imported(path: Path) -> frozenset[str]:
    """Every dotted name that `path` imports anywhere, the names taken from modules included."""
    return frozenset(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}: a relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def arrows(package: str) -> dict[str, set[str]]:
    """Which modules of `package` each of its modules imports."""
    known = modules(package)
    return {name: set(imported(path) & set(known)) - {name} for name, path in known.items()}


def strays(
    graph: Mapping[str, set[str]], depth: int, allowed: Mapping[str, frozenset[str]]
) -> list[str]:
    """Arrows between the parts at `depth` of the dotted name that `allowed` does not have."""
    found = []
    for name, targets in graph.items():
        part = (name.split(".") + [""] * depth)[depth]
        for target in targets:
            other = (target.split(".") + [""] * depth)[depth]
            if part in allowed and other and other != part and other not in allowed[part]:
                found.append(f"{name} imports {target}")
    return found


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """The modules of some circle of imports, in its order; empty where there is none."""
    done: set[str] = set()

    def walk(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        for target in sorted(graph.get(name, ())):
            if found := walk(target, [*way, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(graph) if (found := walk(name, []))), [])


def test_every_package_imports_downwards() -> None:
    graph = arrows("sorter")
    assert strays(graph, 1, {**dict.fromkeys(WORDS, WORDS), **PACKAGES}) == []
    parts = {name.split(".")[1] for name in graph if name.count(".")}
    assert parts - WORDS - set(PACKAGES) == {"cli", "__main__"}, "a package without a place here"


def test_the_rooms_of_the_station_import_downwards() -> None:
    graph = {
        name: {target for target in targets if target.startswith("sorter.station.")}
        for name, targets in arrows("sorter").items()
        if name.startswith("sorter.station.")
    }
    assert strays(graph, 2, STATION) == []
    rooms = {name.split(".")[2] for name in graph}
    assert rooms - set(STATION) == {"compose"}, "a room without a place here"
    assert len(rooms) <= 14


def test_there_is_no_circle() -> None:
    graph = arrows("sorter")
    # A package's own `__init__` is run before its modules whoever imports them.
    assert circle(graph) == []


def test_the_edge_knows_no_training() -> None:
    heavy = {"torch", "torchvision", "nncf", "train"}
    found = {
        name
        for name, path in modules("sorter").items()
        if heavy & {target.split(".")[0] for target in imported(path)}
    }
    assert found == {"sorter.cli.train"}  # One lazy import, which says how to install it.


def test_training_is_a_staircase() -> None:
    graph = arrows("train")
    allowed = {step: frozenset(TRAIN[:i]) for i, step in enumerate(TRAIN)}
    assert strays(graph, 1, allowed) == []
    steps = {name.split(".")[1] for name in graph if name.count(".")}
    assert steps == set(TRAIN), "a step without a place here"


def test_these_checks_can_fail() -> None:
    graph = {"a.b": {"a.c"}, "a.c": {"a.d"}, "a.d": {"a.b"}}
    assert circle(graph) == ["a.b", "a.c", "a.d", "a.b"]
    assert strays(graph, 1, {"b": frozenset()}) == ["a.b imports a.c"]


def test_no_class_name_says_two_things() -> None:
    places: dict[str, list[str]] = {}
    for module, path in (modules("sorter") | modules("train")).items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(module)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
