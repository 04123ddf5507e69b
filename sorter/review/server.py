"""The page over HTTP: a handful of fixed answers to whoever knows the token.

Owns sockets, headers and who may ask. The standard library's server is enough, and a framework
would not earn its place: one person, no templates, no uploads, and no path of a request ever
reaches the file system, since pictures are asked for by content hash and the page's own files by
a fixed list. What a framework would not do for us is here in one screen: token, host, origin, size.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import logging
import secrets
import socket
import socketserver
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from sorter.errors import EnvironmentFault, ImageError, UsageError
from sorter.review.page import Page

log = logging.getLogger(__name__)

MAX_BODY = 4096
IDLE_S = 20.0
"""A connection that says nothing for so long is closed."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # The address holds the token, so it is never passed on as a referrer.
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class ReviewServer(ThreadingHTTPServer):
    """Serves `page` on host:port (0: any free one) until `finish` or `shutdown`.

    `url` is where it is, token included. Raises EnvironmentFault where the port cannot be had.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, page: Page, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.page = page
        self.token = secrets.token_urlsafe(32)
        try:
            self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise EnvironmentFault(
                f"{host} port {port}: cannot be served on ({reason}); choose others with --host "
                "and --port"
            ) from error
        self._names = {"localhost", host.lower(), socket.gethostname().lower()}
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.server_address[1]}/{self.token}/"

    def server_bind(self) -> None:
        """Bind without asking a name server who we are, which can take long without one."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def knows_host(self, header: str) -> bool:
        """Whether a Host header names us: a numeric address, localhost, or our own name.

        A page elsewhere whose name is made to point here (DNS rebinding) sends its own name.
        The port is free, so that a forwarded one (`ssh -L`) works.
        """
        try:
            name = urlsplit(f"//{header}").hostname or ""
        except ValueError:
            return False
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def finish(self) -> None:
        """End `serve_forever` from a request."""
        Thread(target=self.shutdown, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """A browser that goes away in mid-answer is not an error; anything else is a bug to log."""
        error = sys.exc_info()[1]
        if not isinstance(error, (ConnectionError, TimeoutError)):
            log.exception("a request failed")


class _Handler(BaseHTTPRequestHandler):
    server: ReviewServer
    server_version = "sorter"
    sys_version = ""
    timeout = IDLE_S

    def do_GET(self) -> None:
        rest = self._admit()
        if rest is None:
            return
        page = self.server.page
        asset = page.asset(rest)
        if asset is not None:
            self._send(HTTPStatus.OK, *asset)
        elif rest == "state":
            self._send_json(page.state())
        elif rest.startswith(("picture/", "thumb/")):
            kind, _, digest = rest.partition("/")
            try:
                picture = (page.picture if kind == "picture" else page.thumb)(digest)
            except ImageError:
                picture = None
            if picture is None:
                self._refuse(HTTPStatus.NOT_FOUND, "not the picture in turn")
            else:
                self._send(HTTPStatus.OK, picture, "image/jpeg")
        else:
            self._refuse(HTTPStatus.NOT_FOUND, page.said["no page"])

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        rest = self._admit()
        if rest is None:
            return
        if rest not in ("label", "skip", "undo", "teach", "finish"):
            self._refuse(HTTPStatus.NOT_FOUND, "no such answer")
            return
        body = self._body()
        if body is None:
            return
        if rest == "finish":
            self._send_json(self.server.page.state())
            self.server.finish()
            return
        digest, code, also = body.get("id", ""), body.get("code", ""), body.get("also", [])
        others = {str(one) for one in also} if isinstance(also, list) else set()
        try:
            state = self.server.page.act(rest, str(digest), str(code), others)
        except UsageError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
            return
        self._send_json(state)

    def _admit(self) -> str | None:
        """The path after the token; None, and refused, for whoever may not ask."""
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1 or not self.server.knows_host(hosts[0]):
            self._refuse(HTTPStatus.FORBIDDEN, "this address is not served here")
            return None
        token, slash, rest = self.path.removeprefix("/").partition("/")
        known = hmac.compare_digest(token.encode(), self.server.token.encode())
        if not known or not slash:
            self._refuse(HTTPStatus.FORBIDDEN, self.server.page.said["address"])
            return None
        origin = self.headers.get("Origin")
        if origin is not None and origin != f"http://{hosts[0]}":
            self._refuse(HTTPStatus.FORBIDDEN, "another site may not ask")
            return None
        return rest

    def _body(self) -> dict[str, Any] | None:
        """The request's JSON object; None, and refused, for anything else."""
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip()
        length = self.headers.get("Content-Length", "")
        if kind != "application/json":
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "JSON only")
        elif not (length.isascii() and length.isdigit()):
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "say how long")
        elif int(length[:9]) > MAX_BODY:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too long")
        else:
            try:
                body = json.loads(self.rfile.read(int(length)))
            except (ValueError, RecursionError):
                body = None
            if isinstance(body, dict):
                return body
            self._refuse(HTTPStatus.BAD_REQUEST, "not a JSON object")
        return None

    def _send_json(self, value: dict[str, Any]) -> None:
        self._send(HTTPStatus.OK, json.dumps(value).encode(), "application/json")

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self._send(status, f"{reason}\n".encode(), "text/plain; charset=utf-8")

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing a request: the line would hold the token."""
