"""The link and the device over a line that fails, in simulated time: who moved, who says so.

    python -m tests.soak.link --items 20000 --seed 1

Real session, exchange, codec, device and faulty line; only the clock is ours. The witness is the
device's own report of each movement's start, never what the host believes. Exit code 1 if a
promise is broken.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from math import inf
from random import Random

from sorter.actuator.protocol import Verb
from sorter.actuator.session import Exchange, Session, State
from sorter.actuator.simulator.cable import Faults, NoisyLine, stray_reply
from sorter.actuator.simulator.device import Device
from sorter.actuator.simulator.eeprom import Kept, Ram
from sorter.domain import Delivery, Movement

ROUGH = Faults(
    drop_in=0.2,
    drop_out=0.2,
    flip=1e-3,
    delay_s=0.25,
    duplicate=0.05,
    noise=0.02,
    stray=0.02,
    rejected=0.1,
    reset=0.004,
)


@dataclass
class Tally:
    """What a run showed; `broken` lists every promise that did not hold."""

    items: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    moves: Counter[int] = field(default_factory=Counter)
    resets: int = 0
    restarts: int = 0
    stops: int = 0
    longest_s: float = 0.0
    simulated_s: float = 0.0
    broken: list[str] = field(default_factory=list)


class World:
    """Host, cable and device in one simulated second after another."""

    def __init__(
        self, *, seed: int, faults: Faults, ram: bool, restart: float, device: type[Device]
    ) -> None:
        self.now = 0.0
        self.tally = Tally()
        self.current = 0
        self.hit = False  # a reset or a restart fell into the current item
        self._random = Random(seed)
        self._faults = faults
        self._restart = restart
        self._reset_at = inf
        self._boots = 0
        self._finished: set[int] = set()
        self.device = device(
            memory=Ram() if ram else Kept(),
            report=self._witness,
            new_boot=self._new_boot,
        )
        self._inward = NoisyLine(faults, self._random, inward=True)
        self._outward = NoisyLine(faults, self._random, inward=False)
        self.session = Session("soak", 1)
        self.device.power_on(self.now)
        self.session.opened(self.now)

    def _new_boot(self) -> str:
        self._boots += 1
        return f"b{self._boots}"

    def _witness(self, event: str, n: int | None, bin_number: int | None) -> None:
        if event == "done" and n:
            self._finished.add(n)
        if event == "move" and n:
            self.tally.moves[n] += 1
            if n != self.current:
                self.tally.broken.append(f"{n} moved while {self.current} was current")
            if self._random.random() < self._faults.reset:
                self._reset_at = self.now + self._random.random() * self.device.move_s * 1.5

    def step(self, until: float = inf) -> None:
        """Go to the next instant at which anything happens, `until` at the latest."""
        session, device, inward, outward = self.session, self.device, self._inward, self._outward
        at = min(
            session.wake_at,
            device.wake_at,
            inward.wake_at,
            outward.wake_at,
            self._reset_at,
            until,
        )
        self.now = now = max(self.now, at)
        if now >= self._reset_at:
            self._reset_at = inf
            self.tally.resets += 1
            self.hit = True
            inward.clear()
            outward.clear()
            device.power_on(now)
        if inward.wake_at <= now:
            device.feed(inward.get(now), now)
        if device.wake_at <= now:
            device.tick(now)
        for line in device.take():
            outward.put(line, now)
            chance = self._faults.rejected if line.startswith(b"NAK - ") else self._faults.stray
            if chance and self._random.random() < chance:
                outward.put(stray_reply(self._random, self.current or 1), now)
        if outward.wake_at <= now:
            session.received(outward.get(now), now)
        if session.wake_at <= now:
            session.tick(now)
        if session.broken:
            self._reopen(session.broken)
        self._carry()

    def _carry(self) -> None:
        data = self.session.take()
        if data:
            for line in data.splitlines(keepends=True):
                self._inward.put(line, self.now)

    def _reopen(self, why: str) -> None:
        self.session.lost(why, self.now)
        self._inward.clear()
        self._outward.clear()
        self.session.opened(self.now)

    def restart_host(self, next_n: int) -> None:
        """Kill the host; what it wrote is still in the cable when the next one opens the port."""
        self.tally.restarts += 1
        self.hit = True
        self._carry()
        self.session = Session("soak", next_n)
        self.session.opened(self.now)

    def item(self, n: int) -> None:
        """One item from SENT to its one outcome."""
        random = self._random
        self.current, self.hit = n, False
        bin_number = random.randrange(1, 5)
        begun = self.now
        while True:
            while not self.session.status.ready:
                self._clear_fault()
                self.step(self.now + 1.0)
            answer = self.session.move(
                n, bin_number, boot=self.session.boot, deadline=self.now + 5.0, now=self.now
            )
            if isinstance(answer, Exchange):
                break
            self.step(self.now + 0.1)
        self._carry()
        # A reset just before, its BOOT lost on the way, hits this item as one during it would.
        self.hit = self.session.boot != f"b{self._boots}"
        dies_at = self.now + random.random() if random.random() < self._restart else inf
        result = self._wait(answer, dies_at)
        if result is None:
            boot = self.session.boot
            self.restart_host(n + 1)
            result = self._wait(self.session.ask(n, boot=boot, now=self.now), inf)
        assert result is not None
        self._judge(n, result)
        self.tally.longest_s = max(self.tally.longest_s, self.now - begun)
        pause_until = self.now + random.random() * 0.2
        while self.now < pause_until:
            self.step(pause_until)

    def _clear_fault(self) -> None:
        """Play the operator: a flipped bit makes '1' into '!', and the device rightly stops."""
        if self.session.state is State.FAULT:
            order = self.session.order(Verb.CLEAR, now=self.now)
            if isinstance(order, Exchange):
                self.tally.stops += 1
                self._carry()
                self._wait(order, inf)

    def _wait(self, exchange: Exchange, dies_at: float) -> Movement | None:
        while exchange.result is None:
            self.step(dies_at)
            if self.now >= dies_at:
                return None
        self.session.finish()
        return exchange.result

    def _judge(self, n: int, result: Movement) -> None:
        tally = self.tally
        tally.items += 1
        tally.outcomes[result.delivery.value] += 1
        moved = tally.moves.pop(n, 0)
        finished = n in self._finished
        self._finished.discard(n)
        if moved > 1:
            tally.broken.append(f"{n} moved {moved} times")
        if result.delivery is Delivery.DONE and not finished:
            tally.broken.append(f"{n} is DONE, yet no movement was finished")
        if result.delivery is Delivery.REFUSED and moved:
            tally.broken.append(f"{n} is REFUSED, yet it moved: {result.detail}")
        if result.delivery is Delivery.NOT_SENT:
            tally.broken.append(f"{n} is NOT_SENT after it was sent")
        if result.delivery is Delivery.UNCERTAIN and not self.hit:
            tally.broken.append(f"{n} is UNCERTAIN without a reset or restart: {result.detail}")


def run(
    items: int,
    *,
    seed: int,
    faults: Faults = ROUGH,
    ram: bool = False,
    restart: float = 0.002,
    wall_s: float = inf,
    device: type[Device] = Device,
) -> Tally:
    """`items` items, or as many as fit into `wall_s` seconds of real time."""
    world = World(seed=seed, faults=faults, ram=ram, restart=restart, device=device)
    over_at = time.monotonic() + wall_s
    for n in range(1, items + 1):
        world.item(n)
        if n % 256 == 0 and time.monotonic() > over_at:
            break
    tally = world.tally
    tally.simulated_s = world.now
    tally.broken += [f"{n} moved again after its outcome" for n in tally.moves]
    return tally


def main() -> int:
    """Parse, run, print; 1 if a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ram", action="store_true", help="a device that forgets at each reset")
    parser.add_argument("--restart", type=float, default=0.002, help="chance of a host restart")
    parser.add_argument("--wall", type=float, default=inf, help="stop after so many seconds")
    args = parser.parse_args()
    started = time.monotonic()
    tally = run(args.items, seed=args.seed, ram=args.ram, restart=args.restart, wall_s=args.wall)
    took_s = time.monotonic() - started
    out = sys.stdout.write
    out(f"items {tally.items} seed {args.seed} memory {'RAM' if args.ram else 'EEPROM'}\n")
    out(f"outcomes {dict(sorted(tally.outcomes.items()))}\n")
    out(f"resets {tally.resets} host restarts {tally.restarts} faults cleared {tally.stops}\n")
    out(f"longest item {tally.longest_s:.1f} s, simulated {tally.simulated_s / 3600:.1f} h\n")
    out(f"broken promises {len(tally.broken)}\n")
    for line in tally.broken[:20]:
        out(f"  {line}\n")
    out(f"{tally.items / took_s:.0f} items/s of real time\n")
    return 1 if tally.broken else 0


if __name__ == "__main__":
    sys.exit(main())
