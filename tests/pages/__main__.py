"""`python -m tests.pages`: the README's pictures, taken of the commands at work.

Owns nothing but the three files beside it. The pictures shown are those that ship with sorter, so
that nothing of anybody else's is published. Needs the Debian package chromium.
"""

from __future__ import annotations

import io
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from PIL import Image
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from tests.soak.report import make
from tests.support.browser import Browser
from tests.support.processes import SORTER
from tests.support.terminal import LEFT, Terminal

HERE = Path(__file__).parent
SAMPLES = HERE.parents[1] / "sorter" / "samples" / "pictures"
LINES, COLUMNS = 27, 120


def shoot_sheet(work: Path, file: Path) -> None:
    """The contact sheet of `sorter classify --html`, as a browser shows its top."""
    sheet = work / "sheet.html"
    subprocess.run([*SORTER, "classify", str(SAMPLES), "--html", str(sheet)], check=True)
    _shoot(work, sheet, file)


def shoot_report(work: Path, file: Path) -> None:
    """The page of `sorter report --html` over twelve weeks of a journal that was made up."""
    journal, page = work / "made-up.sqlite", work / "report.html"
    make(journal, 20_000)
    words = ("--journal", str(journal), "--since", "84d", "--by", "week", "--html", str(page))
    subprocess.run([*SORTER, "report", *words], check=True, stdout=subprocess.DEVNULL)
    _shoot(work, page, file)


def _shoot(work: Path, page: Path, file: Path) -> None:
    with Browser(work / "browser", width=830, height=760) as browser:
        browser.open(page.as_uri())
        browser.run("document.documentElement.style.overflow = 'hidden'")  # no scroll bar
        time.sleep(1)  # thumbnails are drawn as they are decoded
        shot = browser.screenshot(work / "shot.png")
    with Image.open(shot) as image:
        image.convert("RGB").save(file, quality=85)


def shoot_screen(work: Path, file: Path) -> None:
    """The station's screen after the bundled pictures, an empty tray and a file cut short."""
    camera, gate, journal = work / "camera", work / "gate", work / "journal.sqlite"
    camera.mkdir()
    with (
        subprocess.Popen([*SORTER, "actuator", "simulate", "--link", str(gate)]) as device,
        Terminal(
            *("watch", str(camera), "--serial", str(gate), "--journal", str(journal)),
            *("--max-age", "30"),
            lines=LINES,
            columns=COLUMNS,
        ) as terminal,
    ):
        terminal.wait_for("device 'sim' ready")
        for picture in sorted(SAMPLES.glob("*.jpg")):
            shutil.copy(picture, camera)
            terminal.wait_for(picture.name)
        Image.effect_noise((480, 480), 9).convert("RGB").save(camera / "empty-tray.jpg")
        terminal.wait_for("empty-tray.jpg")
        (camera / "cut-short.jpg").write_bytes(next(SAMPLES.glob("*.jpg")).read_bytes()[:9000])
        terminal.wait_for("REJECTED")
        terminal.wait_for("0 pictures")
        terminal.wait_for("residual")  # one more frame, whole
        terminal.end(signal.SIGINT)
        device.terminate()
    frame = terminal.raw.rpartition(LEFT)[0].rpartition(b"\x1b[H")[2].decode("utf-8")
    shown = frame.replace("\r", "").replace(str(work), "/srv")
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(re.sub(r"\x1b\[\?\w+", "", shown)))
    local = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.S)
    svg = console.export_svg(title="sorter watch", code_format=local)
    file.write_text(svg, encoding="utf-8")


def main() -> None:
    """Take all pictures anew."""
    with tempfile.TemporaryDirectory() as work:
        shoot_sheet(Path(work), HERE / "sheet.jpg")
        shoot_report(Path(work), HERE / "report.jpg")
        shoot_screen(Path(work), HERE / "screen.svg")


if __name__ == "__main__":
    main()
