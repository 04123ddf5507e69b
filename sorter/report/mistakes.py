"""What `evaluate` found wrong: as rows of a CSV file, and as a contact sheet.

Owns both files. Judges nothing: which label is wrong comes from `decide`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sorter.domain import Category, Decision, Prediction, Status

if TYPE_CHECKING:
    from sorter.dataset.layout import Sample
    from sorter.vision.bundle import Bundle


@dataclass(frozen=True, slots=True)
class Wrong:
    """One precision's wrong answer; `truth` is None for a picture of none of the classes."""

    precision: str
    path: Path
    truth: Category | None
    decision: Decision


def find_wrong(
    precision: str, answers: Sequence[tuple[Sample, Prediction]], bundle: Bundle
) -> list[Wrong]:
    """Wrong labels, and pictures of no class that would be sorted; surest first."""
    from sorter.vision.decide import decide

    found = []
    for sample, prediction in answers:
        decision = decide(prediction, bundle.taxonomy, bundle.policy)
        truth = bundle.taxonomy.categories[sample.index] if sample.index >= 0 else None
        if truth is None:
            wrong = decision.status is Status.SORTED
        else:
            wrong = decision.label.code != truth.code
        if wrong:
            found.append(Wrong(precision, sample.path, truth, decision))
    return sorted(found, key=lambda w: -w.decision.bin_confidence)


def write_csv(file: Path, wrong: Sequence[Wrong]) -> None:
    """A row for every wrong label. Raises FolderError."""
    import csv

    from sorter.files import begins, open_report
    from sorter.text import cell

    ours = begins(b"precision,path,truth,")
    with open_report(file, option="--mistakes", ours=ours) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(
            ("precision", "path", "truth", "called", "truth_bin", "bin", "status", "confidence")
        )
        for w in wrong:
            if w.truth is None:
                continue
            d = w.decision
            cells = [w.precision, str(w.path), w.truth.name, d.label.name, w.truth.bin]
            cells += [d.bin.key, d.status.value, f"{d.bin_confidence:.4f}"]
            writer.writerow([cell(text) for text in cells])


def write_sheet(
    file: Path, wrong: Sequence[Wrong], broken: Mapping[Path, str], bundle: Bundle, *, lang: str
) -> None:
    """A page of them and of what could not be opened. Raises FolderError.

    Precisions that give a picture the same label share a card, which shows the surest answer.
    """
    from sorter.report.cards import Mistake, MistakeSheet
    from sorter.vision import thumbnail

    asked = {w.precision for w in wrong}
    groups: dict[tuple[Path, str], list[Wrong]] = {}
    for w in wrong:
        groups.setdefault((w.path, w.decision.label.code), []).append(w)
    with MistakeSheet(file, lang=lang) as sheet:
        for path, why in sorted(broken.items()):
            sheet.show_error(path, why)
        for same in groups.values():
            # What any of them would have moved for is worse than what all left unsure.
            worst = max(
                same, key=lambda w: (w.decision.status is Status.SORTED, w.decision.bin_confidence)
            )
            mistake = Mistake(
                worst.path,
                worst.truth,
                worst.decision.label,
                worst.decision.bin_confidence,
                unsure=worst.decision.status is not Status.SORTED,
                by=", ".join(w.precision for w in same) if len(asked) > 1 else "",
            )
            # Only mistakes are drawn, so they are opened again: at a fraction of their size.
            sheet.show(mistake, thumbnail.of_file(worst.path, bundle.size_px))
