"""Every mistake a user can make, command by command: one line that says what, where and what to do.

A row is a command line, its exit code, what the line must name, and the remedy it must offer. Rows
run in this process through the entry point's own boundary; what needs a process of
its own (streams, rights, a bare install) is in tests/process/test_messages_process.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.mishaps import check_line, mishaps, typed

CLASSIFY = "classify {pics} --model {bundle}"
WATCH = "watch {pics} --serial none --model {bundle} --unsure hold --journal {none}.sqlite"
SIMULATE = "actuator simulate"
DATA = "data check {data} --taxonomy {taxonomy} --no-keypoints"
EVALUATE = "evaluate {data} --model {bundle}"
TRAIN = "train {data} --taxonomy {taxonomy} --out {none}-run"
REVIEW = "review {pics} --into {none}-into --model {bundle} --no-open"
INSTALL = "service install --root {empty} --exec /bin/true"

ROWS: list[tuple[str, int, str, str]] = [
    # The command line itself.
    ("clasify", 2, "clasify", "classify"),
    ("classify", 2, "PATH", "sorter classify --help"),
    (f"{CLASSIFY} --frob", 2, "--frob", "sorter classify --help"),
    (f"{CLASSIFY} --jobs 0", 2, "--jobs", "greater than or equal to 1"),
    (f"{CLASSIFY} --top many", 2, "--top", "integer"),
    (f"{CLASSIFY} --min-confidence nan", 2, "--min-confidence", "less than or equal to 1"),
    (f"{CLASSIFY} --precision int4", 2, "--precision", "'int8', 'fp16'"),
    (f"{CLASSIFY} --lang de", 2, "--lang", "'en', 'zh'"),
    ("journal", 2, "Usage", "export"),
    # classify
    ("classify {none} --model {bundle}", 5, "{none}", "no such file"),
    ("classify '' --model {bundle}", 2, "PATH", ". for this one"),
    ("classify {long} --model {bundle}", 5, "{long}", "name another path"),
    ("classify {odd} --model {bundle}", 5, "odd\\n\\x1b[31m", "no such file"),
    ("classify {pics} --model {none}", 3, "{none}", "--model DIR"),
    ("classify {pics} --model {file}", 3, "{file}", "--model DIR"),
    ("classify {pics} --model {empty}", 3, "{empty}", "name a model"),
    ("classify s3://bucket/x --model {bundle}", 2, "s3://bucket/x", "--engine ray"),
    (f"{CLASSIFY} --resume", 2, "--resume", "--csv F"),
    (f"{CLASSIFY} --csv {{none}} --jsonl {{none}}", 2, "{none}", "a file of its own"),
    (f"{CLASSIFY} --csv {{pics}}", 5, "{pics}", "name a file"),
    (f"{CLASSIFY} --csv {{pics}}/0.png", 2, "{pics}/0.png", "out.csv"),
    (f"{EVALUATE} --html {{pics}}/0.png", 2, "{pics}/0.png", "name another"),
    (f"{CLASSIFY} --csv {{pics}} --resume", 5, "{pics}", "name a file"),
    (f"{CLASSIFY} --csv {{inside}}", 5, "{inside}", "name another file"),
    (f"{CLASSIFY} --csv {{pipe}}", 5, "{pipe}", "name a file"),
    (f"{CLASSIFY} --csv /dev/null", 5, "/dev/null", "name a file"),
    (f"{CLASSIFY} --csv /", 5, "/", "name a file"),
    (f"{CLASSIFY} --csv ''", 5, ".", "name a file"),
    (f"{CLASSIFY} --csv {{long}}", 5, "{long}", "name another"),
    (f"{CLASSIFY} --jsonl /proc/x/y", 5, "/proc/x/y", "name another file"),
    (f"{CLASSIFY} --html {{inside}}", 5, "{inside}", "name another"),
    (f"{CLASSIFY} --sort-into {{file}}", 5, "{file}", "another"),
    # watch
    ("watch", 2, "DIR", "sorter watch --help"),
    ("watch {pics}", 2, "SORTER_SERIAL", "sorter watch --help"),
    (WATCH.replace("{pics}", "{none}"), 5, "{none}", "make it"),
    (WATCH.replace("{pics}", "{file}"), 5, "{file}", "name the camera's folder"),
    (WATCH.replace("{pics}", "{loop}"), 5, "{loop}", "name the camera's folder"),
    (f"{WATCH} --journal {{pics}}/j", 2, "--journal {pics}", "choose another place"),
    (f"{WATCH} --archive {{pics}}/a", 2, "--archive {pics}/a", "choose another place"),
    (f"{WATCH} --keep-unsure {{pics}}/r", 2, "--keep-unsure {pics}/r", "choose another place"),
    (f"{WATCH} --metrics {{pics}}/m", 2, "--metrics {pics}", "choose another place"),
    (f"{WATCH} --metrics {{empty}}", 5, "{empty}", "name a file"),
    (f"{WATCH} --ring {{none}}-ring --ring-size 0", 2, "--keep-unsure-count 0", "above 0"),
    (f"{WATCH} --journal {{empty}}", 5, "{empty}", "--journal"),
    (f"{WATCH} --journal /", 5, "/", "--journal"),
    (f"{WATCH} --journal {{inside}}", 5, "{file}", "--journal"),
    (f"{WATCH} --journal /proc/j", 5, "/proc/j", "--journal"),
    (f"{WATCH} --journal {{journal_newer}}", 5, "{journal_newer}", "upgrade sorter"),
    (f"{WATCH} --station a --mqtt a:b", 2, "--mqtt a:b", "HOST:PORT"),
    (f"{WATCH} --mqtt a", 2, "--mqtt", "--station"),
    (f"{WATCH} --mqtt a --station a/b", 2, "--station 'a/b'", "called so"),
    (f"{WATCH} --unsure gold", 2, "--unsure gold", "hold or one of metal, rest"),
    (f"{WATCH} --settle 0", 2, "--settle", "greater than"),
    (f"{WATCH} --max-age -1", 2, "--max-age", "above 0"),
    (f"{WATCH} --max-age nan", 2, "--max-age", "above 0"),
    (f"{WATCH} --burst 9", 2, "--burst 9", "below --max-age"),
    (f"{WATCH} --serial ''", 2, "--serial", "give a device"),
    (f"{WATCH} --serial socket://host", 2, "socket://host", "socket://HOST:PORT"),
    (f"{WATCH} --serial foo://x", 2, "foo://x", "socket://HOST:PORT"),
    (f"{WATCH} --serial /dev/none --protocol plain --plain-bytes 1", 2, "'1'", "visible"),
    (f"{WATCH} --protocol morse", 2, "SORTER_PROTOCOL", "'ws1', 'plain'"),
    (f"{WATCH} --model {{none}}", 3, "{none}", "--model DIR"),
    # status, journal export
    ("status --journal {none}", 5, "{none}", "--journal"),
    ("status --journal {empty}", 5, "{empty}", "--journal"),
    ("status --journal {journal_foreign}", 5, "{journal_foreign}", "--journal"),
    ("status --journal {journal_newer}", 5, "{journal_newer}", "upgrade"),
    ("status --journal {journal_half}", 5, "{journal_half}", "--journal"),
    ("status --journal {journal_lost}", 5, "{journal_lost}", "set it aside"),
    ("status --journal {journal_tables}", 5, "{journal_tables}", "--journal"),
    ("status --journal {journal_empty}", 5, "{journal_empty}", "--journal"),
    ("status --journal {journal_text}", 5, "{journal_text}", "--journal"),
    ("status --journal {journal_good} --last -1", 2, "--last", "sorter status --help"),
    ("journal export --csv {none} --journal {none}", 5, "{none}", "--journal"),
    ("journal export --csv {none} --journal {journal_text}", 5, "{journal_text}", "--journal"),
    ("journal export --csv {empty} --journal {journal_good}", 5, "{empty}", "name a file"),
    ("journal export --csv {inside} --journal {journal_good}", 5, "{inside}", "another"),
    ("journal export --csv /dev/null --journal {journal_good}", 5, "/dev/null", "name a file"),
    ("journal export --csv / --journal {journal_good}", 5, "/", "name a file"),
    # actuator
    ("actuator ping --journal {none}", 2, "no station runs", "--serial"),
    ("actuator clear --journal {none}", 2, "no station runs", "--serial"),
    ("classify {pics} --excel", 2, "--excel", "--csv F"),
    *[
        row
        for command in ("ping", "cycle", "home", "monitor")
        for row in (
            (f"actuator {command} -s /dev/none", 4, "/dev/none", "Is the cable in?"),
            (f"actuator {command} -s {{file}}", 4, "{file}", "give a device"),
            (f"actuator {command} -s /dev/null", 4, "/dev/null", "is it a serial port?"),
            (f"actuator {command} -s ''", 2, "--serial", "give a device"),
            (f"actuator {command} -s socket://127.0.0.1:1", 4, "127.0.0.1:1", "running?"),
            (f"actuator {command} -s socket://{'é' * 70}:1", 4, "socket://", "running?"),
            (f"actuator {command} -s rfc2217://127.0.0.1:1", 4, "127.0.0.1:1", "check the"),
            (f"actuator {command} -s socket://h:99999", 2, "h:99999", "socket://HOST:PORT"),
        )
    ],
    ("actuator cycle -s /dev/none --bins 10", 2, "--bins", "less than or equal to 9"),
    (f"{SIMULATE} --link {{none}} --tcp 0", 2, "--link", "exclude"),
    (f"{SIMULATE} --eeprom {{none}} --ram", 2, "--eeprom", "exclude"),
    (f"{SIMULATE} --name 'a b'", 2, "'a b'", "letters"),
    (f"{SIMULATE} --link {{file}}", 5, "{file}", "choose another"),
    (f"{SIMULATE} --link {{inside}}", 5, "{inside}", "choose another"),
    (f"{SIMULATE} --log {{empty}}", 5, "{empty}", "--log"),
    (f"{SIMULATE} --log /dev/full", 5, "/dev/full", "make room"),
    (f"{SIMULATE} --eeprom {{empty}}", 5, "{empty}", "--eeprom"),
    (f"{SIMULATE} --eeprom {{inside}}", 5, "{inside}", "--eeprom"),
    (f"{SIMULATE} --fault drop=nan", 2, "drop=nan", "Fault words"),
    (f"{SIMULATE} --fault jam", 2, "jam", "Fault words"),
    (f"{SIMULATE} --control {{file}}", 5, "{file}", "--control"),
    (f"{SIMULATE} --tcp {{taken}}", 4, "{taken}", "--tcp"),
    (f"{SIMULATE} --tcp 70000", 2, "--tcp", "65535"),
    ("actuator firmware --out {file}", 5, "{file}", "--out"),
    ("actuator firmware --out {inside}", 5, "{inside}", "--out"),
    ("actuator firmware --out /", 5, "/", "--out"),
    # data check, and the taxonomy that every training command reads
    ("data check {none}", 5, "{none}", "name one"),
    ("data check {file}", 5, "{file}", "name one"),
    ("data check {empty}", 5, "{empty}", "expected"),
    ("data check {data}", 5, "{data}", "--taxonomy"),
    (f"{DATA} --extra {{none}}", 5, "{none}", "name one"),
    (f"{DATA} --extra {{empty}}", 5, "{empty}", "expected"),
    (f"{DATA} --groups-out {{inside}}", 5, "{inside}", "--groups-out"),
    (f"{DATA} --groups-out {{empty}}", 5, "{empty}", "--groups-out"),
    (f"{DATA} --groups-out {{pics}}/0.png", 2, "{pics}/0.png", "name another"),
    (f"{DATA} --groups-out - --json", 2, "--groups-out -", "name a file"),
    *[
        (f"{DATA} --predictions {{{what}}}", 5, f"{{{what}}}", "oof.npz")
        for what in ("none", "empty", "file", "array", "arrays", "number", "cut")
    ],
    (f"{DATA} --predictions /dev/null", 5, "/dev/null", "oof.npz"),
    *[
        (f"data check {{data}} --taxonomy {{{what}}}", 2, f"{{{what}}}", says)
        for what, says in (
            ("none", "name a TOML file"),
            ("empty", "name a TOML file"),
            ("taxonomy_syntax", "correct it"),
            ("taxonomy_empty", "[[bins]]"),
            ("taxonomy_deep", "no taxonomy looks like this"),
            ("taxonomy_digits", "no taxonomy looks like this"),
            ("taxonomy_words", "[[bins]]"),
            ("taxonomy_bytes", "UTF-8"),
            ("taxonomy_twice", "appears twice"),
            ("taxonomy_nobin", "metal, rest"),
            ("taxonomy_slash", "change it"),
        )
    ],
    ("data check {data} --taxonomy /dev/zero", 2, "/dev/zero", "name a taxonomy file"),
    # evaluate
    ("evaluate {none} --model {bundle}", 5, "{none}", "name one"),
    ("evaluate {empty} --model {bundle}", 5, "{empty}", "expected"),
    ("evaluate {onlybad} --model {bundle}", 5, "{onlybad}", "sorter data check"),
    ("evaluate {data} --model {none}", 3, "{none}", "--model"),
    (f"{EVALUATE} --split val", 2, "{data}", "--split"),
    (f"{EVALUATE} --unknown {{none}}", 5, "{none}", "name one"),
    (f"{EVALUATE} --unknown {{empty}}", 5, "{empty}", "expected"),
    (f"{EVALUATE} --mistakes {{inside}}", 5, "{inside}", "name another"),
    (f"{EVALUATE} --precision int4", 2, "int4", "'fp16', 'int8'"),
    # doctor: findings go to stdout, where tests.doctor looks
    ("doctor --frob", 2, "--frob", "sorter doctor --help"),
    # review
    ("review {none} --into {none}-into --model {bundle}", 5, "{none}", "--keep-unsure"),
    ("review {file} --into {none}-into --model {bundle}", 5, "{file}", "--keep-unsure"),
    ("review {pics} --into {pics}/x --model {bundle}", 2, "{pics}/x", "choose another"),
    ("review {pics} --into {loop} --model {bundle}", 5, "{loop}", "--into"),
    ("review {pics} --into {file} --model {bundle}", 5, "{file}", "--into"),
    (f"{REVIEW} --taxonomy {{none}}", 2, "{none}", "name a TOML file"),
    (f"{REVIEW} --model {{none}}", 3, "{none}", "--model"),
    (f"{REVIEW} --port {{taken}}", 5, "{taken}", "--port"),
    (f"{REVIEW} --port 70000", 2, "--port", "65535"),
    (f"{REVIEW} --host no.such.host.invalid", 5, "no.such.host.invalid", "--host"),
    (f"{REVIEW} --host 192.0.2.1", 5, "192.0.2.1", "--host"),
    # service
    ("service install --root {empty} --exec {none}", 5, "{none}", "--exec"),
    (f"{INSTALL} --station 'a b'", 2, "'a b'", "letters"),
    (f"{INSTALL} --watch {{odd}}", 2, "SORTER_DIR", "settings file cannot"),
    ("service install --root {file} --exec /bin/true", 5, "{file}", "--root"),
    ("service uninstall --root {file}", 5, "{file}", "--root"),
    # bench, demo
    ("bench {none} --model {bundle}", 5, "no picture", "name folders"),
    ("bench --model {none}", 3, "{none}", "--model"),
    ("bench --count 0", 2, "--count", "sorter bench --help"),
    ("demo --pictures {none} --model {bundle}", 5, "{none}", "name a folder"),
    ("demo --pictures {file} --model {bundle}", 5, "{file}", "name a folder"),
    ("demo --pictures {empty} --model {bundle}", 5, "{empty}", "name a folder"),
    ("demo --model {none}", 3, "{none}", "--model"),
    ("demo --seconds nan", 2, "--seconds", "sorter demo --help"),
    # Options from the environment.
    (f"SORTER_SETTLE=soon {WATCH}", 2, "SORTER_SETTLE", "a number"),
    (f"SORTER_RING_SIZE=many {WATCH}", 2, "SORTER_RING_SIZE", "integer"),
    (f"SORTER_JSON=maybe {WATCH}", 2, "SORTER_JSON", "boolean"),
    (f"SORTER_MIN_CONFIDENCE=2 {WATCH}", 2, "SORTER_MIN_CONFIDENCE", "less than"),
    (f"SORTER_SERIAL= {WATCH.replace('--serial none', '')}", 2, "SORTER_SERIAL", "--help"),
    ("SORTER_JOURNAL={journal_text} status", 5, "{journal_text}", "--journal"),
    ("SORTER_MODEL={none} evaluate {data}", 3, "{none}", "--model"),
    ("SORTER_MODEL={file} bench", 3, "{file}", "--model"),
]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """The mishaps by name."""
    found, open_ends = mishaps(tmp_path_factory.mktemp("mishaps"))
    yield found
    for end in open_ends:
        end.close()


@pytest.mark.parametrize(("line", "code", "where", "remedy"), ROWS, ids=[r[0] for r in ROWS])
def test_one_line_says_what_where_and_what_to_do(
    line: str,
    code: int,
    where: str,
    remedy: str,
    places: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    got = typed(line, places, monkeypatch)
    said = capsys.readouterr().err
    check_line(said, got, (code, where.format(**places), remedy.format(**places)))
