"""Options that several commands offer, each declared once; those of one command stand there."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sorter.text import Lang


class Precision(StrEnum):
    """Which of a bundle's networks to run."""

    INT8 = "int8"
    FP16 = "fp16"


ModelFolder = Annotated[
    Path | None,
    typer.Option(
        "--model",
        metavar="DIR",
        envvar="SORTER_MODEL",
        help="Model folder.",
        show_default="the one that ships",
    ),
]
PrecisionName = Annotated[
    Precision, typer.Option("--precision", help="Which network of the model to run.")
]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", min=1, max=1024, help="Threads.", show_default="the usable cores"),
]
LangName = Annotated[Lang, typer.Option("--lang", help="Language of class and bin names.")]
AsJson = Annotated[bool, typer.Option("--json", help="A JSON object on stdout.")]
