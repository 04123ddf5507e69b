"""Every duration of the host's half, in one value, so that a test can compress them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds, and counts of tries. `doubt_limit_s` bounds how long a command may stay unknown."""

    boot_wait_s: float = 3.0
    hello_every_s: float = 0.5
    hello_for_s: float = 10.0
    beat_every_s: float = 1.0
    beats_lost: int = 5
    ack_first_s: float = 0.2
    ack_longest_s: float = 1.0
    tries: int = 5
    move_budget_s: float = 3.0
    move_slack_s: float = 1.0
    doubt_limit_s: float = 30.0
    backoff_first_s: float = 0.2
    backoff_longest_s: float = 2.0
    blocked_s: float = 0.9
