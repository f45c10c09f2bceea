"""Which history of PostgreSQL this is. A standby that is promoted begins another one, and the last moments of the old one may be
missing in it: then nobody knows what was told in them."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

from sqlalchemy import update

from alerthub.store.schema import lanes
from alerthub.store.tx import Tx

logger = logging.getLogger("alerthub.store")
TIMELINE = "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)"


class Lineage:
    """The timeline of the server that connections lead to. `changes` counts how often it was found to be another one, `doubted`
    up to which of them `doubt` is committed. For any thread."""

    def __init__(self) -> None:
        self.known = ""
        self.changes = self.doubted = 0

    def look(self, connection: Any, errors: type[Exception]) -> None:
        """Ask over a connection of the driver that is new. Where nobody can say, as in other programs that speak PostgreSQL's
        protocol, nothing is known."""
        found = ""
        with suppress(errors):
            try:
                found = str(connection.execute(TIMELINE).fetchone()[0])
            finally:
                connection.rollback()
        if found and self.known and found != self.known:
            self.changes += 1
            logger.warning("the database is another one since a failover: timeline %s after %s. What had not reached it is lost; "
                           "what waits to be told may have been told", found, self.known, extra={"event": "database.failover"})
        self.known = found or self.known


def doubt(tx: Tx) -> None:
    """What waits to be told may have been told, by whoever held it in the history that is lost. A lease that is over says so."""
    waits = lanes.c.due_at.is_not(None) & (lanes.c.want_seq > lanes.c.told_seq) & lanes.c.lease_until.is_(None)
    tx.conn.execute(update(lanes).where(waits).values(lease_until=lanes.c.due_at))
