"""A real headless Chromium for tests, driven by the DevTools protocol over a pipe.

Owns the browser process. The pipe needs no port and no web socket, so nothing has to be installed
but Debian's `chromium`; a test that asks for it skips, naming the package, where it is missing.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")

KEYS = {
    "Enter": (13, "\r"),
    "Tab": (9, ""),
    "Escape": (27, ""),
    "Backspace": (8, ""),
    "ArrowLeft": (37, ""),
    "ArrowRight": (39, ""),
    "ArrowDown": (40, ""),
    "ArrowUp": (38, ""),
    " ": (32, " "),
}
"""Keys that are no letter: their code for the protocol, and the text that they enter."""


def find_chromium() -> str:
    """The program; the test skips where there is none."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        pytest.skip("no browser: install the Debian package chromium")
    return found


class Browser:
    """One tab. `console` holds every message, error and refused load that the page caused."""

    def __init__(
        self, profile: Path, *, width: int = 1280, height: int = 800, timeout_s: float = 60.0
    ) -> None:
        self._timeout_s = timeout_s
        self._count = 0
        self._buffer = b""
        self.console: list[str] = []
        self.requests: list[str] = []
        commands, self._to = os.pipe()
        self._from, replies = os.pipe()
        words = [find_chromium(), "--headless=new", "--no-sandbox", "--remote-debugging-pipe"]
        words += ["--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync"]
        words += ["--disable-background-networking", "--disable-component-update"]
        words += [f"--window-size={width},{height}", f"--user-data-dir={profile}", "about:blank"]
        # Chromium reads commands from descriptor 3 and answers on 4.
        script = f'exec "$@" 3<&{commands} 4>&{replies}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", *words],
            pass_fds=(commands, replies),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(replies)
        self._session = ""
        try:
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
            self._session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.close()
            raise

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol; its result. AssertionError with what the browser said."""
        self._count += 1
        number = self._count
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + self._timeout_s
        while True:
            reply = self._read(deadline)
            if reply.get("id") == number:
                assert "error" not in reply, f"{method}: {reply.get('error')}"
                result: dict[str, Any] = reply["result"]
                return result

    def open(self, url: str) -> None:
        """Load a page and wait until it is whole."""
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression (a promise is awaited)."""
        result = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def until(self, expression: str, *, timeout_s: float = 20.0) -> Any:
        """Wait for an expression to be true; its value."""
        deadline = time.monotonic() + timeout_s
        while not (value := self.run(expression)):
            assert time.monotonic() < deadline, f"never true: {expression}"
            time.sleep(0.02)
        return value

    def press(self, key: str, *, modifiers: int = 0) -> None:
        """One key, down and up, as the keyboard sends it: a name of `KEYS` or a character."""
        code, text = KEYS.get(key, (ord(key.upper()) if len(key) == 1 else 0, key))
        press: dict[str, Any] = {"key": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        down = {**press, "type": "keyDown" if text else "rawKeyDown"}
        self.call("Input.dispatchKeyEvent", **down, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", **press, type="keyUp")

    def write(self, text: str) -> None:
        """Each character as a key."""
        for character in text:
            self.press(character)

    def dark(self, wanted: bool) -> None:
        """Let the page believe that the person prefers dark colours, or light ones."""
        value = "dark" if wanted else "light"
        features = [{"name": "prefers-color-scheme", "value": value}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def screenshot(self, file: Path) -> Path:
        """What is on the screen, as a PNG."""
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))
        return file

    def assert_readable_everywhere(self, name: str, folder: Path) -> None:
        """Dark where dark is wanted, never wider than the screen, on a telephone and on a desk.

        Screenshots NAME-*.png go to SORTER_SHOTS, to be looked at, else to `folder`.
        """
        folder = Path(os.environ.get("SORTER_SHOTS", folder))
        for dark in (False, True):
            self.dark(dark)
            paper = self.run("getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, paper[4:-1].split(","))) < 300) is dark
            for width in (360, 1400):
                screen = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
                self.call("Emulation.setDeviceMetricsOverride", **screen)
                fits = self.run("document.documentElement.scrollWidth <= innerWidth")
                assert fits, f"scrolls sideways at {width} px"
                shade = "dark" if dark else "light"
                self.screenshot(folder / f"{name}-{width}-{shade}.png")

    def close(self) -> None:
        """End the browser."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def _read(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            wait = deadline - time.monotonic()
            ready = wait > 0 and select.select([self._from], [], [], wait)[0]
            assert ready, "the browser does not answer"
            data = os.read(self._from, 1 << 20)
            assert data, "the browser ended"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        note = _NOTES.get(message.get("method", ""))
        if note is not None:
            note(self, message["params"])
        return message


def _said(browser: Browser, event: dict[str, Any]) -> None:
    browser.console.append(" ".join(str(a.get("value", a)) for a in event["args"]))


def _threw(browser: Browser, event: dict[str, Any]) -> None:
    browser.console.append(str(event["exceptionDetails"]))


def _logged(browser: Browser, event: dict[str, Any]) -> None:
    browser.console.append(f"{event['entry']['text']} {event['entry'].get('url', '')}")


def _asked(browser: Browser, event: dict[str, Any]) -> None:
    browser.requests.append(event["request"]["url"])


_NOTES: dict[str, Callable[[Browser, dict[str, Any]], None]] = {
    "Runtime.consoleAPICalled": _said,
    "Runtime.exceptionThrown": _threw,
    "Log.entryAdded": _logged,
    "Network.requestWillBeSent": _asked,
}
