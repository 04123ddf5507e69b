"""`python -m train.drawn DIR`: a labelled folder of drawn pictures, and what goes with them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sorter.text import counted


def main(
    folder: Annotated[Path, typer.Argument(help="Where to write <code>/NNN.jpg.")],
    per_class: Annotated[int, typer.Option(help="Pictures a class.", min=1)] = 20,
    seed: Annotated[int, typer.Option(help="Same seed, same pictures.", min=0)] = 0,
    classes: Annotated[str, typer.Option(help="Class codes, separated by commas.")] = "",
    empty: Annotated[
        Path | None, typer.Option(help="Also draw surfaces with nothing on them, for --unknown.")
    ] = None,
    taxonomy: Annotated[
        Path | None, typer.Option(help="Also write the classes that are drawn, as TOML.")
    ] = None,
) -> None:
    """Draw pictures of the items that sorter ships drawings of."""
    from train.drawn.objects import OBJECTS
    from train.drawn.render import write_empty, write_folder, write_taxonomy

    codes = classes.split(",") if classes else list(OBJECTS)
    unknown = [code for code in codes if code not in OBJECTS]
    if unknown:
        raise typer.BadParameter(
            f"no drawing of {', '.join(unknown)}; there are {', '.join(OBJECTS)}"
        )
    count = write_folder(folder, per_class=per_class, seed=seed, codes=codes)
    if empty is not None:
        count += write_empty(empty, count=per_class, seed=seed)
    if taxonomy is not None:
        write_taxonomy(taxonomy, codes)
    typer.echo(counted(count, "picture"), err=True)


if __name__ == "__main__":
    typer.run(main)
