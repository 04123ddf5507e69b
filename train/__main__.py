"""`python -m train`: the `train` command by itself, for `torchrun --nproc-per-node N -m train`."""

import sys

import typer

from sorter.cli import exits
from sorter.cli.train import train

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command("train")(train)

if __name__ == "__main__":
    sys.exit(exits.run(app, "python -m train"))
