"""The `sorter` command: assembles the groups; `boundary` runs them.

Owns the list of commands only; each lives in the module named after it and imports what is heavy
inside the function, so that `--help` stays quick.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from sorter import __version__
from sorter.cli import (
    actuator,
    bench,
    bundle,
    classify,
    data,
    demo,
    doctor,
    evaluate,
    exits,
    report,
    review,
    service,
    status,
    teach,
    train,
    watch,
)

app = typer.Typer(
    name="sorter",
    help="Sort waste by camera: classify pictures, map them to bins, drive a diverter.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sorter {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Options that stand before the command."""


for module in (
    classify,
    watch,
    status,
    report,
    actuator,
    train,
    evaluate,
    data,
    demo,
    doctor,
    bench,
    service,
    review,
    teach,
    bundle,
):
    module.register(app)


def main() -> None:
    """Run the command line; exit codes are those of `sorter.errors` (130 when interrupted)."""
    sys.exit(exits.run(app, "sorter"))


if __name__ == "__main__":
    main()
