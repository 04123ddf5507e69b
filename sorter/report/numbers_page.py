"""A station's numbers as one HTML page: charts as inline SVG, light and dark, no script.

Owns the drawing. Shapes are drawn in a box that the screen stretches; every word stands beside it
as text, so that it stays readable on a telephone. What the numbers are is `numbers`' business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from sorter.domain import ItemState, Reason
from sorter.files import begins, open_report
from sorter.report import words
from sorter.report.html import asset, digest, markup
from sorter.report.numbers import DOUBTS, ENOUGH, SORTED, By, Numbers, Period

COLOURS = 6
"""Bins beyond so many begin with the first colour again."""

LONGEST_TABLE = 800
"""Periods in the table; the charts show all of them."""

_TITLE = (
    '<!doctype html>\n<html lang="{}">\n<head>\n<meta name="generator" content="sorter report">\n'
)
_OURS = tuple(_TITLE.format(lang).encode() for lang in ("en", "zh-CN"))

BinName = Callable[[str], str]
ClassName = Callable[[str], str]


def write_page(
    path: Path, found: Numbers, *, lang: str, bin_name: BinName, class_name: ClassName
) -> None:
    """Write the page whole. Raises UsageError and FolderError as `open_report`."""
    with open_report(path, option="--html", ours=begins(*_OURS)) as out:
        out.write(page(found, lang=lang, bin_name=bin_name, class_name=class_name))


def page(found: Numbers, *, lang: str, bin_name: BinName, class_name: ClassName) -> str:
    """The page as text."""
    say = words.of_numbers(lang)
    style = asset("numbers.css")
    policy = f"default-src 'none'; img-src data:; style-src '{digest(style)}'"
    head = (
        _TITLE.format(say["lang"]) + '<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{markup(say["title"])}</title>\n<link rel="icon" href="data:,">\n'
        f"<style>{style}</style>\n</head>\n<body>\n<header>\n<h1>{markup(say['title'])}</h1>\n"
    )
    if not found.periods:
        return f"{head}<p>{markup(say['nothing'])}</p>\n</header>\n</body>\n</html>\n"
    names = [say["of"].format(name) for name in found.stations]
    names += [say["weights"].format(digest) for digest in found.weights]
    span = say["span"].format(*(when(p, found.by) for p in (found.periods[0], found.periods[-1])))
    act = " act" if found.time_to_teach else ""
    return (
        f'{head}<p class="soft">{markup("; ".join((span, *names)))}</p>\n'
        f'<p class="verdict{act}">{markup(sentence(found, lang))}</p>\n</header>\n<main>\n'
        f"{_bins(found, say, bin_name)}{_unsure(found, say)}{_facts(found, say)}"
        f"{_classes(found, say, class_name)}{_moves(found, say)}{_table(found, say, bin_name)}"
        "</main>\n</body>\n</html>\n"
    )


def sentence(found: Numbers, lang: str) -> str:
    """What the trend means, and whether it is time to teach."""
    total, first, last = found.total, found.first, found.last
    return words.of_numbers(lang)[found.verdict.value].format(
        judged=total.judged,
        enough=ENOUGH,
        unsure=total.unsure or 0.0,
        mean=total.mean_score or 0.0,
        release=found.release.unsure or 0.0,
        release_mean=found.release.mean_score or 0.0,
        now=last.unsure or 0.0,
        before=first.unsure or 0.0,
        now_mean=last.mean_score or 0.0,
        before_mean=first.mean_score or 0.0,
    )


def when(period: Period, by: By) -> str:
    """The beginning of a period, as short as it can be told."""
    assert isinstance(period.start, datetime)
    return period.start.strftime("%Y-%m-%d %H:%M" if by is By.HOUR else "%Y-%m-%d")


def _bins(found: Numbers, say: dict[str, str], bin_name: BinName) -> str:
    moves = found.total.moved.total() > 0
    counts = [period.moved if moves else period.decided for period in found.periods]
    total = found.total.moved if moves else found.total.decided
    highest = max(1, *(c.total() for c in counts))
    bars = []
    for x, (period, count) in enumerate(zip(found.periods, counts, strict=True)):
        top, told = 0.0, []
        for place, key in enumerate(found.bins):
            if n := count[key]:
                height = n / highest * 100
                bars.append(
                    f'<rect class="f{place % COLOURS}" x="{x + 0.1:g}" width="0.8" '
                    f'y="{100 - top - height:.2f}" height="{height:.2f}"/>'
                )
                top += height
                told.append(f"{bin_name(key)} {n:,}")
        tip = markup(f"{when(period, found.by)}: {', '.join(told) or 0}")
        bars.append(
            f'<rect x="{x}" width="1" y="0" height="100" opacity="0"><title>{tip}</title></rect>'
        )
    legend = "".join(
        f'<li><i class="f{place % COLOURS}"></i>{markup(bin_name(key))} '
        f"<b>{total[key]:,}</b></li>\n"
        for place, key in enumerate(found.bins)
    )
    title = say["moved" if moves else "decided"]
    return _chart(title, bars, found, f"{highest:,}", more=f"<ul>\n{legend}</ul>\n", wide=True)


def _unsure(found: Numbers, say: dict[str, str]) -> str:
    shares = [period.unsure for period in found.periods]
    shapes = _line(shares)
    more = f'<p class="soft">{found.total.unsure or 0.0:.0%}'
    if found.release.unsure is not None:
        y = 100 - found.release.unsure * 100
        shapes.append(f'<line class="l1" x1="0" x2="{len(shares)}" y1="{y:.2f}" y2="{y:.2f}"/>')
        more += f"; {markup(say['release'].format(found.release.unsure))}"
    return _chart(say["unsure"], shapes, found, "100%", more=f"{more}</p>\n")


def _line(values: Sequence[float | None]) -> list[str]:
    """Parts of a line through shares in [0, 1], broken where there is none; one alone is a dash."""
    parts: list[list[tuple[float, float]]] = [[]]
    for x, value in enumerate(values):
        if value is None:
            parts.append([])
        else:
            parts[-1].append((x + 0.5, 100 - value * 100))
    lines = []
    for part in filter(None, parts):
        points = (
            part
            if len(part) > 1
            else [(part[0][0] - 0.4, part[0][1]), (part[0][0] + 0.4, part[0][1])]
        )
        text = " ".join(f"{x:g},{y:.2f}" for x, y in points)
        lines.append(f'<polyline class="l0" points="{text}"/>')
    return lines


def _facts(found: Numbers, say: dict[str, str]) -> str:
    total = found.total
    judged = total.right + total.wrong
    audit = (
        say["audited"].format(wrong=total.wrong, judged=judged) if judged else say["not audited"]
    )
    mean = "–" if total.mean_score is None else f"{total.mean_score:.2f}"
    lost = (ItemState.FAILED, ItemState.UNCERTAIN, ItemState.EXPIRED, ItemState.UNSURE_HELD)
    rows = [
        (say["items"], f"{total.items:,}"),
        (say["sorted"], f"{total.why[SORTED]:,}"),
        *((say[reason.value], f"{total.why[reason]:,}") for reason in DOUBTS),
        (say["score"], mean),
        (say["audit"], audit),
    ]
    apart = [
        *((say[r.value], f"{total.why[r]:,}") for r in (Reason.EMPTY, Reason.UNKNOWN_OBJECT)),
        *(
            (say[s.value], f"{total.states[s]:,}")
            for s in (ItemState.REJECTED, ItemState.DUPLICATE)
        ),
    ]
    return (
        _section(say["decisions"], _list(rows))
        + _section(say["apart"], _list(apart))
        + _section(say["lost"], _list([(say[s.value], f"{total.states[s]:,}") for s in lost]))
    )


def _classes(found: Numbers, say: dict[str, str], class_name: ClassName) -> str:
    rows = [(class_name(label), f"{n:,}") for _, label, n in found.classes]
    return _section(say["classes"], _list(rows)) if rows else ""


def _moves(found: Numbers, say: dict[str, str]) -> str:
    if found.moves_s is None:
        return ""
    return _section(say["moves"], f"<p>{markup(say['quick'].format(*found.moves_s))}</p>\n")


def _table(found: Numbers, say: dict[str, str], bin_name: BinName) -> str:
    moves = found.total.moved.total() > 0
    reasons = (Reason.UNKNOWN_OBJECT, Reason.EMPTY)
    states = (ItemState.FAILED, ItemState.EXPIRED)
    heads = [say[found.by.value], *map(bin_name, found.bins), say["share"]]
    heads += [say[r.value] for r in reasons] + [say[s.value] for s in states]
    rows = []
    for period in reversed(found.periods[-LONGEST_TABLE:]):
        count = period.moved if moves else period.decided
        share = "–" if period.unsure is None else f"{period.unsure:.0%}"
        cells = [when(period, found.by), *(f"{count[key]:,}" for key in found.bins), share]
        cells += [f"{period.why[r]:,}" for r in reasons]
        cells += [f"{period.states[s]:,}" for s in states]
        rows.append("".join(f"<td>{markup(cell)}</td>" for cell in cells))
    head = "".join(f'<th scope="col">{markup(name)}</th>' for name in heads)
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    inside = (
        f'<div class="scroll" tabindex="0"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>\n"
    )
    return _section(say["table"], inside, wide=True)


def _chart(
    title: str,
    shapes: Sequence[str],
    found: Numbers,
    top: str,
    *,
    more: str = "",
    wide: bool = False,
) -> str:
    """Shapes in a box as wide as there are periods and 100 high; `top` is what its height means."""
    ends = [when(found.periods[0], found.by), when(found.periods[-1], found.by)]
    under = "".join(f"<span>{end}</span>" for end in dict.fromkeys(ends))
    inside = (
        f'<div class="ends"><span>{markup(top)}</span></div>\n'
        f'<svg role="img" aria-label="{markup(title)}" viewBox="0 0 {len(found.periods)} 100" '
        f'preserveAspectRatio="none">\n{"".join(shapes)}\n</svg>\n'
        f'<div class="ends">{under}</div>\n{more}'
    )
    return _section(title, inside, wide=wide)


def _section(title: str, inside: str, *, wide: bool = False) -> str:
    kind = ' class="wide"' if wide else ""
    return f"<section{kind}>\n<h2>{markup(title)}</h2>\n{inside}</section>\n"


def _list(rows: Sequence[tuple[str, str]]) -> str:
    lines = "".join(f"<dt>{markup(name)}</dt><dd>{markup(value)}</dd>\n" for name, value in rows)
    return f"<dl>\n{lines}</dl>\n"
