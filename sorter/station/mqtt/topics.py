"""Where a station's messages go and what they say: its state, its items, what Home Assistant reads.

Owns names and texts. Sends nothing.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sorter import __version__
from sorter.errors import UsageError
from sorter.station.health.status import StationStatus
from sorter.station.mqtt.cursor import Cursor

OFFLINE = "offline"
_SHORT = ("n", "state", "label", "bin_decided", "bin_moved", "why", "done_at")
_ONLINE, _DEGRADED = "online", "degraded"


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one station. `discovery` is Home Assistant's own prefix, "" for nobody."""

    station: str
    prefix: str = "sorter"
    discovery: str = "homeassistant"

    def check(self) -> None:
        """Raise UsageError for names that no topic can hold."""
        if not self.station:
            raise UsageError("--mqtt: name the station with --station, its topics are called so")
        for option, text, more in (
            ("--station", self.station, "/"),
            ("--mqtt-prefix", self.prefix, ""),
            ("--mqtt-discovery", self.discovery, ""),
        ):
            bad = sorted({c for c in text if c in "+#" + more or not c.isprintable()})
            if bad or text.startswith(("$", "/")) or text.endswith("/"):
                raise UsageError(f"{option} {text!r}: no topic of MQTT can be called so")
        if not self.prefix:
            raise UsageError("--mqtt-prefix: give a word, such as sorter")
        if len(f"{self.prefix}/{self.station}".encode()) > 200:
            raise UsageError(f"--station {self.station!r}: too long for a topic")

    @property
    def status(self) -> str:
        """Kept by the broker: how the station is."""
        return f"{self.prefix}/{self.station}/status"

    @property
    def item(self) -> str:
        """Each record, once."""
        return f"{self.prefix}/{self.station}/item"

    @property
    def last(self) -> str:
        """Kept by the broker: the last record, and how far all were told."""
        return f"{self.prefix}/{self.station}/last"

    @property
    def client(self) -> str:
        """The name of its connection."""
        return f"{self.prefix}-{self._id}"

    @property
    def _id(self) -> str:
        """Of the letters that Home Assistant allows, and unlike another station's."""
        plain = re.sub(r"[^A-Za-z0-9_-]", "_", self.station)
        full = f"{self.prefix}/{self.station}".encode()
        return plain if plain == self.station else f"{plain}_{zlib.crc32(full):08x}"

    def discovered(self) -> tuple[str, str]:
        """Topic and text by which Home Assistant makes a device of the station."""
        key = f"{re.sub(r'[^A-Za-z0-9_-]', '_', self.prefix)}_{self._id}"

        def sensor(name: str, platform: str, topic: str, template: str, **more: Any) -> Any:
            return {
                "platform": platform,
                "name": name,
                "unique_id": f"{key}_{name.lower().replace(' ', '_')}",
                "state_topic": topic,
                "value_template": template,
                **more,
            }

        components = {
            "problem": sensor(
                "Problem",
                "binary_sensor",
                self.status,
                "{{ 'ON' if value_json.problems else 'OFF' }}",
                device_class="problem",
                json_attributes_topic=self.status,
            ),
            "device": sensor(
                "Device",
                "binary_sensor",
                self.status,
                "{{ 'ON' if value_json.link_ready else 'OFF' }}",
                device_class="connectivity",
            ),
            "item": sensor(
                "Last item",
                "sensor",
                self.last,
                "{{ value_json.label or 'unknown' }}",
                json_attributes_topic=self.last,
            ),
            "bin": sensor(
                "Last bin", "sensor", self.last, "{{ value_json.bin_moved or 'not moved' }}"
            ),
            "record": sensor("Last record", "sensor", self.last, "{{ value_json.state }}"),
            "number": sensor(
                "Items",
                "sensor",
                self.last,
                "{{ value_json.n }}",
                state_class="total_increasing",
            ),
        }
        message = {
            "device": {
                "identifiers": [key],
                "name": f"Sorter {self.station}",
                "manufacturer": "sorter",
                "model": "waste sorting station",
                "sw_version": __version__,
            },
            "origin": {"name": "sorter", "sw_version": __version__},
            "availability": [
                {
                    "topic": self.status,
                    "value_template": "{{ 'offline' if value_json.state == 'offline'"
                    " else 'online' }}",
                }
            ],
            "components": components,
            "qos": 1,
        }
        return f"{self.discovery}/device/{key}/config", _text(message)


def status_text(status: StationStatus | None) -> str:
    """What `status` holds; of None that the station is offline, with the same keys."""
    problems = status.problems() if status else []
    return _text(
        {
            "state": (_DEGRADED if problems else _ONLINE) if status else OFFLINE,
            "problems": problems,
            "kinds": [kind.value for kind in status.troubles()] if status else [],
            "link": status.link if status else "",
            "link_ready": status.link_ready if status else False,
            "folder": status.folder if status else "",
            "model": status.model if status else "",
            "version": __version__,
        }
    )


def item_text(row: Mapping[str, Any], sid: str) -> str:
    """What `item` holds: the journal's row, and which journal."""
    return _text({**row, "sid": sid})


def last_text(row: Mapping[str, Any], told: Cursor) -> str:
    """What `last` holds: in short the same, and the cursor with this record told.

    With the item's own message it must fit one packet of the network (see `Line.publish`).
    """
    return _text({**{name: row[name] for name in _SHORT}, **asdict(told)})


def _text(message: Mapping[str, Any]) -> str:
    # A name that is no UTF-8 becomes escapes, which any reader of JSON takes.
    return json.dumps(message, ensure_ascii=True)
