"""The station's long runs, seconds each: the sizes that count are the commands' own defaults."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.soak import alarms, arrivals, damage, disk, load, old, one_name, respond, swap, writers

SEED = 20261125
pytestmark = pytest.mark.soak


def test_files_that_arrive_while_the_process_is_stopped() -> None:
    figures, broken = arrivals.stop(300, SEED)
    assert broken == []
    assert figures["records"] == 300


def test_a_folder_that_is_removed_renamed_and_replaced() -> None:
    figures, broken = arrivals.folder(3, SEED)
    assert broken == []
    assert figures["records"] == 60


def test_damaged_pictures_move_nothing() -> None:
    figures, broken = arrivals.damaged(30, SEED)
    assert broken == []
    assert figures["states"] == {"REJECTED": 30}


def test_old_pictures_in_disguise_and_clocks_that_are_set() -> None:
    figures, broken = old.run(3, 60)
    assert broken == []
    assert (figures["old_moved"], figures["records"]) == (0, 3 * 61)


def test_one_file_name_an_archive_and_a_slow_disk() -> None:
    figures, broken = one_name.run(24, 0.003, SEED)
    assert broken == []
    assert figures["records"] == 24


def test_damaged_pages_of_a_large_journal() -> None:
    figures, broken = damage.run(66, 7, SEED)
    assert broken == []
    assert figures["set_aside"] > 0


def test_every_way_a_picture_gets_into_a_folder() -> None:
    if shutil.which("rsync") is None:
        pytest.skip("needs the Debian package rsync")
    figures, broken = writers.run(rounds=1, slow_s=2.0, seed=SEED)
    assert broken == []
    assert figures["records"] == len(writers.WRITERS)


def test_a_full_and_a_stalling_disk() -> None:
    if shutil.which("gcc") is None:
        pytest.skip("needs the Debian package gcc")
    figures, broken = disk.run(full_s=6.0, stall_s=6.0, times=1, seed=SEED)
    assert broken == []
    # Longer than the age limit: some must have become too old, none may have been lost.
    assert figures["states"]["EXPIRED"] > 0


def test_a_flood() -> None:
    figures, broken = load.flood(10.0, SEED)
    assert broken == []
    assert figures["states"]["EXPIRED"] > figures["states"]["DONE"] > 0


def test_a_steady_pace() -> None:
    _, broken = load.steady(10.0, SEED)
    assert broken == []


def test_new_weights_in_mid_flow() -> None:
    figures, broken = swap.run(times=12, seed=SEED, notice_every=6)
    assert broken == []
    assert figures["taken"] >= 3
    assert figures["refused"] >= 2
    assert figures["models"] >= 2


def test_from_a_closed_picture_to_its_command() -> None:
    figures, broken = respond.run(items=10, seed=SEED)
    assert broken == []
    # The figure itself needs a quiet machine and the command; here only that nothing waits idly.
    assert all(figures[size]["ratio"][0] < 5 for size in respond.SIZES)


def test_every_kind_of_trouble_is_told_once_and_cleared_once(tmp_path: Path) -> None:
    found = alarms.soak(tmp_path, len(alarms.INDUCED))
    assert found["as_expected"], found
    assert found["kinds"] == {kind.value: 1 for kind in alarms.INDUCED}
