"""Which sorted items a person looks at again, and what the answers prove of a site.

Owns the choice, by content alone, and the bound. Pure; the standard library and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

CONFIDENCE = 0.95
"""Of a bound: how often it holds."""


AUDITED = "audited"
"""The reason in the journal of a *sorted* item that a person is shown again."""

_WORDS: Mapping[str, tuple[str, str]] = {
    "en": ("nothing audited yet", "{} wrong of {} audited, at most {:.1%} ({:.0%})"),
    "zh": ("尚未抽查", "分错桶 {} 件，共抽查 {} 件，至多 {:.1%}（{:.0%}）"),
}

WAITING, RIGHT, WRONG = "waiting", "right", "wrong"
"""What the journal holds of such an item: nobody judged it yet; its bin was right; it was not."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What a person found among a site's *sorted* items: `wrong` of `judged` in a wrong bin."""

    judged: int = 0
    wrong: int = 0

    @property
    def bound(self) -> float:
        """The site's wrong-bin rate is at most this, with `CONFIDENCE`."""
        return upper_bound(self.wrong, self.judged)

    def told(self, lang: str = "en") -> str:
        """What was found, and what it proves, in "en" or "zh"."""
        nothing, found = _WORDS[lang]
        if not self.judged:
            return nothing
        return found.format(self.wrong, self.judged, self.bound, CONFIDENCE)


def is_audited(sha256: str, one_in: int) -> bool:
    """Whether a sorted picture is among the one in `one_in` that a person is shown; 0: none.

    By content, so that a picture is chosen or not wherever and whenever it is seen, and nothing
    that the model says of it has a say.
    """
    return one_in > 0 and int(sha256[:16], 16) % one_in == 0


def upper_bound(wrong: int, judged: int, *, confidence: float = CONFIDENCE) -> float:
    """The one-sided Clopper–Pearson bound: a larger rate gives so few with 1 − confidence or less.

    1 where nothing was judged.
    """
    if not 0 <= wrong <= judged:
        raise ValueError(f"{wrong} wrong of {judged}")
    if wrong == judged:
        return 1.0
    low, high = wrong / judged, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _at_most(wrong, judged, middle) > 1.0 - confidence:
            low = middle
        else:
            high = middle
    return high


def lower_bound(wrong: int, judged: int, *, confidence: float = CONFIDENCE) -> float:
    """The same from below: a smaller rate gives so many with 1 − confidence or less."""
    return 1.0 - upper_bound(judged - wrong, judged, confidence=confidence) if judged else 0.0


def _at_most(wrong: int, judged: int, rate: float) -> float:
    """The chance of `wrong` or fewer of `judged` at `rate`: the binomial's lower tail."""
    if rate <= 0.0 or rate >= 1.0:
        return 1.0 if rate <= 0.0 or wrong >= judged else 0.0
    term = judged * math.log1p(-rate)
    terms = [term]
    odds = math.log(rate) - math.log1p(-rate)
    for count in range(wrong):
        term += math.log(judged - count) - math.log(count + 1) + odds
        terms.append(term)
    top = max(terms)
    return min(1.0, math.exp(top) * math.fsum(math.exp(t - top) for t in terms))
