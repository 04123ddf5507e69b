"""The openvino package, imported without what running a network does not need, and its one Core.

Owns both. Must not know of networks or bundles.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

_CONVERTER = "openvino.tools.ovc"
_LOCK = threading.Lock()
_cores: list[Any] = []


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


def core() -> Any:
    """The process's only `openvino.Core`, kept to its end; it may be used from several threads.

    The CPU plugin gives the thread that opens it a stack for signals, and at its end puts back the
    one it found. Two plugins that end in the order they began leave a stack that is freed, and the
    next signal, such as the SIGTERM of a service that took new weights, ends the process with a
    segmentation fault (openvino 2026.4, measured).
    """
    openvino = load()
    with _LOCK:
        if not _cores:
            _cores.append(openvino.Core())
        return _cores[0]


def _import() -> Any:
    import openvino

    return openvino
