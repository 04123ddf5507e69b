"""What was said of which picture, one JSON line per answer, kept in DATA.

Owns the file `.review.jsonl` and the lock on it. It is how a restart goes on where one was and
how an answer is taken back; training does not read it.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from sorter.audit import WRONG, Audit
from sorter.errors import FolderError

NAME = ".review.jsonl"


@dataclass(frozen=True, slots=True)
class Labelling:
    """One answer: `do` is label, skip or undo (of the last answer of the same folder).

    `folder`, `name`, `size` and `mtime_ns` say which file was shown; `code` and `file` (relative
    to DATA) what became of it. `file` is empty where DATA already had the picture. `verdict` is
    right or wrong, by its bin, for a picture that the station sorted and a person judged blindly.
    """

    do: str
    sha256: str
    folder: str
    name: str
    size: int
    mtime_ns: int
    code: str = ""
    file: str = ""
    verdict: str = ""


class ReviewLog:
    """The log of one DATA, open and locked. Raises FolderError, also where another has it."""

    def __init__(self, root: Path, *, wall: Callable[[], float] = time.time) -> None:
        self.path = root / NAME
        self._wall = wall
        try:
            self._stream = self.path.open("a+b")
        except OSError as error:
            raise FolderError(
                f"{self.path}: cannot be written: {error.strerror}; choose another --into"
            ) from error
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._stream.seek(0)
            text = self._stream.read()
            if text and not text.endswith(b"\n"):
                self._stream.write(b"\n")  # cut short by a power cut: the next line stays whole
        except OSError as error:
            self._stream.close()
            raise FolderError(
                f"{root}: another sorter review is filing into it, or it cannot be locked "
                f"({error.strerror}); end that one, or choose another --into"
            ) from error
        self.answers = [a for a in map(_parse, text.splitlines()) if a is not None]

    def append(self, answer: Labelling) -> None:
        """Add an answer, durable on return. Raises FolderError."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._wall()))
        line = json.dumps({"at": moment, **asdict(answer)})
        try:
            self._stream.write(line.encode("ascii") + b"\n")
            self._stream.flush()
            os.fsync(self._stream.fileno())
        except (OSError, ValueError) as error:  # ValueError: closed, an answer in the last instant
            reason = getattr(error, "strerror", None) or error
            raise FolderError(f"{self.path}: cannot be written: {reason}") from error
        self.answers.append(answer)

    def close(self) -> None:
        """Let go of the lock."""
        with suppress(OSError):
            self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_audit(root: Path) -> Audit:
    """What was found among the *sorted* pictures that were judged into `root`, each content once.

    Raises FolderError where there is no log.
    """
    file = root / NAME
    if not file.is_file():
        raise FolderError(f"{file}: is not there; name the --into of sorter review")
    found = list(read_verdicts(root).values())
    return Audit(len(found), found.count(WRONG))


def read_verdicts(root: Path) -> dict[str, str]:
    """Right or wrong, by SHA-256, of the audited pictures that were judged into `root`.

    Nothing where there is no log. Raises FolderError where it cannot be read.
    """
    file = root / NAME
    try:
        lines = file.read_bytes().splitlines()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise FolderError(
            f"{file}: cannot be read: {error.strerror}; name the --into of sorter review"
        ) from error
    verdicts: dict[str, str] = {}
    for answer in filter(None, map(_parse, lines)):
        if answer.verdict:
            if answer.do == "undo":
                verdicts.pop(answer.sha256, None)
            else:
                verdicts[answer.sha256] = answer.verdict
    return verdicts


def _parse(line: bytes) -> Labelling | None:
    """A line that is not an answer is passed over: the pictures themselves are the truth."""
    try:
        row: Any = json.loads(line)
        fields = {n: row[n] for n in Labelling.__dataclass_fields__ if n != "verdict"}
        fields["verdict"] = row.get("verdict", "")
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    whole = all(isinstance(fields[n], int) for n in ("size", "mtime_ns"))
    texts = all(isinstance(v, str) for n, v in fields.items() if n not in ("size", "mtime_ns"))
    return (
        Labelling(**fields)
        if whole and texts and fields["do"] in ("label", "skip", "undo")
        else None
    )
