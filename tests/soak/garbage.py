"""Streams of garbage into device and host: nothing moves, nothing raises, memory is bounded.

    python -m tests.soak.garbage --streams 100000 --seed 1

Streams are noise, cut and bit-flipped commands, and sound lines of the wrong direction. The host
must never say a command no matter what it hears while nothing was asked of it.
"""

from __future__ import annotations

import argparse
import sys
from random import Random

from sorter.actuator.protocol import COMMAND_LIMIT, REPLY_LIMIT, seal
from sorter.actuator.session import Session
from sorter.actuator.simulator.device import Device
from sorter.actuator.simulator.eeprom import Ram

_WORDS = ("GO s 1 1", "GO s 7 2", "HOME 3", "Q 1", "ACK 1", "DONE 1 1 3", "ST 1 NEW", "FAIL 1 X")


def stream(random: Random) -> bytes:
    """Bytes without one sound command line."""
    parts = []
    for _ in range(random.randrange(1, 6)):
        kind = random.randrange(5)
        line = bytearray(seal(random.choice(_WORDS)))
        if kind == 0:
            line = bytearray(random.randbytes(random.randrange(1, 120)))
        elif kind == 1:
            del line[random.randrange(len(line) - 2) :]
            line += b"\n"
        elif kind == 2:
            for bit in random.sample(range((len(line) - 1) * 8), random.randrange(1, 4)):
                line[bit // 8] ^= 1 << bit % 8
        elif kind == 3:
            line = bytearray(seal(random.choice(_WORDS[4:])))
        else:
            line[-2:-2] = random.randbytes(1) + bytes(random.randrange(1, 90))
        parts.append(bytes(line))
    return b"\n".join(parts) + b"\n"


def run(streams: int, *, seed: int) -> tuple[int, int]:
    """(movements of the device, commands said by the host); both must be 0."""
    random = Random(seed)
    moves: list[str] = []
    said = 0
    for i in range(streams):
        device = Device(
            memory=Ram(),
            report=lambda event, n, b: moves.append(event) if event in ("move", "home") else None,
            new_boot=lambda: "b1",
        )
        device.power_on(0.0)
        device.feed(seal("HI s 1"), 0.0)
        host = Session("s", 1)
        host.opened(0.0)
        if i % 2:
            host.received(seal("BOOT WS1 f b1 d - - IDLE") + seal("HI b1 d s 0 IDLE"), 0.0)
        host.take()
        noise = stream(random)
        at = 0
        while at < len(noise):
            size = random.randrange(1, 64)
            device.feed(noise[at : at + size], at / 1000)
            host.received(noise[at : at + size], at / 1000)
            host.tick(at / 1000)
            at += size
        assert device._decoder.pending < COMMAND_LIMIT
        assert host._decoder.pending < REPLY_LIMIT
        said += b"GO" in host.take()
    return len(moves), said


def main() -> int:
    """Parse, run, print; 1 if anything moved."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--streams", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    moves, said = run(args.streams, seed=args.seed)
    sys.stdout.write(f"streams {args.streams} seed {args.seed} moves {moves} commands {said}\n")
    return 1 if moves or said else 0


if __name__ == "__main__":
    sys.exit(main())
