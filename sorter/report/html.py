"""A contact sheet: one HTML file of small pictures with captions, in sections.

Owns the page: how cards wait on disk and how they become one file. It reads without its script and
asks no network for anything; no text in it can act, because every text is escaped and the page's
policy names the only script and style by their digest. What a card says is for `cards`.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import heapq
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape as escape_markup
from importlib import resources
from pathlib import Path
from typing import IO, Self
from urllib.parse import quote

from sorter.errors import FolderError
from sorter.files import STDOUT, place_for, whole_file
from sorter.report import words
from sorter.text import escape

_ADVICE = "make room or name another file"
_OURS = (
    rb"\A<!doctype html>\n<html lang=\"[\w-]+\">\n<head>\n<meta charset=\"utf-8\">\n"
    rb"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
    rb"style-src 'sha256-"
)
"""How a page of ours begins: no other page names its one style by this policy."""

LIMIT = 10_000
"""Pictures shown a section; a browser gets slow beyond, and the page says how many it left out."""


@dataclass(frozen=True, slots=True)
class Card:
    """One picture of a sheet.

    `section` is a position in the sheet's sections; inside one, cards come by ascending `rank`,
    then as they were added. `title` is the first line, and what the page can be narrowed to;
    `detail` may be empty. `confidence` is in [0, 1], None for none. `thumbnail` is a JPEG, empty
    where there is none. `linked`: whether `path` is a file that the page may point to.
    """

    path: Path
    section: int
    title: str
    detail: str = ""
    confidence: float | None = None
    rank: float = 0.0
    thumbnail: bytes = b""
    linked: bool = True


@dataclass(slots=True)
class _Section:
    """The cards of one section: (-rank, -place, offset, length), the last in turn on top."""

    name: str
    count: int = 0
    kept: list[tuple[float, int, int, int]] = field(default_factory=list)


class ContactSheet:
    """One page being written; a context manager. Raises FolderError where the disk refuses.

    Cards wait in a nameless file beside the page, which takes its place whole at the end; a run
    that fails leaves an earlier page as it was. Memory holds four numbers a shown card.
    """

    def __init__(
        self,
        path: Path,
        *,
        title: str,
        sections: Sequence[str],
        lang: str = "en",
        limit: int = LIMIT,
    ) -> None:
        ours = re.compile(_OURS).search
        if path != STDOUT:
            path = place_for(path, option="--html", ours=lambda head: bool(ours(head)))
        self.path = path
        self._title, self._lang, self._limit = title, lang, limit
        self._sections = [_Section(name) for name in sections]
        self._end = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Closed by `__exit__`; a `with` here would close it too early.
            self._spool: IO[bytes] = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115
        except OSError as error:
            raise self._refused(error) from error

    def add(self, card: Card) -> None:
        """Put one picture into its section."""
        section = self._sections[card.section]
        place = (-card.rank, -section.count)
        section.count += 1
        full = len(section.kept) >= self._limit
        if full and place < section.kept[0][:2]:
            return
        try:
            data = self._draw(card).encode("utf-8")
            self._spool.write(data)
        except OSError as error:
            raise self._refused(error) from error
        entry = (*place, self._end, len(data))
        self._end += len(data)
        if full:
            heapq.heappushpop(section.kept, entry)
        else:
            heapq.heappush(section.kept, entry)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and self.path == STDOUT:
                self._write(sys.stdout.buffer)
                sys.stdout.flush()
            elif kind is None:
                with whole_file(self.path, option="--html", advice=_ADVICE) as out:
                    self._write(out)
        finally:
            with contextlib.suppress(OSError):  # what a full disk did not take is not wanted
                self._spool.close()

    def _write(self, out: IO[bytes]) -> None:
        style, script = asset("contact.css"), asset("contact.js")
        say = words.of(self._lang)
        total = sum(section.count for section in self._sections)
        present = [(i, section) for i, section in enumerate(self._sections) if section.count]
        links = "".join(
            f'<li><a href="#s{i}">{markup(section.name)} <b>{section.count:,}</b></a></li>\n'
            for i, section in present
        )
        policy = (
            f"default-src 'none'; img-src data:; style-src '{digest(style)}'; "
            f"script-src '{digest(script)}'; base-uri 'none'; form-action 'none'"
        )
        shown = say["one picture" if total == 1 else "pictures"].format(total)
        out.write(
            f'<!doctype html>\n<html lang="{say["lang"]}">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<title>{markup(self._title)}</title>\n<link rel="icon" href="data:,">\n'
            f"<style>{style}</style>\n</head>\n<body>\n<header>\n<h1>{markup(self._title)}</h1>\n"
            f'<p id="shown" role="status">{shown}</p>\n'
            f'<nav aria-label="{say["sections"]}"><ul>\n{links}</ul></nav>\n'
            f"{_controls(say)}</header>\n<main>\n".encode()
        )
        for i, section in present:
            out.write(
                f'<section id="s{i}" aria-labelledby="h{i}">\n<h2 id="h{i}">{markup(section.name)} '
                f"<span>{section.count:,}</span></h2>\n".encode()
            )
            if len(section.kept) < section.count:
                left_out = say["left out"].format(len(section.kept), section.count)
                out.write(f'<p class="note">{left_out}</p>\n'.encode())
            out.write(b"<ul>\n")
            for _, _, offset, length in sorted(section.kept, reverse=True):
                self._spool.seek(offset)
                out.write(self._spool.read(length))
            out.write(b"</ul>\n</section>\n")
        out.write(f"</main>\n<script>{script}</script>\n</body>\n</html>\n".encode())

    def _draw(self, card: Card) -> str:
        sure = "" if card.confidence is None else f"{card.confidence:.0%}"
        score = "" if card.confidence is None else f' data-p="{card.confidence:.4f}"'
        detail = f"<em>{markup(card.detail)}</em>" if card.detail else ""
        image = base64.b64encode(card.thumbnail).decode()
        frame = f'<img alt="" src="data:image/jpeg;base64,{image}">' if image else ""
        # Without an address the card is still a stop for the keyboard.
        where = f'href="{self._address(card.path)}"' if card.linked else 'tabindex="0"'
        return (
            f'<li{score}><a {where} title="{markup(str(card.path))}"><span>{frame}</span>'
            f"<b>{markup(card.title)}</b> <i>{sure}</i>{detail}"
            f"<small>{markup(card.path.name)}</small></a></li>\n"
        )

    def _address(self, path: Path) -> str:
        """From the page to the picture: both may move together, and no scheme can be meant."""
        return quote(os.fsencode(os.path.relpath(path, self.path.parent)))

    def _refused(self, error: OSError) -> FolderError:
        return FolderError(
            f"{escape(str(self.path))}: cannot be written: {error.strerror or error}; {_ADVICE}"
        )


def _controls(say: dict[str, str]) -> str:
    """What needs the script, hidden until the script runs."""
    options = "".join(
        f'<option value="{value}">{say[value]}</option>'
        for value in ("written", "low", "high", "name")
    )
    return (
        f'<form id="controls" role="search" hidden data-shown="{say["shown"]}">\n'
        f'<label>{say["filter"]} <input id="filter" type="search" autocomplete="off" '
        'spellcheck="false"></label>\n'
        f'<label>{say["title"]} <select id="title"><option value="">{say["all"]}</option></select>'
        f'</label>\n<label>{say["sort"]} <select id="sort">{options}</select></label>\n'
        f"<p>{say['keys']}</p>\n</form>\n"
    )


def markup(text: str) -> str:
    """Any text, as one line that is harmless in markup and in a quoted attribute."""
    return escape_markup(escape(text), quote=True)


def asset(name: str) -> str:
    """A file of `assets`, whole."""
    return (resources.files("sorter.report") / "assets" / name).read_text(encoding="utf-8")


def digest(text: str) -> str:
    """How a page's policy names its one style or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
