"""A progress line on stderr, with rate and time to go; only ever shown on a terminal.

Counts what there is to do beside the work, on its own thread, so that no work waits for a count.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from sorter.errors import SorterError


class Progress:
    """A context manager. `count` gives the total; it may take its time and may never end."""

    def __init__(self, count: Callable[[], int]) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            ProgressColumn,
            Task,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bar
        from rich.text import Text

        class Rate(ProgressColumn):
            """Pictures a second, over the last while."""

            def render(self, task: Task) -> Text:
                speed = task.finished_speed or task.speed
                return Text(f"{speed:.0f}/s" if speed else "")

        self._bar = Bar(
            TextColumn("classifying"),
            BarColumn(),
            MofNCompleteColumn(),
            Rate(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            refresh_per_second=5,
        )
        self._task = self._bar.add_task("", total=None)
        self._thread = threading.Thread(
            target=self._count, args=(count,), name="sorter-count", daemon=True
        )

    def advance(self) -> None:
        """One more is done."""
        self._bar.advance(self._task)

    def __enter__(self) -> Progress:
        self._bar.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _count(self, count: Callable[[], int]) -> None:
        # What cannot be listed is told by the work, which lists it too.
        with contextlib.suppress(SorterError, OSError):
            self._bar.update(self._task, total=count())
