"""The room of permits: what an agent is allowed at this moment, in one transaction with the state of its latch."""

from __future__ import annotations

from datetime import datetime

from alerthub.domain import permit
from alerthub.domain.rules import PermitRule
from alerthub.store import latches, permits
from alerthub.store.tx import Tx


def lease(tx: Tx, rule: PermitRule, target: str, now: datetime) -> permit.Lease:
    """Safe until a release is confirmed. The number comes first: with replicas, of two leases the later one has seen all that the
    other one saw."""
    sequence = permits.next_sequence(tx, target, now)
    latch = latches.find(tx, target)
    mode = permit.Mode.safe if latch is not None and latch.state.is_safe else permit.Mode.armed
    return permit.lease(target, mode, now, rule.ttl, sequence)
