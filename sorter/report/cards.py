"""What a contact sheet says of each picture: outcomes of a batch, mistakes of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sorter.domain import Category, Outcome, Reason, Status, Taxonomy
from sorter.report import words
from sorter.report.html import Card, ContactSheet
from sorter.text import named


@dataclass(frozen=True, slots=True)
class Mistake:
    """A picture whose label is wrong: the `truth`, None for none of the classes, and the answer.

    `confidence` is what the decision was made by. `unsure`: nothing would have moved for it. `by`
    names the engine that made the mistake, where several were asked.
    """

    path: Path
    truth: Category | None
    called: Category
    confidence: float
    unsure: bool = False
    by: str = ""


class OutcomeSheet(ContactSheet):
    """Outcomes by bin, unsure and errors first; in each section the least sure come first."""

    def __init__(
        self,
        path: Path,
        taxonomy: Taxonomy,
        thresholds: Sequence[float] | None = None,
        *,
        lang: str = "en",
    ) -> None:
        """`thresholds` by bin, in the taxonomy's order, are shown beside scores below them."""
        say = words.of(lang)
        self._say, self._named = say, partial(named, lang=lang)
        given = zip(taxonomy.bins, thresholds or (), strict=thresholds is not None)
        self._thresholds = {b.key: threshold for b, threshold in given}
        self._place = {b.key: 2 + i for i, b in enumerate(taxonomy.bins)}
        sections = [say["unsure"], say["errors"], *(named(b, lang) for b in taxonomy.bins)]
        super().__init__(path, title=say["outcomes"], sections=sections, lang=lang)

    def show(self, outcome: Outcome, thumbnail: bytes = b"", *, linked: bool = True) -> None:
        """Put one outcome where it belongs."""
        decision = outcome.decision
        if decision is None:
            title = self._say["error"]
            self.add(Card(outcome.path, 1, title, outcome.error, linked=linked))
            return
        section, detail = self._place[decision.bin.key], ""
        if outcome.status is Status.UNSURE:
            section, detail = 0, self._named(decision.bin)
            if decision.reason:
                detail += f", {self._say[decision.reason]}"
            threshold = self._thresholds.get(decision.bin.key)
            if decision.reason is Reason.LOW_CONFIDENCE and threshold is not None:
                detail += f" < {threshold:.0%}"
        self.add(
            Card(
                outcome.path,
                section,
                self._named(decision.label),
                detail,
                confidence=decision.bin_confidence,
                rank=decision.bin_confidence,
                thumbnail=thumbnail,
                linked=linked,
            )
        )


class MistakeSheet(ContactSheet):
    """Mistakes by what they cost; in each section the surest come first."""

    _SECTIONS = ("wrong bin", "unknown sorted", "left unsure", "wrong label", "errors")

    def __init__(self, path: Path, *, title: str = "", lang: str = "en") -> None:
        say = words.of(lang)
        self._say, self._named = say, partial(named, lang=lang)
        sections = [say[name] for name in self._SECTIONS]
        super().__init__(path, title=title or say["mistakes"], sections=sections, lang=lang)

    def show(self, mistake: Mistake, thumbnail: bytes) -> None:
        """Put one mistake where it belongs."""
        truth, called = mistake.truth, mistake.called
        if mistake.unsure:
            section = "left unsure"
        elif truth is None:
            section = "unknown sorted"
        else:
            section = "wrong bin" if truth.bin != called.bin else "wrong label"
        is_ = self._say["unknown"] if truth is None else self._named(truth)
        self.add(
            Card(
                mistake.path,
                self._SECTIONS.index(section),
                f"{is_} → {self._named(called)}",
                mistake.by,
                confidence=mistake.confidence,
                rank=-mistake.confidence,
                thumbnail=thumbnail,
            )
        )

    def show_error(self, path: Path, why: str) -> None:
        """Put a picture that could not be judged where it belongs."""
        section = self._SECTIONS.index("errors")
        self.add(Card(path, section, self._say["error"], why))
