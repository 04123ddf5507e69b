"""`sorter bench`: this machine's speed against its own limit."""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Annotated

import typer

from sorter.cli.options import AsJson, Jobs, ModelFolder, Precision, PrecisionName
from sorter.demo.pictures import bundled
from sorter.text import counted


def bench(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATH]...", help="Pictures to use.", show_default="drawn ones"),
    ] = None,
    model: ModelFolder = None,
    precision: PrecisionName = Precision.INT8,
    count: Annotated[int, typer.Option(min=1, help="Drawn pictures.")] = 1000,
    side: Annotated[int, typer.Option(min=32, max=6000, help="Their side in pixels.")] = 300,
    jobs: Jobs = None,
    as_json: AsJson = False,
) -> None:
    """Measure decoding alone, inference alone and both together, and the share of the limit.

    The limit is cores ÷ (decode + inference of one picture alone on one core). The outside share is
    of the same with libjpeg-turbo's scaled decoder and a plain INT8 MobileNetV2 instead of ours.

    Example: sorter bench --count 200 --side 3464 --json
    """
    from sorter.vision import images
    from sorter.vision.bench import machine, measure
    from sorter.vision.bundle import default_bundle, open_bundle

    bundle = open_bundle(model or default_bundle())
    with ExitStack() as stack:
        if paths:
            found = list(images.find(paths))
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sorter-bench-"))
            found = _samples(Path(folder), count, side)
        speed = measure(found, bundle, precision=precision.value, jobs=jobs)
    if as_json:
        document = {**asdict(speed), "precision": precision.value, **machine()}
        typer.echo(json.dumps(document))
        return
    for name, value in machine().items():
        typer.echo(f"{name}: {value}")
    typer.echo(
        f"{counted(speed.pictures, 'picture')}, {counted(speed.cores, 'core')}, {precision.value}\n"
        f"decode alone    {speed.decode_s * 1000:8.2f} ms\n"
        f"inference alone {speed.infer_s * 1000:8.2f} ms\n"
        f"limit           {speed.limit_per_s:8.1f} a second\n"
        f"together        {speed.rate_per_s:8.1f} a second\n"
        f"share           {speed.share:8.1%}"
    )
    if speed.outside_share is not None:
        typer.echo(f"outside share   {speed.outside_share:8.1%}")


def _samples(folder: Path, count: int, side: int) -> list[Path]:
    """`count` files of `side` pixels made of the bundled pictures.

    A large one is tiled of them, not enlarged: decoding takes as long as there is detail.
    """
    from PIL import Image

    kinds = []
    for shot in bundled()[:6]:
        tile = Image.open(BytesIO(shot.data)).convert("RGB")
        whole = tile.resize((side, side)) if side <= tile.width else Image.new("RGB", (side, side))
        if side > tile.width:
            for x, y in product(range(0, side, tile.width), range(0, side, tile.height)):
                whole.paste(tile, (x, y))
        stream = BytesIO()
        whole.save(stream, "JPEG", quality=90)
        kinds.append(stream.getvalue())
    paths = []
    for number in range(count):
        path = folder / f"{number:06d}.jpg"
        path.write_bytes(kinds[number % len(kinds)])
        paths.append(path)
    return paths
