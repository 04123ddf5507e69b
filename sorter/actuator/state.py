"""The states of a connection, in the words that operators see."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where the connection stands; only READY may move."""

    CLOSED = "closed"
    WAITING = "waiting"
    GREETING = "greeting"
    READY = "ready"
    FAULT = "fault"
