"""A site's thresholds: raised where what a person audited there proves them too low; never lowered.

Owns the rule. Pure: decisions and answers in, a policy out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sorter.audit import Audit, lower_bound
from sorter.domain import Bin, Decision, Policy, Status, Taxonomy

PROMISED = 0.01
"""Of what is sorted, at most so much is to be in a wrong bin: what a release promises of pictures
like its own."""
MOST = 0.9999


@dataclass(frozen=True, slots=True)
class Raised:
    """One bin's threshold before and after, and what was found of the sorted items in it."""

    bin: Bin
    before: float
    after: float
    audit: Audit


def raise_thresholds(
    policy: Policy,
    decisions: Sequence[Decision],
    truths: Sequence[str],
    taxonomy: Taxonomy,
) -> tuple[Policy, tuple[Raised, ...]]:
    """`policy` with higher thresholds where it must be, and which those are.

    `decisions` are of audited items, by a head that was taught without them; `truths` the keys of
    the bins that they belong in, "" for none. A bin's threshold rises where more is wrong than
    `PROMISED`, surely (Clopper and Pearson's lower bound, 95 %), to the lowest score above which
    that is not shown any more. One picture alone shows nothing.
    """
    thresholds = list(policy.bin_thresholds)
    raised = []
    for place, bin_ in enumerate(taxonomy.bins):
        mine = sorted(
            (
                (decision.bin_confidence, decision.bin.key != truth)
                for decision, truth in zip(decisions, truths, strict=True)
                if decision.bin == bin_ and decision.status is Status.SORTED
            ),
        )
        audit = Audit(len(mine), sum(wrong for _, wrong in mine))
        above, bad = audit.judged, audit.wrong
        before = after = thresholds[place]
        for score, wrong in mine:
            if lower_bound(bad, above) <= PROMISED:
                break
            above, bad = above - 1, bad - wrong
            after = min(max(after, score + 1e-6), MOST)
        if after > before:
            thresholds[place] = after
            raised.append(Raised(bin_, before, after, audit))
    return replace(policy, bin_thresholds=tuple(thresholds)), tuple(raised)
