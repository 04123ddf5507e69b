"""A network camera without a camera: an MJPEG stream on loopback whose scene a test changes.

Owns the stream. A frame has a little noise, as a sensor's has.
"""

from __future__ import annotations

import contextlib
import io
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (640, 480)
RATE = 10.0


class PatternCamera:
    """What the camera shows: an empty tray, or a picture that lies on it."""

    def __init__(self) -> None:
        self._tray = np.full((SIZE[1], SIZE[0], 3), 150, np.float32)
        self._scene = self._tray
        self._noise = np.random.default_rng(1)
        self.url = ""

    def show(self, picture: Path | None) -> None:
        """Lay `picture` on the tray, in its middle; None clears it."""
        if picture is None:
            self._scene = self._tray
            return
        with Image.open(picture) as opened:
            item = opened.convert("RGB").resize((260, 260))
        scene = self._tray.copy()
        scene[110:370, 190:450] = np.asarray(item, np.float32)
        self._scene = scene

    def frame(self) -> bytes:
        """The scene now, as JPEG."""
        noisy = self._scene + self._noise.normal(0.0, 2.0, self._scene.shape[:2])[..., None]
        file = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
        return file.getvalue()


@contextlib.contextmanager
def pattern_camera() -> Iterator[PatternCamera]:
    """Serve a camera that shows an empty tray, until the end of the block."""
    camera = PatternCamera()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # The name is the base class's.
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            with contextlib.suppress(OSError):  # whoever watched has gone
                while True:
                    data = camera.frame()
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}"
                    self.wfile.write(head.encode() + b"\r\n\r\n" + data + b"\r\n")
                    time.sleep(1 / RATE)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    camera.url = f"http://127.0.0.1:{server.server_address[1]}/"
    try:
        yield camera
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
