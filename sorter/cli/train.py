"""`sorter train` and `sorter export`: parse, hand over to the `train` extra, print its figures.

The options that are settings of a training come from `train.config.Config`, where each is declared
once; here they become a `Config`. Nothing here needs torch until a training begins.
"""

from __future__ import annotations

import functools
import inspect
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from sorter.domain import Prediction
from sorter.errors import ImageError, MissingExtraError
from sorter.text import counted


def _take_own_train() -> None:
    """The package `train` is the one beside this `sorter`, whatever lies in the current folder."""
    home = Path(__file__).resolve().parents[2]
    spec = PathFinder.find_spec("train", [str(home)])
    if "train" not in sys.modules and spec is not None and spec.loader is not None:
        sys.modules["train"] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules["train"])


_take_own_train()

from train.config import Setting, make_config, settings  # noqa: E402, TID251  # no torch in it


def _with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """`command(**settings)` with an option for each setting that has one, None where not given."""

    @functools.wraps(command)
    def with_given(**words: Any) -> None:
        command(**{k: v for k, v in words.items() if v is not None or k not in settings()})

    options = [
        inspect.Parameter(
            setting.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[setting.kind | None, _option(setting)],
        )
        for setting in settings().values()
        if setting.option
    ]
    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    with_given.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
    return with_given


def _option(setting: Setting) -> Any:
    choices = "|".join(setting.choices)
    return typer.Option(
        setting.option,
        metavar=choices or None,
        help=f"{setting.meaning}  [default: {setting.default_text}]",
        show_default=False,
    )


def _list_settings(wanted: bool) -> None:
    if not wanted:
        return
    group = ""
    for setting in settings().values():
        if setting.group != group:
            group = setting.group
            typer.echo(f"{group}:")
        choices = f" ({', '.join(setting.choices)})" if setting.choices else ""
        name = f"{setting.name}={setting.default_text}"
        typer.echo(f"  {name:<28} {setting.meaning}{choices}")
    raise typer.Exit


@_with_settings
def train(
    data: Annotated[
        Path,
        typer.Argument(help="Labelled folders: DATA/{train,val,test}/<class>/ or DATA/<class>/."),
    ],
    *,
    extra: Annotated[
        list[Path] | None,
        typer.Option(help="More: DIR/<source>/<class>/ or DIR/<class>/."),
    ] = None,
    final_extra: Annotated[
        list[Path] | None, typer.Option(help="Like --extra, but never in --folds.")
    ] = None,
    unknown: Annotated[
        list[Path] | None,
        typer.Option(help="Pictures of none of the classes: DIR/<source>/."),
    ] = None,
    groups: Annotated[
        Path | None, typer.Option(help="CSV path,group: one photograph, one group.")
    ] = None,
    taxonomy: Annotated[
        Path | None, typer.Option(help="Other classes and bins, a TOML file.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The run's folder.")] = Path("run"),
    cache: Annotated[
        Path | None,
        typer.Option(help="Decoded pictures and features.", show_default="the user's cache"),
    ] = None,
    oof: Annotated[
        Path | None, typer.Option(help="Calibrate from an earlier run's oof.npz.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    preset: Annotated[
        str, typer.Option(help="release, or the source paper's own: paper.")
    ] = "release",
    more: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any setting that --settings lists."),
    ] = None,
    _list: Annotated[
        bool,
        typer.Option(
            "--settings", callback=_list_settings, is_eager=True, help="List all settings and exit."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    **given: Any,
) -> None:
    """Train on labelled folders and release a bundle that every command runs.

    Example: sorter train pictures --extra more --unknown unknown --groups groups.csv --folds 5
    """
    from sorter.taxonomy import default_taxonomy, read_taxonomy

    config = make_config({**given, **_read_settings(more or [])}, preset=preset)
    _need_torch()
    from train.data.corpus import Sources, default_cache  # noqa: TID251
    from train.judge.figures import document  # noqa: TID251
    from train.run import Paths, run  # noqa: TID251
    from train.run_folder import finite  # noqa: TID251

    sources = Sources(
        data, tuple(extra or ()), tuple(final_extra or ()), tuple(unknown or ()), groups
    )
    figures = run(
        Paths(sources, out, cache or default_cache(), oof),
        read_taxonomy(taxonomy) if taxonomy else default_taxonomy(),
        config,
        resume=resume,
    )
    if figures is None:  # another process of the same run speaks
        return
    _print(finite(document(figures)), as_json=as_json)
    if not as_json:
        typer.echo(
            f"next: sorter evaluate {data} --model {out / 'bundle'} --html mistakes.html\n"
            f"      sorter watch DIR --serial PORT --model {out / 'bundle'}",
            err=True,
        )


def export(
    checkpoint: Annotated[Path, typer.Argument(help="checkpoint.pt of a bundle, or a run folder.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Pictures to measure on. [default: the run's own]"),
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
        Path | None, typer.Option(metavar="F", help="Write the network as ONNX.")
    ] = None,
    int8: Annotated[bool, typer.Option("--int8/--no-int8", help="Write INT8 too.")] = True,
    max_drop: Annotated[float, typer.Option(help="Points INT8 may lose.")] = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Convert a checkpoint to OpenVINO, FP16 and INT8, and measure both against it; or to ONNX.

    Example: sorter export run/bundle/checkpoint.pt --data pictures --out weights/mine
    """
    _need_torch()
    from train.judge.figures import conversion_document  # noqa: TID251
    from train.release.again import export_again, export_onnx  # noqa: TID251

    figures: dict[str, Any] = {}
    if out is not None or onnx is None:
        place = out or Path("bundle")
        conversion = export_again(checkpoint, data, place, int8=int8, max_drop=max_drop)
        figures |= conversion_document(conversion)
    if onnx is not None:
        figures |= {"onnx": str(onnx), "onnx_max_delta": export_onnx(checkpoint, onnx)}
    _print({"conversion": figures}, as_json=as_json)


def torch_predictions(checkpoint: Path, pictures: Sequence[Path]) -> list[Prediction | ImageError]:
    """What a bundle's checkpoint says, for `sorter evaluate`; MissingExtraError without torch."""
    _need_torch()
    from train.release.again import predict_again  # noqa: TID251

    return predict_again(checkpoint, pictures)


def _read_settings(pairs: Sequence[str]) -> dict[str, str]:
    result = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint="--set")
        result[name.strip().replace("-", "_")] = value
    return result


def _need_torch() -> None:
    """Raise MissingExtraError, which says how to install the `train` extra, where it is not."""
    try:
        import torch  # noqa: F401, TID251  # asked for by name, so that only its absence is told
    except ImportError as error:
        raise MissingExtraError(
            "training needs torch, which is not installed: pip install 'sorter[train]'"
        ) from error


def _print(result: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False))
        return
    for name, part in result.items():
        if isinstance(part, dict) and "label_accuracy" in part:
            typer.echo(
                f"{name}: label {part['label_accuracy']:.2%}, bin {part['bin_accuracy']:.2%}, "
                f"{counted(part['n'], 'picture')}"
            )
    for name, value in result.get("conversion", {}).items():
        typer.echo(f"{name}: {value if isinstance(value, str) else round(value, 5)}")
