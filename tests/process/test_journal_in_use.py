"""A journal that turns out to be damaged under a running `sorter watch`: the station goes on."""

from __future__ import annotations

import contextlib
import sqlite3

from tests.soak.camera import drop, painted
from tests.soak.site import open_site


def test_a_journal_that_is_damaged_while_in_use_is_set_aside_and_the_station_goes_on() -> None:
    with open_site() as site:
        site.start()
        drop(site.camera, "a.png", painted(1))
        site.wait_records(1, 30)
        moved = len(site.moves())
        with contextlib.closing(sqlite3.connect(site.journal, timeout=10)) as db:
            db.execute("DROP INDEX items_sha256")  # As damage to the schema's page would.
        drop(site.camera, "b.png", painted(2))
        # The new journal knows neither; both were there before it, so neither moves under it.
        assert site.wait(
            lambda: (
                sorted((r.name, r.state) for r in site.rows())
                == [("a.png", "EXPIRED"), ("b.png", "EXPIRED")]
            ),
            60,
        ), site.rows()
        drop(site.camera, "c.png", painted(3))
        assert site.wait(lambda: [r.state for r in site.rows()][2:] == ["DONE"], 30), site.rows()
        assert len(site.moves()) == moved + 1
        assert len(list(site.journal.parent.glob("*.damaged-*"))) >= 1
        site.stop()
        assert site.broken == []
