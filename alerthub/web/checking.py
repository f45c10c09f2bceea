"""Checking the whole record beside the requests: it may take minutes, so a thread of its own does it, on a connection that
cannot write. One at a time; the last result stays until the hub ends."""

from __future__ import annotations

import logging
import threading
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Any

from alerthub.clock import Clock
from alerthub.domain.record import Finding
from alerthub.errors import AlerthubError, Busy
from alerthub.flow.audit import verify
from alerthub.store.audit import last_anchors, opened_for_reading
from alerthub.store.searching import extent
from alerthub.store.tx import Tx

logger = logging.getLogger("alerthub.audit")
SHOWN = 100     # findings; a record that is all wrong need not be told row by row


@dataclass(frozen=True, slots=True)
class Result:
    """`state`: never, running, done, failed. `findings` is empty when all is as it was written. `extent` is what was checked."""

    state: str = "never"
    started_at: datetime | None = None
    ended_at: datetime | None = None
    by: str = ""
    findings: tuple[Finding, ...] = ()
    is_cut: bool = False
    extent: dict[str, Any] | None = None
    anchors: int = 0
    newest_anchor: str = ""
    problem: str = ""

    def view(self) -> dict[str, Any]:
        both = ("started_at", self.started_at), ("ended_at", self.ended_at)
        times = {name: at.isoformat() if at else None for name, at in both}
        return {"state": self.state, **times, "by": self.by, "is_good": self.state == "done" and not self.findings,
                "findings": [{**asdict(one), "text": str(one)} for one in self.findings], "is_cut": self.is_cut,
                "extent": self.extent, "anchors": self.anchors, "newest_anchor": self.newest_anchor, "problem": self.problem}


class Checking:
    """Of one hub. `start` returns at once."""

    def __init__(self) -> None:
        self.result = Result()
        self.last: Result | None = None         # that has ended
        self.lock = threading.Lock()
        self.ended = threading.Event()

    def start(self, url: str, clock: Clock, by: str) -> bool:
        """Whether it was started: one at a time is enough."""
        with self.lock:
            if self.result.state == "running":
                return False
            self.result = Result("running", clock.now(), by=by)
            self.ended.clear()
        # A daemon: the hub does not wait for it when it ends, and nothing is lost with it.
        threading.Thread(target=self.check, args=(url, clock), name="audit-verify", daemon=True).start()
        return True

    def check(self, url: str, clock: Clock) -> None:
        try:
            with opened_for_reading(url) as tx:
                found = checked(tx, self.result)
        except (AlerthubError, Busy) as error:
            found = replace(self.result, state="failed", problem=str(error))
        self.result = self.last = replace(found, ended_at=clock.now())
        level = logging.ERROR if found.findings or found.state == "failed" else logging.INFO
        logger.log(level, "the record was checked: %d findings", len(found.findings), extra={
            "event": "record.checked", "by": found.by, "state": found.state, "findings": len(found.findings)})
        self.ended.set()


def checked(tx: Tx, started: Result) -> Result:
    known = extent(tx)
    found = list(islice(verify(tx), SHOWN + 1))
    newest = next(iter(last_anchors(tx, 1)), None)
    return replace(started, state="done", findings=tuple(found[:SHOWN]), is_cut=len(found) > SHOWN, extent=known,
                   anchors=newest.n if newest else 0, newest_anchor=newest.hash if newest else "")
