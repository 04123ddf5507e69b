"""The words everyone speaks: frozen values that pass between the rooms of sorter.

Owns vocabulary only. Imports the standard library and nothing else; no behaviour beyond what a
value can answer about itself.
"""

from __future__ import annotations

import os
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
    RISK = "risk"
    EMPTY = "empty"
    UNKNOWN_OBJECT = "unknown_object"


@dataclass(frozen=True, slots=True)
class Bin:
    """One compartment of the machine.

    `number` is the position on the wire, 1-based; `code` is the two digits of the data set.
    `risk` is what one of its items costs in another bin, beside 1 for any other mistake: a matter
    of policy, so two bins that differ in it alone are equal.
    """

    key: str
    number: int
    code: str
    name: str
    name_zh: str
    risk: float = field(default=1.0, compare=False)


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

    `probabilities` holds one calibrated probability per class, in the model's class order, summing
    to 1. `unknown` is the out-of-distribution score in [0, 1]: higher is less like any class.
    `empty` in [0, 1] is how much it looks like the site's empty tray, 0 where no site taught one.
    """

    probabilities: tuple[float, ...]
    unknown: float = 0.0
    empty: float = 0.0


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
    is decode plus this picture's share of inference.
    """

    path: Path
    status: Status
    decision: Decision | None = None
    width_px: int = 0
    height_px: int = 0
    elapsed_ms: float = 0.0
    error: str = ""


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


@dataclass(frozen=True, slots=True)
class Identity:
    """What changes when a file's bytes do: inode, size in bytes, mtime and ctime in nanoseconds.

    The ctime sees a tool that puts the old mtime back. The device is left out, because its number
    changes from one mount to the next.
    """

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Identity:
        """The identity that a stat gives."""
        return cls(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def bytes_key(self) -> int:
        """A number that stays when the file is renamed, linked or gets another owner or mode."""
        return hash((self.inode, self.size, self.mtime_ns))

    def key(self, name: str) -> int:
        """A number for this identity under `name`: 100,000 pictures cost megabytes, not tens."""
        return hash((name, self.inode, self.size, self.mtime_ns, self.ctime_ns))


@dataclass(frozen=True, slots=True)
class Picture:
    """A settled file and its bytes.

    `arrived` is when the file became whole, on the monotonic clock, `arrived_at` the same moment
    in Unix time. `backlog` says it was there before the station. `final` says that it has been
    unchanged so long that, if it is broken, it stays broken; where `unreadable` says why its bytes
    cannot be had, `data` and `sha256` are empty and it is final too.
    """

    path: Path
    data: bytes
    sha256: str
    identity: Identity
    arrived: float
    arrived_at: float
    backlog: bool = False
    final: bool = False
    unreadable: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One picture's story as far as it is known: it grows on its way through the station.

    `n` is its number in the journal, 0 before it has one. `bin` is where it goes, None where that
    is not decided or nothing moves. `boot` names the start of the device that its command was
    meant for, `model` the weights that judged it. `age_s` is from arrival to the terminal record.
    """

    picture: Picture
    state: ItemState = ItemState.ARRIVED
    n: int = 0
    decision: Decision | None = None
    bin: Bin | None = None
    reason: str = ""
    boot: str = ""
    model: str = ""
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Count:
    """Ended records of one period that agree in all of this: `items` of them.

    `start` is the Unix time at which it began; `why` is "sorted", a `Reason`, or "" where nothing
    was decided. Bins are keys, "" for none; `bin_moved` is where the items really went. `audited`
    is "", "waiting", "right" or "wrong". `score` is the sum of their bins' confidence.
    """

    start: int
    station: str
    model: str
    state: str
    why: str
    bin_decided: str
    bin_moved: str
    audited: str
    items: int
    score: float


@dataclass(frozen=True, slots=True)
class Counted:
    """What a journal counts since some hour. `counts` are in the order of time.

    `classes` holds (code, label, items) of the sorted, most first; `moves` (milliseconds, items),
    quickest first, in steps of 10 ms.
    """

    counts: tuple[Count, ...] = ()
    classes: tuple[tuple[str, str, int], ...] = ()
    moves: tuple[tuple[int, int], ...] = ()


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

    `bin_thresholds` holds one score per bin in the taxonomy's bin order, each in [0, 1];
    `unknown_threshold` is the out-of-distribution score above which a picture is `unsure`, and
    `empty_threshold` the score above which it is an empty tray; 1, above every score: never.
    """

    bin_thresholds: tuple[float, ...]
    unknown_threshold: float = 1.0
    empty_threshold: float = 1.0
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

        >>> from sorter.taxonomy import default_taxonomy
        >>> default_taxonomy().find("易拉罐").name
        'Cans'
        """
        folded = _folded(word)
        for c in self.categories:
            if folded in (_folded(c.code), _folded(c.name), _folded(c.name_zh)):
                return c
        return None


def _folded(word: str) -> str:
    return unicodedata.normalize("NFC", word).strip().casefold()
