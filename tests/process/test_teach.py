"""`sorter teach` as a process: a full disk, a kill in mid-write, a station that goes on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sorter.station.journal.history import read_items
from sorter.vision.bundle import open_bundle
from tests.support.schooled import pictures_of, save_pictures, write_schooled

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A released bundle."""
    return write_schooled(tmp_path_factory.mktemp("released") / "model")


@pytest.fixture(scope="module")
def corrected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures of a thing that the release does not know."""
    root = tmp_path_factory.mktemp("site") / "corrected"
    save_pictures(root / "pill", pictures_of((150, 75, 0), 8, 5, corner=(0, 200, 200)))
    return root


def sorter_teach(*words: str | Path) -> None:
    """Run it; exit code 0."""
    line = [sys.executable, "-m", "sorter", "teach", *map(str, words)]
    subprocess.run(line, check=True, capture_output=True, cwd=ROOT)


def test_a_full_disk_leaves_the_old_model(released: Path, corrected: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    sorter_teach(corrected, "--model", released, "--out", out)
    before = open_bundle(out).digest
    line = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000));"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "from sorter.cli.app import main; main()"
    )
    words = ["teach", corrected, "--model", released, "--out", out, "--forget-all"]
    done = subprocess.run(
        [sys.executable, "-c", line, *map(str, words)],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 5, done.stderr
    assert "untouched" in done.stderr
    assert "Traceback" not in done.stderr
    assert open_bundle(out).digest == before
    assert [p.name for p in tmp_path.iterdir()] == ["site"]


def test_a_kill_in_mid_write_leaves_one_of_two_whole_models(
    released: Path, corrected: Path, tmp_path: Path
) -> None:
    out = tmp_path / "site"
    sorter_teach(corrected, "--model", released, "--out", out)
    taught = open_bundle(out).digest
    whole = {taught, open_bundle(released).digest}
    line = [sys.executable, "-m", "sorter", "teach", "--model", str(out), "--forget-all"]
    for delay in range(6):
        process = subprocess.Popen([*line, "--out", str(out)], cwd=ROOT)
        time.sleep(0.6 + 0.25 * delay)
        process.kill()
        process.wait()
        assert open_bundle(out).digest in whole
    # What a kill left behind is no bundle's name, and the next teaching is not in its way.
    sorter_teach(corrected, "--model", released, "--out", out)
    assert open_bundle(out).digest == taught


def test_a_running_station_takes_the_taught_model(
    released: Path, corrected: Path, tmp_path: Path
) -> None:
    site, camera, journal = tmp_path / "site", tmp_path / "camera", tmp_path / "j.sqlite"
    shutil.copytree(released, site)
    camera.mkdir()
    line = [sys.executable, "-m", "sorter", "watch", str(camera), "--serial", "none"]
    line += ["--model", str(site), "--journal", str(journal), "--unsure", "rest"]
    process = subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        pixels = pictures_of((150, 75, 0), 60, 9, corner=(0, 200, 200))
        # A class more, too: the bins are the same, so that the station need not begin anew.
        save_pictures(tmp_path / "c" / "Toy", pictures_of((90, 0, 120), 8, 1, corner=(255, 255, 0)))
        new = ("--new-class", "Toy", "--bin", "metal")
        sorter_teach(corrected, tmp_path / "c", *new, "--model", site, "--out", site)
        digest, models = open_bundle(site).digest, []
        for i in range(60):
            save_pictures(camera, pixels[i : i + 1], f"a{i:03d}-")
            time.sleep(0.5)
            models = [str(row["model"]) for row in read_items(journal)] if journal.exists() else []
            if digest in models:
                break
        assert digest in models, "the new weights never answered"
    finally:
        process.terminate()
        told = process.communicate(timeout=60)[1]
    states = [row["state"] for row in read_items(journal)]
    assert len(states) == i + 1
    assert "new weights refused" not in told


def test_products_take_one_thread(tmp_path: Path) -> None:
    """OpenBLAS begins its threads when numpy is imported: by then it must have been told."""
    program = (
        "import os, sys\n"
        "from sorter.cli.app import main\n"
        "try:\n"
        "    main()\n"
        "except SystemExit:\n"
        "    assert 'numpy' in sys.modules\n"
        "    print(len(os.listdir('/proc/self/task')))\n"
    )
    line = [sys.executable, "-c", program, "teach", "nowhere", "--dry-run"]
    env = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(
        line, capture_output=True, text=True, cwd=tmp_path, env=env | {"PYTHONPATH": str(ROOT)}
    )
    assert done.stdout == "1\n", done.stderr
