"""The four public names: the README's example runs, is typed, and costs nothing to import."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import sorter
from sorter.domain import Status
from tests.support.tiny import colour_of, paint, taxonomy3, write_bundle

ROOT = Path(__file__).parents[2]


def _example() -> str:
    found = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.M | re.S
    )
    assert len(found) == 1
    return str(found[0])


def test_the_readme_example_sorts_the_bundled_pictures() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _example()], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    pictures = sorted((ROOT / "sorter/samples/pictures").iterdir())
    assert [line.split()[0] for line in lines] == [str(p.relative_to(ROOT)) for p in pictures]
    assert "cannot be read" not in done.stdout


def test_the_example_is_typed_and_a_wrong_name_in_it_is_found(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="the dev extra is not installed")
    right, wrong = tmp_path / "right.py", tmp_path / "wrong.py"
    right.write_text(_example(), encoding="utf-8")
    wrong.write_text(_example().replace(".bin.name", ".bin.nmae"), encoding="utf-8")
    words = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent"]
    words += ["--ignore-missing-imports", "--cache-dir", str(tmp_path), str(right), str(wrong)]
    done = subprocess.run(
        words, cwd=tmp_path, env={"MYPYPATH": str(ROOT)}, capture_output=True, text=True
    )
    found = done.stdout.splitlines()
    assert len(found) == 2, done.stdout + done.stderr
    assert found[0].startswith("wrong.py:") and "nmae" in found[0]


def test_importing_sorter_imports_nothing_heavy() -> None:
    program = (
        "import sys, sorter\n"
        "print(*sorted({'numpy', 'openvino', 'PIL', 'typer', 'sorter.api'} & set(sys.modules)))\n"
        "print(*sorter.__all__)\n"
        "print(sorter.Outcome.__module__)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "\nDecision Outcome classify load\nsorter.domain\n", done.stderr
    with pytest.raises(AttributeError, match="no attribute 'Classifier'"):
        getattr(sorter, "Classifier")  # noqa: B009  # as a program would, past the type checker


def test_files_folders_and_arrays_in_the_order_given(tmp_path: Path) -> None:
    taxonomy = taxonomy3()
    model = sorter.load(write_bundle(tmp_path / "model"), precision="fp16")
    folder = tmp_path / "folder"
    folder.mkdir()
    colours = [colour_of(taxonomy, i) for i in range(3)]
    inside = [paint(folder / "b.png", colours[1]), paint(folder / "c.png", colours[2])]
    single = paint(tmp_path / "a.png", colours[0])
    pixels = np.asarray(Image.open(single))
    missing = tmp_path / "missing.jpg"
    given: list[Path | str | NDArray[np.uint8]] = [
        single,
        str(folder),
        pixels,
        missing,
        pixels[..., :2],
        single,
    ]
    outcomes = list(sorter.classify(given, model=model))
    names = [str(o.path) for o in outcomes]
    assert names == [
        *map(str, (single, *inside)),
        "<array 2>",
        str(missing),
        "<array 4>",
        str(single),
    ]
    labels = [o.decision.label.name if o.decision else o.status for o in outcomes]
    assert labels == ["can", "peel", "pill", "can", Status.ERROR, Status.ERROR, "can"]
    assert "(height, width, 3) RGB" in outcomes[5].error
    assert outcomes[3].width_px == 64 and outcomes[3].height_px == 48


def test_one_picture_needs_no_list(tmp_path: Path) -> None:
    model = sorter.load(write_bundle(tmp_path / "model"))
    file = paint(tmp_path / "a.png", colour_of(taxonomy3(), 1))
    for given in (file, str(file), np.asarray(Image.open(file))):
        (outcome,) = sorter.classify(given, model=model)
        assert outcome.decision is not None and outcome.decision.label.name == "peel"
    clear = np.dstack([np.asarray(Image.open(file)), np.full((48, 64), 255, np.uint8)])
    for pixels in (clear, clear[..., 1], clear[..., :1]):
        (outcome,) = sorter.classify(pixels, model=model)
        assert outcome.decision is not None and outcome.width_px == 64
    with pytest.raises(TypeError, match="int is neither"):
        nothing: list[Any] = [7]
        list(sorter.classify(nothing, model=model))
    with pytest.raises(TypeError, match=r"Image is neither .* numpy\.asarray"):
        sorter.classify(cast(Any, Image.new("L", (8, 8))), model=model)
