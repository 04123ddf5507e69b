"""The device's C on this machine: the table of conversations, a bounded fuzz, power cuts."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from sorter.actuator.protocol import seal
from tests.support.actuator_board import FIRMWARE, FLASH, HERE, RAM, compile_sketch, need
from tests.support.actuator_conversations import Step, conversations

pytestmark = pytest.mark.process

CONVERSATIONS = list(conversations())


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ws1.c and keep.c for this machine, with sanitizers."""
    need(program="gcc", package="gcc")
    program = tmp_path_factory.mktemp("host") / "host"
    command = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-O1", "-g"]
    command += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", f"-I{FIRMWARE}"]
    command += [str(HERE / "host.c"), str(FIRMWARE / "ws1.c"), str(FIRMWARE / "keep.c")]
    subprocess.run([*command, "-o", str(program)], check=True)
    return program


@pytest.mark.parametrize(("name", "steps"), CONVERSATIONS, ids=[c[0] for c in CONVERSATIONS])
def test_the_c_core_keeps_to_the_table(host: Path, name: str, steps: list[Step]) -> None:
    now_ms, script = 0, []
    for step in steps:
        now_ms += step.wait_ms
        line = {
            "power": "power",
            "lose": "lose",
            "wait": f"at {now_ms}",
            "say": f"hex {step.data.hex()}",
        }[step.verb]
        script.append(line)
    said = subprocess.run(
        [host, "run"], input="\n".join(script) + "\n", capture_output=True, text=True, check=True
    ).stdout
    answers = [part.splitlines() for part in said.split(".\n")[:-1]]
    assert len(answers) == len(steps)
    for step, lines in zip(steps, answers, strict=True):
        replies = [line[2:].rpartition("*")[0] for line in lines if line.startswith("< ")]
        sealed = [line[2:] for line in lines if line.startswith("< ")]
        events = [line[2:] for line in lines if line.startswith("= ") and line != "= fault"]
        assert (step.number, replies) == (step.number, step.replies)
        assert sealed == [seal(body).decode().rstrip() for body in replies]
        assert (step.number, [e.removesuffix(" 0") for e in events]) == (step.number, step.events)


def test_fuzz_moves_nothing_unasked(host: Path) -> None:
    said = subprocess.run(
        [host, "fuzz", "300000", "1"], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"moves (\d+) expected (\d+)", said)
    assert found
    assert int(found[1]) == int(found[2]) > 1000


def test_kept_numbers_survive_power_cuts(host: Path) -> None:
    said = subprocess.run(
        [host, "keep", "100000", "1"], capture_output=True, text=True, check=True
    ).stdout
    cuts, worn = re.search(r"power cuts (\d+)", said), re.search(r"worn cell (\d+)", said)
    assert cuts
    assert int(cuts[1]) > 100
    assert worn
    assert int(worn[1]) < 100_000 / 100  # a ring of slots: one cell a hundred movements or fewer


def test_the_sketch_fits_an_uno_with_a_third_to_spare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elf = compile_sketch(tmp_path)
    text = subprocess.run(
        ["avr-size", "-A", str(elf)], capture_output=True, text=True, check=True
    ).stdout
    sizes = {row.split()[0]: int(row.split()[1]) for row in text.splitlines() if row[:1] == "."}
    flash = sizes[".text"] + sizes[".data"]
    ram = sizes[".data"] + sizes.get(".bss", 0) + sizes.get(".noinit", 0)
    with capsys.disabled():
        print(  # noqa: T201
            f"\nsketch: flash {flash} of {FLASH} bytes ({flash / FLASH:.0%}),"
            f" RAM {ram} of {RAM} bytes ({ram / RAM:.0%}) before the stack"
        )
    assert flash <= FLASH * 2 / 3
    assert ram <= RAM * 2 / 3
