"""`sorter demo`: a whole station at work, on nothing but this installation.

Parses, wires `sorter.demo` and prints.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from sorter.cli.options import LangName, ModelFolder
from sorter.text import Lang


def demo(
    seconds: Annotated[float, typer.Option(min=1.0, help="Longest time that it may take.")] = 30.0,
    model: ModelFolder = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder; default: the pictures that ship.")
    ] = None,
    lang: LangName = Lang.EN,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object at the end, and no screen.")
    ] = False,
) -> None:
    """Show a station at work: bundled pictures, a real folder, a simulated diverter.

    Nothing has to be plugged in and nothing is left behind. One picture is sent twice and one is
    cut in half, to show what becomes of them. Ends by itself; Ctrl-C ends it early. Exit code 1
    where the records and the diverter's own log do not agree.

    Example: sorter demo --seconds 20
    """
    import logging

    from rich.console import Console

    from sorter.demo.pictures import bundled, of_folder, with_trouble
    from sorter.demo.stage import play
    from sorter.display.demo_screen import closing, open_screen
    from sorter.vision.model import open_model

    # The station's log belongs to a service; here it would tear the screen.
    logging.getLogger("sorter").addHandler(logging.NullHandler())
    shots = with_trouble(bundled() if pictures is None else of_folder(pictures))
    opened = open_model(model)
    # With --json, stdout belongs to the machine that reads it.
    console = Console(stderr=as_json, quiet=as_json)
    with open_screen(console, total=len(shots), lang=lang) as show:
        proof = play(opened, shots, seconds=seconds, tell=show)
    if as_json:
        answer = {
            "pictures": proof.delivered,
            "records": {state.value: count for state, count in sorted(proof.states.items())},
            "moves": len(proof.moved),
            "agree": proof.honest,
        }
        typer.echo(json.dumps(answer))
    else:
        typer.echo(closing(proof))
    if not proof.honest:
        raise typer.Exit(1)
