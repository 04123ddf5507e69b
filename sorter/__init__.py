"""sorter: classify pictures of waste, map them to bins, drive a diverter over serial.

The names below are all that a program may count on; they are imported when first asked for, so
that the command line does not wait for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sorter.api import Decision, Outcome, classify, load

__version__ = "0.1.0"
__all__ = ["Decision", "Outcome", "classify", "load"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from sorter import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
