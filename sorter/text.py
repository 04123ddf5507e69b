"""Text from outside made safe to show: one line, printable, and back again; names by language.

Owns the escapes that every report and the terminal share, the cells of every CSV, and the choice
between English and Chinese. A file name may hold a newline, a terminal's control sequence or bytes
that are not text; none of them reaches a screen or a table.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable
from enum import StrEnum
from typing import Protocol


class Lang(StrEnum):
    """Which names of classes and bins to show."""

    EN = "en"
    ZH = "zh"


class Named(Protocol):
    """A category or a bin: it has a name in each language."""

    @property
    def name(self) -> str: ...
    @property
    def name_zh(self) -> str: ...


class KeyedName(Named, Protocol):
    """A bin: it has a key too."""

    @property
    def key(self) -> str: ...


def named(thing: Named, lang: str) -> str:
    """The name of a category or a bin in `lang`, a `Lang` or its value."""
    return thing.name_zh if lang == Lang.ZH else thing.name


def counted(count: int, noun: str) -> str:
    """An English count: "1 picture", "12 pictures", "1 class", "3 classes"."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"


_SHORT = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_LONG = {escape[1]: character for character, escape in _SHORT.items()}
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))", re.DOTALL)

_FORMULA = ("=", "+", "-", "@", "'", "＝", "＋", "－", "＠")

# Control, format (among them the marks that turn text right to left), surrogates, line separators.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def bin_word(bin_: KeyedName, lang: str) -> str:
    """What a line of the station calls a bin: its key, in Chinese its name."""
    return bin_.name_zh if lang == Lang.ZH else bin_.key


def escape(text: str) -> str:
    """`text` as one printable line: `\\n`, `\\x1b`, `\\u202e`; a backslash is doubled.

    A byte that is not UTF-8 (a surrogate, as `os.fsdecode` gives it) becomes `\\xNN`. `unescape`
    takes it back exactly.
    """
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(_escape_one(character) for character in text)


def one_line(text: str, *, limit: int = 0) -> str:
    """A message as one printable line. Backslashes stay: names in it may be escaped already.

    Longer ones are cut at `limit` characters, if any.
    """
    if not text.isprintable():
        text = "".join(c if c == "\\" else _escape_one(c) for c in text)
    return text[:limit] if limit else text


def first_line(error: BaseException, *, limit: int = 200) -> str:
    """What a library's error says first, its kind where it says nothing; cut at `limit`."""
    return (_lines(error) or [type(error).__name__])[0][:limit]


def last_line(error: BaseException, *, limit: int = 200) -> str:
    """The last line of a library's error, where the cause stands after a traceback."""
    return (_lines(error) or [type(error).__name__])[-1][:limit]


def cell(text: str) -> str:
    """`text` as one harmless cell of a CSV; `uncell` takes it back.

    A cell that a spreadsheet would run as a formula gets an apostrophe in front; so does one that
    begins with an apostrophe, which makes the rule reversible.

    >>> cell("=1+1")
    "'=1+1"
    """
    safe = escape(text)
    return "'" + safe if safe.startswith(_FORMULA) else safe


def uncell(text: str) -> str:
    """The text that `cell` was given."""
    return unescape(text.removeprefix("'"))


def csv_row(cells: Iterable[str]) -> str:
    """One line of a CSV, with its newline. Text of others goes through `cell` before."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()


def columns(text: str) -> int:
    """How many columns of a terminal `text` takes: a Chinese character takes two.

    >>> columns("metal"), columns("金属")
    (5, 4)
    """
    return len(text) + sum(unicodedata.east_asian_width(c) in "WF" for c in text)


def pad(text: str, width: int) -> str:
    """`text`, with spaces up to `width` columns."""
    return text + " " * (width - columns(text))


def unescape(text: str) -> str:
    """The text that `escape` was given."""
    return _ESCAPE.sub(_unescape_one, text) if "\\" in text else text


def _lines(error: BaseException) -> list[str]:
    return [line for line in map(str.strip, str(error).splitlines()) if line]


def _escape_one(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    if unicodedata.category(character) not in _HIDDEN:
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _unescape_one(match: re.Match[str]) -> str:
    byte, short, long, letter = match.groups()
    if byte:
        code = int(byte, 16)
        return chr(code if code < 0x80 else 0xDC00 + code)
    if short or long:
        return chr(int(short or long, 16))
    return _LONG.get(letter, letter)
