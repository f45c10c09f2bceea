"""The room that forgets, by age and in small bites, so that webhooks are never kept waiting."""

from __future__ import annotations

from datetime import datetime, timedelta

from alerthub.domain.rules import Rules
from alerthub.store import accounts, logins, people, pruning, silences
from alerthub.store.tx import Tx

BITE = 100         # incidents, or strays
ROWS = 1_000       # of all tables together: what webhooks wait for at most, 20 ms on a busy machine
HEARD = timedelta(days=3)      # PagerDuty repeats for two (PROTOCOLS 4.2)
ATTEMPTS = timedelta(days=1)
STRAYS = timedelta(days=2)     # long enough for any firing that is late


def prune(tx: Tx, rules: Rules, now: datetime) -> int:
    """Forget one bite of what is older than `database.retention`; how much that was. Zero retention keeps everything."""
    forgotten = pruning.forget_strays(tx, now - STRAYS, BITE)
    people.forget_heard(tx, now - HEARD)
    accounts.forget(tx, now)
    logins.forget_attempts(tx, now - ATTEMPTS)
    if rules.retention:
        silences.forget(tx, now - rules.retention, BITE)
        pruning.forget_quarantine(tx, now - rules.retention)
        accounts.forget_tokens(tx, now - rules.retention)
        logins.forget_events(tx, now - rules.retention, BITE)
        forgotten += pruning.forget_incidents(tx, now - rules.retention, BITE, ROWS)
    return forgotten
