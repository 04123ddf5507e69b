"""GO to ACK over a pty, with the simulated device in another process.

    python -m tests.soak.latency --items 1000

Prints the median and the 99th percentile of the time from the GO's write to the ACK's read.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sorter.actuator.protocol import Answer, Reply, reply_decoder, seal
from sorter.actuator.serialport import open_port


def main() -> int:
    """Parse, run, print; 1 if the 99th percentile is over 10 ms."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--items", type=int, default=1000)
    args = parser.parse_args()
    waits_ms: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        gate = Path(folder) / "gate"
        command = [sys.executable, "-m", "sorter", "actuator", "simulate"]
        command += ["--link", str(gate), "--move-ms", "1"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as device:
            assert device.stdout
            device.stdout.readline()
            port = open_port(str(gate))
            decoder = reply_decoder()

            def wait_for(answer: Answer) -> None:
                until = time.monotonic() + 5
                while time.monotonic() < until:
                    for message in decoder.feed(port.read(1.0)):
                        if isinstance(message, Reply) and message.answer is answer:
                            return
                raise TimeoutError(answer)

            wait_for(Answer.BOOT)
            port.write(seal("HI s1 1"))
            wait_for(Answer.HI)
            for n in range(1, args.items + 1):
                began = time.perf_counter()
                port.write(seal(f"GO s1 {n} 1"))
                wait_for(Answer.ACK)
                waits_ms.append((time.perf_counter() - began) * 1000)
                time.sleep(0.01)
            port.close()
            device.terminate()
    waits_ms.sort()
    p99 = waits_ms[len(waits_ms) * 99 // 100]
    sys.stdout.write(
        f"GO to ACK, {args.items} items: median {waits_ms[len(waits_ms) // 2]:.2f} ms, "
        f"p99 {p99:.2f} ms, longest {waits_ms[-1]:.2f} ms\n"
    )
    return 1 if p99 > 10 else 0


if __name__ == "__main__":
    sys.exit(main())
