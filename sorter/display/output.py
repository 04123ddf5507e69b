"""Where a station's words go: a screen, lines for journald, or JSON; and its log.

Owns the choice. What is said belongs to `watch_screen` and to the sink `console`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TextIO

from sorter.station.sinks.console import Console
from sorter.station.sinks.nonblocking import NonblockingWriter
from sorter.text import counted

if TYPE_CHECKING:
    from sorter.station.health.status import StationStatus
    from sorter.station.interfaces import Sink


@contextlib.contextmanager
def shown(
    *, lang: str, as_json: bool, status: Callable[[], StationStatus | None]
) -> Iterator[Sink]:
    """The sink that shows records: a live screen on a terminal, otherwise a line each on stdout."""
    if as_json or not has_screen():
        yield Console(sys.stdout, lang=lang, as_json=as_json)
        return
    import rich.console

    from sorter.display.dashboard import Head
    from sorter.display.watch_screen import StationScreen

    def head() -> Head:
        now = status()
        if now is None:
            return Head([("station", "starting")])
        link = f"{now.link} {now.link_detail}".strip() if now.link_wanted else now.link
        facts = [
            ("station", f"watching {now.folder} ({now.mode}); Ctrl-C stops"),
            ("link", link),
            ("weights", now.model[:12]),
            ("waiting", counted(now.pending, "picture")),
        ]
        return Head(facts, now.problems())

    # A stream of its own: what a lost terminal does not take must not wait in stdout's buffer.
    with _own_stdout() as stream:
        screen = StationScreen(rich.console.Console(file=stream), lang=lang, head=head)
        with _logging_into(screen.log) if sys.stderr.isatty() else contextlib.nullcontext(), screen:
            yield screen
    NonblockingWriter(sys.stdout).write(screen.closing() + "\n")


def log_to_stderr() -> None:
    """Log lines on stderr: with a level for journald, with the time for a person."""
    under_systemd = "JOURNAL_STREAM" in os.environ
    form = "%(levelname)s %(message)s" if under_systemd else "%(asctime)s %(levelname)s %(message)s"
    handler = logging.StreamHandler(NonblockingWriter(sys.stderr))
    handler.setFormatter(logging.Formatter(form))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("watchdog").setLevel(logging.WARNING)


def has_screen() -> bool:
    """True where stdout is a terminal that can be redrawn."""
    if not sys.stdout.isatty():
        return False
    import rich.console

    return not rich.console.Console().is_dumb_terminal


@contextlib.contextmanager
def _own_stdout() -> Iterator[TextIO]:
    stream = open(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")  # noqa: PTH123, SIM115
    try:
        yield stream
    finally:
        with contextlib.suppress(OSError):
            stream.close()


@contextlib.contextmanager
def _logging_into(pane: logging.Handler) -> Iterator[None]:
    """While the screen is up, the log is on it: a line beside would tear it."""
    root = logging.getLogger()
    before, root.handlers = root.handlers, [pane]
    try:
        yield
    finally:
        root.handlers = before
