"""The openvino package, imported without what running a network does not need.

Owns that one import. Must not know of networks or bundles.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

_CONVERTER = "openvino.tools.ovc"
_LOCK = threading.Lock()


def load() -> Any:
    """The `openvino` module.

    Its `__init__` also tries to import the model converter, which brings a command line and a
    telemetry client along: 0.12 s of every start, on a box that only runs networks. It goes on
    without where that import fails, as it does for None in `sys.modules`. Who converts imports
    `openvino.tools.ovc` by name, which works afterwards.
    """
    with _LOCK:
        if "openvino" not in sys.modules and _CONVERTER not in sys.modules:
            # The type says a module; None is what the import system documents for "not there".
            sys.modules[_CONVERTER] = None  # type: ignore[assignment]
            try:
                return _import()
            finally:
                del sys.modules[_CONVERTER]
        return _import()


def _import() -> Any:
    import openvino

    return openvino
