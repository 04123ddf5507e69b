"""`python -m train`: the `train` command by itself, for `torchrun --nproc-per-node N -m train`."""

from __future__ import annotations

import sys

import typer

from sorter.cli import exits
from sorter.cli.train import train

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command("train")(train)


def main() -> None:
    """Run the command; exit codes are those of `sorter.errors`."""
    sys.exit(exits.run(app, "python -m train"))
