"""The capture program that serves a station's camera: which one, its unit, its settings.

Owns the table of programs and how `--camera` names a camera. The texts are in systemd/camera/;
writes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from sorter.errors import UsageError
from sorter.service.units import ENV_DIR, File, is_plain, shipped

KINDS = (
    "a device (/dev/video0), an address (rtsp://… or http://…), libcamera, rpicam, gphoto2, "
    "or ftp for a camera that uploads"
)

SECRET = 0o600
"""Mode of a camera's settings, which may hold its password; the unit gets them as a credential."""


@dataclass(frozen=True, slots=True)
class CaptureProgram:
    """The program that serves a camera, and where the camera is, in that program's words.

    `packages` are Debian's; `own_unit` is a service that such a package starts by itself and that
    would hold the camera.
    """

    program: str
    source: str
    packages: tuple[str, ...]
    own_unit: str = ""


def parse(text: str) -> CaptureProgram:
    """The camera that `--camera` names. Raises UsageError for one that no program serves."""
    kind, _, rest = text.partition(":")
    if re.match(r"(rtsps?|https?)://", text):
        return _motion(_network_source(text))
    if text.startswith("/dev/"):
        return _motion(f"video_device {_line(text)}\nwidth 640\nheight 480")
    if text == "libcamera":
        return _motion("libcam_device camera0\nwidth 640\nheight 480")
    if text == "rpicam":
        return CaptureProgram("rpicam", "", ("rpicam-apps-lite", "inotify-tools"))
    if kind == "gphoto2":
        return CaptureProgram("gphoto2", _line(rest or "usb:"), ("gphoto2",))
    if kind == "ftp":
        user = rest or "camera"
        if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", user):
            raise UsageError(f"--camera {text!r}: {user!r} is no user's name; such as ftp:camera")
        return CaptureProgram("proftpd", user, ("proftpd-core",), "proftpd")
    raise UsageError(f"--camera {text!r}: name {KINDS}")


def files(
    camera: CaptureProgram, *, folder: PurePosixPath, unit_dir: PurePosixPath, station: str = ""
) -> list[File]:
    """The camera's unit and, where its program reads any, its settings.

    `folder` is the watched one. Raises UsageError where its name cannot stand in a unit.
    """
    if not is_plain(str(folder)) or " " in str(folder):
        raise UsageError(
            f"{str(folder)!r}: the folder of a camera needs plain characters, no space"
        )
    unit = unit_dir / f"{unit_name(station)}.service"
    settings = settings_path(station)
    words = {
        "CONFIG": str(settings),
        "PASSWORDS": str(_passwords(station)),
        "UNIT": unit.stem,
        "FOLDER": str(folder),
        "SOURCE": camera.source,
    }
    run = shipped(f"camera/{camera.program}.run").rstrip()
    text = shipped("camera/camera.service").replace("RUN", run)
    placed = [File(unit, _filled(text, words))]
    if camera.program in ("motion", "proftpd"):
        text = _filled(shipped(f"camera/{camera.program}.conf"), words)
        placed.append(File(settings, text, SECRET))
    return placed


def following(
    camera: CaptureProgram, *, folder: PurePosixPath, station: str = ""
) -> tuple[str, ...]:
    """What to run as root before the unit is started, in order."""
    lines = [f"apt-get install -y --no-install-recommends {' '.join(camera.packages)}"]
    if camera.own_unit:
        lines.append(f"systemctl disable --now {camera.own_unit}")
    if camera.program == "proftpd":
        group = "$(getent group sorter | cut -d: -f3)"
        lines.append(
            f"ftpasswd --passwd --file={_passwords(station)} --name={camera.source} "
            f'--uid=65534 --gid="{group}" --home={folder} --shell=/bin/false'
        )
    return tuple(lines)


def unit_name(station: str) -> str:
    """The unit of a station's camera, as systemctl takes it."""
    return f"sorter-camera@{station}" if station else "sorter-camera"


def settings_path(station: str) -> PurePosixPath:
    """The settings of a station's camera."""
    return ENV_DIR / f"{station or 'sorter'}.camera.conf"


def _passwords(station: str) -> PurePosixPath:
    return ENV_DIR / f"{station or 'sorter'}.camera.passwd"


def _motion(source: str) -> CaptureProgram:
    return CaptureProgram("motion", source, ("motion",), "motion")


def _network_source(url: str) -> str:
    """motion's lines for an address; a user and password in it get a line of their own."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError as error:
        raise UsageError(f"--camera: {error}") from error
    if not host:
        raise UsageError(f"--camera {url!r}: no host; such as rtsp://192.0.2.8/stream")
    lines = [f"netcam_url {_line(parts._replace(netloc=parts.netloc.rpartition('@')[2]).geturl())}"]
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        lines.append(f"netcam_userpass {_line(pair)}")
    return "\n".join(lines)


def _line(text: str) -> str:
    """`text`, fit for one line of a settings file."""
    if not text.isprintable() or text != text.strip():
        raise UsageError(f"--camera: {text!r} holds a character that a settings file cannot")
    return text


def _filled(text: str, words: Mapping[str, str]) -> str:
    """`text` with its words in capitals replaced, all at once: a value may hold such a word."""
    return re.sub(rf"\b({'|'.join(words)})\b", lambda match: words[match[1]], text)
