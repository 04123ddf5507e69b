"""New weights beside the old ones: notice, load, test, offer.

Owns one thread. Never touches the model in use; the loop takes a new one between two items. What
a model is and how it is opened comes in as functions.
"""

from __future__ import annotations

import logging
import math
import struct
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sorter.domain import Taxonomy
from sorter.errors import ModelError, SorterError
from sorter.files import signature
from sorter.host.wakeup import Wakeup
from sorter.station.health.metrics import Metrics
from sorter.station.health.systemd import Notifier, Watchdog
from sorter.station.interfaces import Model

log = logging.getLogger(__name__)

LOOK_S = 2.0
"""Between two looks at the bundle's files."""

MODEL = "model"
MODEL_LIMIT_S = 600.0
"""Loading new weights on a small board beside a busy loop."""


def self_test(model: Model) -> None:
    """One real inference on a picture made here. Raises ModelError where the answer is absurd."""
    prediction = model.predict(test_picture())
    total = math.fsum(prediction.probabilities)
    count = len(model.taxonomy.categories)
    if len(prediction.probabilities) != count:
        raise ModelError(
            f"the model gives {len(prediction.probabilities)} probabilities for {count} classes"
        )
    if not (math.isfinite(total) and abs(total - 1.0) < 0.01) or min(prediction.probabilities) < 0:
        raise ModelError(f"the model's probabilities add up to {total:.3f}, not 1")
    model.decide([prediction])


def test_picture(side_px: int = 64) -> bytes:
    """A grey ramp as PNG, `side_px` square."""
    row = bytes(v for x in range(side_px) for v in [x * 255 // side_px] * 3)

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", side_px, side_px, 8, 2, 0, 0, 0)
    pixels = zlib.compress((b"\0" + row) * side_px)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


@dataclass(frozen=True, slots=True)
class Weights:
    """Where a model's weights lie, and how to open them anew. `open` raises SorterError."""

    folder: Path
    open: Callable[[], Model]

    def signature(self) -> tuple[object, ...]:
        """What changes when a file of the folder does; empty where there is none to see."""
        return signature(file for file in self.folder.glob("*") if file.is_file())


def may_follow(new: Taxonomy, old: Taxonomy) -> bool:
    """Whether a station may go from one to the other: the gate's bins stay, and so does every
    class that both have. Records name classes by word, so that a class more or less harms none."""
    common = min(len(new.categories), len(old.categories))
    same = new.categories[:common] == old.categories[:common]
    return same and new.bins == old.bins and new.name == old.name


class Reloader:
    """Offers a new model whenever the bundle was replaced or `request` was called.

    `current` is the model in use at start; a new one must have the same bins and classes, but that
    classes may be added at the end (`sorter teach --new-class`) or be gone from there again.
    """

    def __init__(
        self,
        weights: Weights,
        current: Model,
        *,
        wakeup: Wakeup,
        voice: Notifier,
        meter: Metrics,
        watchdog: Watchdog,
        look_s: float = LOOK_S,
    ) -> None:
        self._weights = weights
        self._taxonomy: Taxonomy = current.taxonomy
        self._digest = current.digest
        self._wakeup, self._voice, self._meter = wakeup, voice, meter
        self._look_s = look_s
        self._watchdog = watchdog
        self._wake = Wakeup()
        self._asked = False
        self._ending = False
        self._tried = weights.signature()
        self._offer: Model | None = None
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self.refused = ""

    def start(self) -> None:
        """Begin to look."""
        self._watchdog.register(MODEL, MODEL_LIMIT_S)
        self._thread.start()

    def request(self) -> None:
        """Try the bundle now, changed or not. Safe in a signal handler."""
        self._asked = True
        self._wake.wake()

    def take(self) -> Model | None:
        """The new model, once, if there is one."""
        offer, self._offer = self._offer, None
        return offer

    def close(self) -> None:
        """End the thread; waits for a load under way."""
        self._ending = True
        self._wake.wake()
        if self._thread.ident is not None:
            self._thread.join()
            self._watchdog.retire(MODEL)
        self._wake.close()

    def _run(self) -> None:
        seen = self._tried
        while not self._ending:
            self._watchdog.beat(MODEL)
            self._wake.wait(self._look_s)
            asked, self._asked = self._asked, False
            now = self._weights.signature()
            # Twice the same and not tried yet: whoever copies it in has finished.
            settled = bool(now) and now == seen and now != self._tried
            seen = now
            if self._ending or not (asked or settled):
                continue
            self._tried = now
            if asked:
                self._voice.reloading()
            self._try()
            if asked:
                self._voice.ready()

    def _try(self) -> None:
        try:
            model = self._weights.open()
            if not may_follow(model.taxonomy, self._taxonomy):
                raise ModelError("other classes or bins than the running station's; restart it")
            self_test(model)
        except SorterError as error:
            self._refuse(str(error))
            return
        except Exception as error:
            # Damaged weights fail in ways of the library's own; the old ones go on, whatever.
            self._refuse(f"{type(error).__name__}: {error}")
            return
        self.refused = ""
        if model.digest == self._digest:
            log.info("weights %s offered again: nothing to change", model.digest[:12])
            return
        self._digest, self._taxonomy = model.digest, model.taxonomy
        self._meter.count("sorter_model_swaps_total", result="accepted")
        self._offer = model
        self._wakeup.wake()

    def _refuse(self, why: str) -> None:
        self.refused = why
        self._meter.count("sorter_model_swaps_total", result="refused")
        self._meter.count("sorter_faults_total", part="model")
        log.error("new weights refused, the old ones stay: %s", why)
