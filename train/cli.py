"""`python -m train`: the `train` command by itself, for `torchrun --nproc-per-node N -m train`."""

from __future__ import annotations

import sys

import typer

from sorter.cli.train import train
from sorter.errors import SorterError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command("train")(train)


def main() -> None:
    """Run the command; exit codes are those of `sorter.errors`."""
    try:
        app(prog_name="python -m train")
    except SorterError as error:
        typer.echo(f"sorter: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("sorter: interrupted", err=True)
        sys.exit(130)
