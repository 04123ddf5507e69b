"""What `sorter review` serves, and to whom: its token, its fixed list, a picture drawn anew."""

from __future__ import annotations

import io
from collections.abc import Generator
from pathlib import Path

import pytest
from PIL import Image

from tests.support.review_stand import Sitting, make_ring, sitting
from tests.support.tiny import paint

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Generator[Sitting]:
    """One sitting for the questions that change nothing."""
    folder = tmp_path_factory.mktemp("served")
    with sitting(make_ring(folder / "ring"), folder / "data") as it:
        yield it


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", {}, 403),
        ("/wrong/state", {}, 403),
        ("/wrong/", {}, 403),
        ("{token}", {}, 403),
        ("{token}x/state", {}, 403),
        ("{token}/state", {"Host": "evil.example"}, 403),
        ("{token}/state", {"Host": "evil.example:80"}, 403),
        ("{token}/state", {"Host": "[::1"}, 403),
        ("{token}/state", {"Origin": "http://evil.example"}, 403),
        ("{token}/state", {"Origin": "null"}, 403),
        ("{token}/state", {"Host": "localhost:1"}, 200),
        ("{token}/../../../etc/passwd", {}, 404),
        ("{token}/..%2f..%2fetc%2fpasswd", {}, 404),
        ("{token}/picture/../../words.toml", {}, 404),
        ("{token}/picture/%2e%2e/ring", {}, 404),
        ("{token}//etc/passwd", {}, 404),
        ("{token}/index.html", {}, 404),
        ("{token}/state%00", {}, 404),
    ],
)
def test_only_the_holder_of_the_token_gets_only_what_is_listed(
    tmp_path: Path, served: Sitting, path: str, headers: dict[str, str], status: int
) -> None:
    it = served
    whole = path.format(token=it.path.rstrip("/"))
    found, sent, body = it.ask("GET", "", path=whole, headers=headers)
    assert found == status
    assert b"root:" not in body
    assert sent["content-security-policy"].startswith("default-src 'none'")
    assert sent["x-content-type-options"] == "nosniff"
    assert sent["referrer-policy"] == "no-referrer"
    assert sent["cache-control"] == "no-store"


def test_nothing_can_be_uploaded(served: Sitting) -> None:
    it = served
    json_type = {"Content-Type": "application/json"}
    assert it.ask("POST", "label", b"x", headers={"Content-Type": "image/jpeg"})[0] == 415
    assert it.ask("POST", "label", b"{" * 5000, headers=json_type)[0] in (400, 413)
    assert it.ask("POST", "label", b"[" * 4000, headers=json_type)[0] == 400
    assert it.ask("POST", "label", b"[]", headers=json_type)[0] == 400
    assert it.ask("POST", "upload", b"{}", headers=json_type)[0] == 404
    assert it.ask("PUT", "picture/x", b"{}", headers=json_type)[0] == 501
    assert it.ask("DELETE", "state")[0] == 501
    shown = it.state()["picture"]["id"]
    for code in ("../../x", "0001/..", "", "nowhere"):
        assert it.ask("POST", "label", {"id": shown, "code": code})[0] == 400
    assert it.state()["counts"]["labelled"] == 0


def test_the_picture_is_drawn_anew_upright(tmp_path: Path) -> None:
    ring = tmp_path / "ring"
    ring.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "secret"
    paint(ring / "a.jpg", (200, 30, 30), size=(64, 32), exif=exif)
    with sitting(ring, tmp_path / "data") as it:
        status, headers, body = it.ask("GET", f"picture/{it.state()['picture']['id']}")
        assert status == 200 and headers["content-type"] == "image/jpeg"
        assert it.ask("GET", "picture/" + "0" * 64)[0] == 404
    with Image.open(io.BytesIO(body)) as drawn:
        assert drawn.size == (448, 896)
    assert b"secret" not in body
