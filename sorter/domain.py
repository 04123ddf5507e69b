"""The words everyone speaks: frozen values that pass between the rooms of sorter.

Owns vocabulary only. Imports the standard library and nothing else; no behaviour beyond what a
value can answer about itself.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class Status(StrEnum):
    """What became of one picture in a batch."""

    SORTED = "sorted"
    UNSURE = "unsure"
    ERROR = "error"


class Reason(StrEnum):
    """Why a decision is `unsure`; `NONE` for a sorted one."""

    NONE = ""
    LOW_CONFIDENCE = "low_confidence"
    UNKNOWN_OBJECT = "unknown_object"


@dataclass(frozen=True, slots=True)
class Bin:
    """One compartment of the machine.

    `number` is the position on the wire, 1-based; `code` is the two digits of the data set.
    """

    key: str
    number: int
    code: str
    name: str
    name_zh: str


@dataclass(frozen=True, slots=True)
class Category:
    """One kind of waste, a class of the classifier; `bin` is the key of its `Bin`.

    Files call them `items`: a taxonomy's TOML, a bundle's `rt_info`.
    """

    code: str
    name: str
    name_zh: str
    bin: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says of one picture.

    `probabilities` holds one calibrated probability a class, in the model's class order, summing
    to 1. `unknown` is the out-of-distribution score in [0, 1]: higher is less like any class.
    """

    probabilities: tuple[float, ...]
    unknown: float = 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with one item.

    `label` is the likeliest class inside the likeliest bin and `confidence` its probability;
    `bin_confidence` is the summed probability of the bin's classes. `top` lists the likeliest
    classes over all bins, best first, with their probabilities.
    """

    status: Status
    label: Category
    confidence: float
    bin: Bin
    bin_confidence: float
    reason: Reason = Reason.NONE
    unknown: float = 0.0
    top: tuple[tuple[Category, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row of a batch: exactly one for every path that looked like a picture.

    `decision` is None exactly when `status` is ERROR, and `error` then says why in one line.
    `width_px` and `height_px` are the upright picture's, 0 if it could not be opened. `elapsed_ms`
    is decode plus this picture's share of inference. `thumbnail` is a small upright JPEG, where a
    report asked for one and the picture could be opened.
    """

    path: Path
    status: Status
    decision: Decision | None = None
    width_px: int = 0
    height_px: int = 0
    elapsed_ms: float = 0.0
    error: str = ""
    thumbnail: bytes = field(default=b"", repr=False)


class ItemState(StrEnum):
    """Where an item stands in the station's journal. All but the first three are terminal."""

    ARRIVED = "ARRIVED"
    DECIDED = "DECIDED"
    SENT = "SENT"
    DONE = "DONE"
    FAILED = "FAILED"
    UNSURE_HELD = "UNSURE_HELD"
    UNCERTAIN = "UNCERTAIN"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"
    DUPLICATE = "DUPLICATE"

    @property
    def is_terminal(self) -> bool:
        """True where nothing may happen to the item any more."""
        return self not in (ItemState.ARRIVED, ItemState.DECIDED, ItemState.SENT)


class Delivery(StrEnum):
    """How a movement ended, as far as the host can know.

    NOT_SENT: no byte of the command can have reached the device (offline, stale, refused before
    the write). REFUSED: the device answered that it did not and will not move for this number.
    """

    DONE = "done"
    FAILED = "failed"
    UNCERTAIN = "uncertain"
    NOT_SENT = "not_sent"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Movement:
    """The result of asking the actuator to move: how it ended, why, and the device's boot id."""

    delivery: Delivery
    detail: str = ""
    boot: str = ""
    device_ms: int | None = None


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """The link as an operator would want it described: may it move, and if not, why not."""

    ready: bool
    state: str
    detail: str = ""
    boot: str = ""
    device: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """How probabilities become a decision; thresholds belong to a released bundle.

    `bin_thresholds` holds one score a bin in the taxonomy's bin order, each in [0, 1];
    `unknown_threshold` is the out-of-distribution score above which a picture is `unsure`.
    """

    bin_thresholds: tuple[float, ...]
    unknown_threshold: float = 1.0
    top: int = 3


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """Classes in the model's order, bins in the wire's order, and the map between them."""

    name: str
    categories: tuple[Category, ...]
    bins: tuple[Bin, ...]
    _by_key: dict[str, Bin] = field(init=False, repr=False, compare=False, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_key", {b.key: b for b in self.bins})

    def bin(self, key: str) -> Bin:
        """The bin called `key`; KeyError if the taxonomy has none."""
        return self._by_key[key]

    def bin_of(self, category: Category) -> Bin:
        """The bin that `category` goes to."""
        return self._by_key[category.bin]

    def bin_indices(self) -> Sequence[int]:
        """For each class, the 0-based position of its bin in `bins`."""
        position = {b.key: i for i, b in enumerate(self.bins)}
        return tuple(position[c.bin] for c in self.categories)

    def find(self, word: str) -> Category | None:
        """The category whose code, English or Chinese name is `word`, if any.

        Neither case counts nor the form of accents: a Mac writes a folder's name decomposed.
        """
        folded = _folded(word)
        for c in self.categories:
            if folded in (_folded(c.code), _folded(c.name), _folded(c.name_zh)):
                return c
        return None


def _folded(word: str) -> str:
    return unicodedata.normalize("NFC", word).strip().casefold()
