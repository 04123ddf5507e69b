"""How much of what is known to leak `sorter data check` finds.

    sorter data check DIR/garbage_26x100 --groups-out found.csv
    python -m tests.soak.leaks --data DIR --found found.csv

Both files group pictures by photograph; `DIR/groups.csv` is the truth. A validation picture leaks
where its group has a picture in train. Judges alone; comparing pictures is the command's part.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from sorter.dataset.layout import read_groups


def leaked(file: Path) -> set[str]:
    """The validation pictures, by real path, that share a group with one in train."""
    group = {os.path.realpath(file.parent / path): name for path, name in read_groups(file).items()}
    trained = {name for path, name in group.items() if Path(path).parts[-3] == "train"}
    return {p for p, name in group.items() if Path(p).parts[-3] == "val" and name in trained}


def main(
    data: Annotated[Path, typer.Option(help="The pictures by others.")],
    found: Annotated[Path, typer.Option(help="What data check wrote.")],
) -> None:
    """Print how many known leaks were found, and how many of those named are known."""
    truth, named = leaked(data / "groups.csv"), leaked(found)
    both = len(truth & named)
    shares = {"recall": both / max(1, len(truth)), "precision": both / max(1, len(named))}
    typer.echo(json.dumps({"known": len(truth), "named": len(named), "both": both, **shares}))


if __name__ == "__main__":
    typer.run(main)
