"""What is shipped: the wheel, built from the sdist, has all that an edge box needs and no more."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".heic")
WEIGHTS = ("card.json", "model.xml", "model.bin", "model-int8.xml", "model-int8.bin")


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with one sdist and one wheel; built without a network."""
    pytest.importorskip("build", reason="the dev extra is not installed")
    out = tmp_path_factory.mktemp("dist")
    words = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return out


def test_the_wheel_carries_model_samples_firmware_and_types(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    assert wheel.stat().st_size < 40_000_000
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        for name in WEIGHTS:
            shipped = archive.read(f"sorter/weights/mobilenet_v2/{name}")
            assert shipped == (ROOT / "weights" / "mobilenet_v2" / name).read_bytes(), name
    (metadata,) = (n for n in names if n.endswith(".dist-info/METADATA"))
    with zipfile.ZipFile(wheel) as archive:
        needs = [x for x in archive.read(metadata).decode().splitlines() if "torch" in x]
    assert needs and all("extra ==" in line for line in needs if line.startswith("Requires"))
    here = {str(p.relative_to(ROOT)) for p in (ROOT / "sorter").rglob("*") if p.is_file()}
    here = {n for n in here if "__pycache__" not in n}
    assert here <= names, f"left out: {sorted(here - names)}"
    assert {"sorter/py.typed", "sorter/actuator/firmware/firmware.ino"} <= names
    assert "sorter/systemd/sorter-watch.service" in names
    assert {n.split("/")[0] for n in names} == {"sorter", "train", metadata.split("/")[0]}


@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"])
def test_no_picture_but_the_drawn_samples(dist: Path, kind: str) -> None:
    (file,) = dist.glob(kind)
    if kind == "*.whl":
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    else:
        with tarfile.open(file) as archive:
            names = archive.getnames()
    # The README's plot and screenshots are not samples.
    shown = ("/tests/benchmarks/", "/tests/pages/")
    pictures = [n for n in names if n.lower().endswith(PICTURES) and not any(s in n for s in shown)]
    assert len(pictures) == len(list((ROOT / "sorter/samples/pictures").iterdir()))
    assert all("sorter/samples/pictures/" in n for n in pictures)
