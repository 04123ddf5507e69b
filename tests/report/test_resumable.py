"""Rows that reach the disk one by one: nothing lost by going on, nothing foreign replaced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sorter.domain import Outcome, Status
from sorter.errors import FolderError, UsageError
from sorter.report import csv, jsonl
from sorter.report.resumable import RowWriter

Open = Callable[..., RowWriter]
KINDS: list[tuple[Open, Callable[[Outcome], str]]] = [
    (csv.open_csv, csv.to_line),
    (jsonl.open_jsonl, jsonl.to_line),
]


def _error(name: str) -> Outcome:
    return Outcome(Path(name), Status.ERROR, error="damaged")


def _row(kind: int, name: str, *, status: str = "sorted") -> str:
    """A finished row, as an earlier run wrote it."""
    line = KINDS[kind][1](_error(name))
    return line.replace("error,", f"{status},", 1).replace('"error", "ms"', f'"{status}", "ms"')


def _write(file: Path, kind: int, names: list[str], **options: bool) -> list[str | None]:
    with KINDS[kind][0](file, **options) as rows:
        earlier = [rows.finished(name) for name in names]
        for name, line in zip(names, earlier, strict=True):
            rows.write(line or _row(kind, name))
    return earlier


def _paths(file: Path, kind: int) -> list[str]:
    read = (csv.read_row, jsonl.read_row)[kind]
    rows = [read(line) for line in file.read_text().splitlines()]
    return [row[0] for row in rows if row is not None]


@pytest.mark.parametrize("kind", [0, 1])
def test_rows_of_pictures_that_are_gone_stay_in_order(tmp_path: Path, kind: int) -> None:
    file = tmp_path / "out"
    _write(file, kind, ["a", "c", "d", "f"])
    earlier = _write(file, kind, ["b", "d", "e"], resume=True)
    assert earlier[0] is None
    assert earlier[1] is not None
    assert _paths(file, kind) == ["a", "b", "c", "d", "e", "f"]
    _write(file, kind, [], resume=True)
    assert _paths(file, kind) == ["a", "b", "c", "d", "e", "f"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("kind", [0, 1])
def test_errors_of_pictures_that_are_gone_stay_too(tmp_path: Path, kind: int) -> None:
    file = tmp_path / "out"
    with KINDS[kind][0](file) as rows:
        rows.write(KINDS[kind][1](_error("a")))
    assert _write(file, kind, [], resume=True) == []
    assert _paths(file, kind) == ["a"]
    assert _write(file, kind, ["a"], resume=True) == [None], "an error is tried again"
    assert _paths(file, kind) == ["a"]


@pytest.mark.parametrize("kind", [0, 1])
def test_a_run_cut_short_loses_no_row(tmp_path: Path, kind: int) -> None:
    file = tmp_path / "out"
    _write(file, kind, ["a", "b", "c"])
    for _ in range(2):
        rows = KINDS[kind][0](file, resume=True)
        with pytest.raises(ZeroDivisionError), rows:
            rows.write(rows.finished("a") or "")
            rows.write(_row(kind, "aa"))
            _ = 1 / 0
        with (tmp_path / "out.part").open("a") as part:
            part.write("torn")
    _write(file, kind, ["aa"], resume=True)
    assert _paths(file, kind) == ["a", "aa", "b", "c"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


FOREIGN = {
    "another table": b"name,age\nx,1\n",
    "another program's JSON": b'{"name": "x"}\n',
    "JSON of one line": b'{"path": 3}',
    "a text": b"my notes\n",
    "semicolons": ";".join(csv.COLUMNS).encode() + b"\n",
    "UTF-16": (",".join(csv.COLUMNS) + "\n").encode("utf-16"),
    "a column more": ",".join((*csv.COLUMNS, "mine")).encode() + b"\n",
    "bytes": bytes(range(256)),
}


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_file_stays(
    tmp_path: Path,
    kind: int,
    content: bytes,
    resume: bool,
) -> None:
    file = tmp_path / "out"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=r"out: is there already .*name another file"):
        KINDS[kind][0](file, resume=resume)
    assert file.read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (",".join((*csv.COLUMNS, "mine")), "columns of another: mine"),
        (",".join(csv.COLUMNS[:-2]), "lacks columns: error, reason"),
        (";".join(csv.COLUMNS), "parted by semicolons"),
        ("\t".join(csv.COLUMNS), "parted by tabs"),
        (",".join(f'"{name}"' for name in csv.COLUMNS), "quoted"),
        (",".join(reversed(csv.COLUMNS)), "another order"),
        ("name,age", "does not begin like one"),
        ("x" * 200_000, "does not begin like one"),
    ],
)
def test_why_a_table_is_not_gone_on_with_is_said(tmp_path: Path, first: str, why: str) -> None:
    file = tmp_path / "out.csv"
    file.write_text(first + "\n")
    with pytest.raises(UsageError, match=why):
        csv.open_csv(file, resume=True)
    file.write_text(first + "\n", encoding="utf-16")
    with pytest.raises(UsageError, match="UTF-16"):
        csv.open_csv(file, resume=True)


@pytest.mark.parametrize("kind", [0, 1])
def test_a_last_row_whose_line_end_an_editor_took_away_stays(tmp_path: Path, kind: int) -> None:
    file = tmp_path / "out"
    _write(file, kind, ["a", "b"])
    whole = file.read_text()
    for length in range(len(whole) - 1, len(whole) - 30, -1):
        file.write_text(whole[:length])
        _write(file, kind, [], resume=True)
        assert _paths(file, kind) == (["a", "b"] if length == len(whole) - 1 else ["a"]), length
    file.write_text(whole[:-1])
    assert _write(file, kind, ["b"], resume=True)[0] is not None, "it is finished"
    assert file.read_text() == whole


def test_an_unsure_row_that_may_lack_its_reason_is_kept_and_tried_again(tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    row = _row(0, "a", status="unsure").rstrip("\n")
    for reason, finished in (("", False), ("risk", True)):
        file.write_text(",".join(csv.COLUMNS) + f"\n{row}{reason}")
        assert (_write(file, 0, ["a"], resume=True)[0] is not None) is finished
        file.write_text(",".join(csv.COLUMNS) + f"\n{row}{reason}")
        _write(file, 0, [], resume=True)
        assert _paths(file, 0) == ["a"]


@pytest.mark.parametrize("kind", [0, 1])
def test_a_line_that_is_no_row_is_not_lost_by_going_on(tmp_path: Path, kind: int) -> None:
    file = tmp_path / "out"
    _write(file, kind, ["a"])
    with file.open("a") as stream:
        stream.write("checked by Ann\n")
    with pytest.raises(UsageError, match=r"line \d is not a row"):
        KINDS[kind][0](file, resume=True)
    assert file.read_text().endswith("checked by Ann\n")


def test_a_foreign_part_beside_it_stays(tmp_path: Path) -> None:
    part = tmp_path / "out.part"
    part.write_bytes(b"half a download")
    _write(tmp_path / "out", 0, ["a"])
    with pytest.raises(UsageError, match=r"out\.part"):
        _write(tmp_path / "out", 0, ["a"], resume=True)
    assert part.read_bytes() == b"half a download"


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("there", [False, True])
def test_one_run_at_a_time(
    tmp_path: Path,
    there: bool,
    first: bool,
    second: bool,
) -> None:
    file = tmp_path / "out.csv"
    if there:
        _write(file, 0, ["z"])
    with csv.open_csv(file, resume=first) as rows:
        rows.write(_row(0, "a"))
        with pytest.raises(FolderError, match="another run is writing it"):
            csv.open_csv(file, resume=second)
        rows.write(_row(0, "b"))
    assert _paths(file, 0)[:2] == ["a", "b"]
    _write(file, 0, ["c"])
    assert _paths(file, 0) == ["c"]


def test_dash_is_the_standard_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    _write(Path("-"), 0, ["a"])
    assert capsys.readouterr().out.splitlines()[0] == ",".join(csv.COLUMNS)
    assert list(tmp_path.iterdir()) == []


def test_a_report_from_before_the_reason_is_gone_on_with(tmp_path: Path) -> None:
    """Its rows get an empty one; a mark that a spreadsheet put there does no harm."""
    file = tmp_path / "out.csv"
    rows = ["a.jpg,sorted,can,1,1.0,metal,1.0,,1,1,1.0,", "b.jpg,error,,,,,,,,,1.0,cut short"]
    head = ",".join(csv.COLUMNS[:-1])
    file.write_text("\ufeff" + "\n".join([head, *rows]) + "\n", encoding="utf-8")
    with csv.open_csv(file, resume=True, excel=True) as report:
        kept = report.finished("a.jpg")
        assert kept == rows[0] + ",\n"
        report.write(kept)
    lines = file.read_text(encoding="utf-8").splitlines()
    assert lines == ["\ufeff" + ",".join(csv.COLUMNS), rows[0] + ",", rows[1] + ","]
