"""The station at work on a terminal: redrawn a few times a second by a thread of its own.

Owns that thread and what it shows. The loop only hands over values: a terminal that is halted
(Ctrl-S) or gone holds the drawing, never an item.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable

from rich.console import Console
from rich.live import Live

from sorter.display.dashboard import Board, Head, ItemLine, draw
from sorter.domain import Record
from sorter.text import bin_word, counted, named

REDRAW_S = 0.25
ITEMS = 200
LOG_LINES = 50
MINUTE_S = 60.0
CLOSE_S = 2.0
"""How long the end waits for a terminal that takes nothing."""


class StationScreen:
    """A sink of the loop and a context manager. `head` gives the top of the screen as it is now.

    The terminal comes back as it was, or the last drawing `stays` on it.
    """

    def __init__(
        self, console: Console, *, lang: str, head: Callable[[], Head], stays: bool = False
    ) -> None:
        self._console, self._lang, self._head, self._stays = console, lang, head, stays
        self._lock = threading.Lock()
        # Lines, not records: a record holds its picture's bytes.
        self._lines: deque[ItemLine] = deque(maxlen=ITEMS)
        self._ages: deque[tuple[float, float]] = deque(maxlen=ITEMS)
        self._counts: Counter[tuple[str, str]] = Counter()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="screen", daemon=True)
        self.log = _Pane()

    def __enter__(self) -> StationScreen:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(CLOSE_S)

    def __call__(self, record: Record) -> None:
        """One more record."""
        with self._lock:
            self._lines.appendleft(self._line(record))
            self._ages.append((time.monotonic(), record.age_s))
            self._counts[self._bin(record), record.state.value] += 1

    def closing(self) -> str:
        """What was done, in one line."""
        with self._lock:
            states: Counter[str] = Counter()
            for (_, state), count in self._counts.items():
                states[state] += count
        parts = [f"{count} {state}" for state, count in sorted(states.items())]
        return f"stopped after {counted(states.total(), 'record')}" + (
            f": {', '.join(parts)}" if parts else ""
        )

    def _run(self) -> None:
        # A terminal that was closed: the station goes on without it.
        live = Live(
            console=self._console,
            screen=not self._stays,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        with contextlib.suppress(OSError), live:
            ended = False
            while not ended:
                ended = self._ending.wait(REDRAW_S)
                width, height = self._console.size
                live.update(draw(self._board(), width=width, height=height - 1), refresh=True)

    def _board(self) -> Board:
        head = self._head()
        with self._lock:
            items, ages, counts = list(self._lines), list(self._ages), dict(self._counts)
        return Board(
            facts=[*head.facts, ("pace", _pace(ages))],
            problems=head.problems,
            counts=counts,
            items=items,
            log=self.log.lines(),
        )

    def _line(self, record: Record) -> ItemLine:
        decision = record.decision
        label = decision.label if decision else None
        return ItemLine(
            n=record.n,
            time=time.strftime("%H:%M:%SZ", time.gmtime(record.picture.arrived_at + record.age_s)),
            state=record.state.value,
            bin=self._bin(record),
            label="" if label is None else named(label, self._lang),
            sure=decision.bin_confidence if decision else None,
            name=record.picture.path.name,
            reason=record.reason,
        )

    def _bin(self, record: Record) -> str:
        return bin_word(record.bin, self._lang) if record.bin is not None else ""


def _pace(ages: list[tuple[float, float]]) -> str:
    """How many records in the last minute, and how old their pictures were by then."""
    recent = sorted(age_s for at, age_s in ages if at > time.monotonic() - MINUTE_S)
    more = "at least " if len(recent) == ITEMS else ""
    text = f"{more}{counted(len(recent), 'record')} in the last minute"
    if recent:
        middle = recent[len(recent) // 2]
        text += f"; from picture to record {middle:.2f} s, at most {recent[-1]:.2f} s"
    return text


class _Pane(logging.Handler):
    """Keeps the newest log lines for the screen."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[str] = deque(maxlen=LOG_LINES)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record).partition("\n")[0])

    def lines(self) -> list[str]:
        """Oldest first."""
        with self.lock or contextlib.nullcontext():
            return list(self._lines)
