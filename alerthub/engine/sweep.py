"""WHEN what fires already is looked at: after the start and after a reload, beside everything else, a bite at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable

from alerthub.clock import Clock
from alerthub.domain.rules import Rules
from alerthub.engine.doorway import note_events
from alerthub.errors import Busy
from alerthub.flow import late
from alerthub.metrics import Metrics
from alerthub.store.database import Store, Unit
from alerthub.store.tx import briefly

logger = logging.getLogger("alerthub.engine")
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0      # seconds after a bite that could not be taken now, doubled each time


def bite(rules: Rules, clock: Clock, after: int) -> Unit[late.Swept]:
    return briefly(lambda tx: late.sweep(tx, rules, clock.now(), after))


async def sweep(store: Store, rules: Rules, clock: Clock, metrics: Metrics, nudge: Callable[[], None]) -> None:
    """Latch what alerts that fire already call for. What cannot be done now is tried again until it is done; no error ends it."""
    after: int | None = 0
    pause = FIRST_PAUSE
    while after is not None:
        try:
            swept = await store.write(bite(rules, clock, after))
        except Busy as error:
            logger.warning("alerts that fire already cannot be looked at now: %s", error, extra={"event": "sweep.busy"})
            await clock.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 2)
            continue
        except Exception:
            metrics.errors.labels("sweep").inc()
            logger.exception("looking at alerts that fire already failed unexpectedly; it is tried again", extra={
                "event": "sweep.failed"})
            await clock.sleep(LONGEST_PAUSE)
            continue
        after, pause = swept.next, FIRST_PAUSE
        note_events(metrics, swept.events)
        if swept.events:
            nudge()
