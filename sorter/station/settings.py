"""The station's policy as one value.

Owns the choices an operator may make; checks them, does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from sorter.audit import is_audited
from sorter.domain import Bin, Decision, Reason, Status, Taxonomy
from sorter.errors import UsageError

HOLD = "hold"
"""The reject route that moves nothing."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Durations in seconds.

    Routes are a bin's key or "hold": `unsure` for all that is unsure, but an empty tray, which has
    its own, and those of `unknown_object` and `low_confidence` where they are not "".
    `expect_every_s` is how long the camera may be silent, 0 for ever.
    Of the *sorted* items one in `audit`, by content, is kept for a person to judge; 0: none.
    `settle_s` is how long a picture must lie still, `max_age_s` how long after its arrival it may
    move. `act_on_backlog` lets pictures found at start move the gate; `keep_s` is how long terminal
    records stay in the journal.
    """

    settle_s: float = 0.3
    max_age_s: float = 5.0
    burst_s: float = 0.0
    unsure: str = "residual"
    empty: str = HOLD
    unknown_object: str = ""
    low_confidence: str = ""
    act_on_backlog: bool = False
    expect_every_s: float = 0.0
    keep_s: float = 365 * 86_400.0
    audit: int = 0

    def check(self, taxonomy: Taxonomy) -> None:
        """Raise UsageError for a policy that cannot work with these bins."""
        if not self.max_age_s > 0:  # NaN is not
            raise UsageError(f"--max-age {self.max_age_s:g}: give seconds above 0")
        if not 0 <= self.burst_s < self.max_age_s:
            raise UsageError(
                f"--burst {self.burst_s:g}: give seconds from 0 to below --max-age, "
                f"{self.max_age_s:g}"
            )
        if not self.expect_every_s >= 0:
            raise UsageError(f"--expect-every {self.expect_every_s:g}: give seconds, 0 for never")
        keys = [b.key for b in taxonomy.bins]
        for option, place in (
            ("--unsure", self.unsure),
            ("--empty", self.empty),
            ("--unknown-object", self.unknown_object or self.unsure),
            ("--low-confidence", self.low_confidence or self.unsure),
        ):
            if place != HOLD and place not in keys:
                raise UsageError(
                    f"{option} {place}: is no bin of this model; choose {HOLD} or one of "
                    f"{', '.join(keys)}"
                )

    def audits(self, sha256: str, decision: Decision) -> bool:
        """Whether this item is one that a person looks at again."""
        return decision.status is Status.SORTED and is_audited(sha256, self.audit)

    def route(self, decision: Decision, taxonomy: Taxonomy) -> Bin | None:
        """The bin an item goes to; None where it is held."""
        if decision.status is Status.SORTED:
            return decision.bin
        own = {
            Reason.EMPTY: self.empty,
            Reason.UNKNOWN_OBJECT: self.unknown_object,
            Reason.LOW_CONFIDENCE: self.low_confidence,
            Reason.RISK: self.low_confidence,  # a doubt as well, and the one that matters most
        }
        place = own.get(decision.reason, "") or self.unsure
        return None if place == HOLD else taxonomy.bin(place)
