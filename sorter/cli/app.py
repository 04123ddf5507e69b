"""The `sorter` command: assembles the groups; `boundary` runs them.

Owns the list of commands only; each lives in the module named after it and imports what is heavy
inside the function, so that `--help` stays quick.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from sorter import __version__
from sorter.cli import actuator, exits, service, simulate
from sorter.cli.bench import bench
from sorter.cli.bundle import change_map
from sorter.cli.classify import classify
from sorter.cli.data import check
from sorter.cli.demo import demo
from sorter.cli.doctor import doctor
from sorter.cli.evaluate import evaluate
from sorter.cli.report import report
from sorter.cli.review import review
from sorter.cli.status import export as export_journal
from sorter.cli.status import status
from sorter.cli.teach import teach
from sorter.cli.train import export, train
from sorter.cli.watch import watch

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


def _group(name: str, about: str, **commands: Callable[..., None]) -> None:
    group = typer.Typer(help=about, no_args_is_help=True)
    for word, command in commands.items():
        group.command(word)(command)
    # A group of one command needs a callback, or typer would fold it into its parent.
    group.callback(help=about)(lambda: None)
    app.add_typer(group, name=name)


for _command in (
    *(classify, watch, status, report, train, export),
    *(evaluate, demo, doctor, bench, review, teach),
):
    app.command()(_command)
_group("journal", "The station's journal.", export=export_journal)
_group(
    "actuator",
    "Talk to the diverter, simulate one, or write its firmware.",
    ping=actuator.ping,
    cycle=actuator.cycle,
    home=actuator.home,
    clear=actuator.clear_fault,
    monitor=actuator.monitor,
    simulate=simulate.simulate,
    firmware=simulate.firmware,
)
_group("data", "Look at labelled data.", check=check)
_group(
    "service",
    "The station as a systemd service: write its files, or remove them.",
    install=service.install,
    uninstall=service.uninstall,
)
_group("bundle", "Models as folders.", map=change_map)


def main() -> None:
    """Run the command line; exit codes are those of `sorter.errors` (130 when interrupted)."""
    sys.exit(exits.run(app, "sorter"))


if __name__ == "__main__":
    main()
