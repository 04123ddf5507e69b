"""Read a taxonomy file: classes, bins, and the map between them.

The default is the 26 items → 4 bins of the source paper. Owns the file's format; what a taxonomy
is belongs to `domain`.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from sorter.domain import Bin, Category, Taxonomy
from sorter.errors import TaxonomyError
from sorter.files import read_user_text

MAX_CATEGORIES = 10_000
"""More classes than any sorter has; a larger list is a damaged or hostile file."""

MAX_BYTES = 16 * 1024 * 1024

MAX_RISK = 1000

MAX_BINS = 99
"""The wire carries a bin as a small decimal number."""


@cache
def default_taxonomy() -> Taxonomy:
    """The taxonomy that ships with sorter (26 items, four bins)."""
    text = resources.files("sorter").joinpath("taxonomy.toml").read_text(encoding="utf-8")
    return parse_taxonomy(text, source="taxonomy.toml")


def read_taxonomy(path: Path) -> Taxonomy:
    """Read a user's taxonomy file.

    Raises TaxonomyError, naming the file and the entry, for anything that cannot be used.
    """
    try:
        text = read_user_text(path, limit=MAX_BYTES)
        text.encode("utf-8")  # a byte that is not UTF-8 came as a surrogate
    except OSError as error:
        raise TaxonomyError(
            f"{path}: cannot read the taxonomy: {error.strerror}; name a TOML file"
        ) from error
    except UnicodeError as error:
        raise TaxonomyError(f"{path}: the taxonomy is not UTF-8; save it as that") from error
    except ValueError as error:
        raise TaxonomyError(f"{path}: {error}; name a taxonomy file") from error
    return parse_taxonomy(text, source=str(path))


def parse_taxonomy(text: str, *, source: str) -> Taxonomy:
    """Build a Taxonomy from TOML text; `source` names it in errors. Raises TaxonomyError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TaxonomyError(f"{source}: not valid TOML: {error}; correct it there") from error
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, 1,000 brackets
        raise TaxonomyError(f"{source}: no taxonomy looks like this: {error}") from error
    return taxonomy_from_dict(document, source=source)


def taxonomy_from_dict(document: dict[str, Any], *, source: str) -> Taxonomy:
    """Build a Taxonomy from parsed TOML or JSON of the same shape. Raises TaxonomyError.

    A bin's key and an item's code name folders, and hold no slash and no leading dot.
    """
    bin_rows = _rows(document, "bins", source, limit=MAX_BINS)
    item_rows = _rows(document, "items", source, limit=MAX_CATEGORIES)
    bins = tuple(
        Bin(
            key=_text(row, "key", f"{source}: bins[{i}]"),
            number=i + 1,
            code=_text(row, "code", f"{source}: bins[{i}]", default=f"{i:02d}"),
            name=_text(row, "name", f"{source}: bins[{i}]"),
            name_zh=_text(row, "name_zh", f"{source}: bins[{i}]", default=str(row.get("name"))),
            risk=_risk(row, f"{source}: bins[{i}]"),
        )
        for i, row in enumerate(bin_rows)
    )
    categories = tuple(
        Category(
            code=_text(row, "code", f"{source}: items[{i}]"),
            name=_text(row, "name", f"{source}: items[{i}]"),
            name_zh=_text(row, "name_zh", f"{source}: items[{i}]", default=str(row.get("name"))),
            bin=_text(row, "bin", f"{source}: items[{i}]"),
        )
        for i, row in enumerate(item_rows)
    )
    for what, name in (*(("bin", b.key) for b in bins), *(("item", c.code) for c in categories)):
        # Archive, ring and labelled data keep folders of these names.
        if "/" in name or name.startswith("."):
            raise TaxonomyError(f"{source}: {what} {name!r} cannot name a folder; change it")
    _refuse_repeats([b.key for b in bins], "bin key", source)
    _refuse_repeats([c.code for c in categories], "item code", source)
    _refuse_repeats([c.name.casefold() for c in categories], "item name", source)
    keys = {b.key for b in bins}
    for c in categories:
        if c.bin not in keys:
            raise TaxonomyError(
                f"{source}: item {c.code} goes to bin {c.bin!r}, which is not one of "
                f"{', '.join(sorted(keys))}"
            )
    name = document.get("name", "unnamed")
    return Taxonomy(name=str(name), categories=categories, bins=bins)


def taxonomy_to_dict(taxonomy: Taxonomy) -> dict[str, Any]:
    """The document that `taxonomy_from_dict` reads back to the same value."""
    return {
        "name": taxonomy.name,
        "bins": [
            {"key": b.key, "code": b.code, "name": b.name, "name_zh": b.name_zh}
            | ({"risk": b.risk} if b.risk != 1.0 else {})
            for b in taxonomy.bins
        ],
        "items": [
            {"code": c.code, "name": c.name, "name_zh": c.name_zh, "bin": c.bin}
            for c in taxonomy.categories
        ],
    }


def _rows(document: dict[str, Any], key: str, source: str, *, limit: int) -> list[dict[str, Any]]:
    rows = document.get(key)
    if not isinstance(rows, list) or not rows or not all(isinstance(r, dict) for r in rows):
        raise TaxonomyError(f"{source}: needs at least one [[{key}]] table")
    if len(rows) > limit:
        raise TaxonomyError(f"{source}: {len(rows)} {key}, more than the limit of {limit}")
    return rows


def _text(row: dict[str, Any], key: str, where: str, *, default: str | None = None) -> str:
    value = row.get(key, default)
    if not isinstance(value, str) or not value.strip():
        raise TaxonomyError(f"{where}: needs a non-empty text {key!r}")
    if any(ord(c) < 0x20 or c == "\x7f" for c in value):
        raise TaxonomyError(f"{where}: {key!r} holds a control character")
    return value.strip()


def _risk(row: dict[str, Any], where: str) -> float:
    value = row.get("risk", 1.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= MAX_RISK:
        raise TaxonomyError(f"{where}: 'risk' is {value!r}; give a number from 1 to {MAX_RISK}")
    return float(value)


def _refuse_repeats(values: list[str], what: str, source: str) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise TaxonomyError(f"{source}: {what} {value!r} appears twice")
        seen.add(value)
