"""How an attempt to deliver ended, written down: told, tried again later, told differently, or given up with an alarm."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from alerthub.domain import own
from alerthub.domain.delivery import EDITED, DeliveryState, Lane, Next, Verdict, after_failure
from alerthub.domain.message import Message, Receipt, Why
from alerthub.domain.rules import Destination, Rules
from alerthub.errors import Failure, SendFailed
from alerthub.flow.intake import take_in
from alerthub.store import destinations, lanes
from alerthub.store.tx import Tx


@dataclass(frozen=True, slots=True)
class Share:
    """One lane's part in a sending: what it will know when it has succeeded, and when it is told again without news."""

    lane: Lane
    attempt: int
    up_to: int
    episode: int
    repeat_after: timedelta | None
    pages: bool      # the first telling of an open incident: worth trying for longer than an update


@dataclass(frozen=True, slots=True)
class Sending:
    """One message to one destination: for one lane, or in a storm for many."""

    destination: Destination
    message: Message
    previous: Receipt | None
    shares: tuple[Share, ...]
    send_by: datetime       # later than this the lease could end during the attempt: whoever was paused must not send


def settle(tx: Tx, rules: Rules, sending: Sending, receipt: Receipt | None, error: SendFailed | None,
           now: datetime, dice: float) -> bool:
    """Write how it ended, for every lane that took part and is still ours. True when it became a dead letter."""
    if error is None:
        for share in sending.shares:
            settle_sent(tx, sending, share, receipt or Receipt(), now)
        if destinations.works(tx, sending.destination.key, now):
            for share in sending.shares:
                lanes.no_dead_letters(tx, share.lane.id)
            take_in(tx, rules, [own.own_batch([own.delivery_works(
                sending.destination.key, sending.destination.channel, now)], now)], now)
        return False
    verdicts = [settle_failed(tx, rules, sending, share, error, now, dice) for share in sending.shares]
    pause = max((verdict.pause_destination_until for verdict in verdicts if verdict and verdict.pause_destination_until),
                default=None)
    is_ours = any(verdict is not None for verdict in verdicts)      # whoever was overtaken knows nothing new of the destination
    if is_ours and error.reason not in (Failure.stale_handle, Failure.content):
        destinations.failed(tx, sending.destination.key, now, error.detail, pause)
    dead = any(verdict is not None and verdict.next is Next.dead for verdict in verdicts)
    if dead:
        alarm(tx, rules, sending.destination, error, now)
    return dead


def settle_sent(tx: Tx, sending: Sending, share: Share, receipt: Receipt, now: datetime) -> None:
    is_edit = only_edits(sending.message, share)
    told_at = (lanes.last_told(tx, share.lane.id) if is_edit and share.repeat_after else None) or now
    repeat_at = told_at + share.repeat_after if share.repeat_after else None
    is_digest = sending.message.why is Why.digest
    keep = share.lane.receipt if is_digest else receipt
    ours = lanes.settle_told(
        tx, share.lane.id, share.attempt, share.up_to, now, repeat_at, told_episode=share.episode,
        repeats=share.lane.repeats + (sending.message.why is Why.repeat),
        receipt=json.dumps(keep.handle) if keep is not None else None)
    state = DeliveryState.sent if ours else DeliveryState.unknown
    detail = "; ".join(filter(None, (EDITED if is_edit else "", receipt.handle.get("refused", ""))))
    lanes.finish_delivery(tx, share.lane.id, share.attempt, state, now, detail=detail)


def only_edits(message: Message, share: Share) -> bool:
    """Nobody is interrupted by it: whoever is to be reminded is reminded when they would have been without it. A repeat is
    itself the reminder, and where somebody is wanted again it begins anew."""
    is_live = share.lane.receipt is not None and share.lane.told_episode == share.episode
    return message.only_edit and is_live and message.why is not Why.repeat and not message.asks_again


def settle_failed(tx: Tx, rules: Rules, sending: Sending, share: Share, error: SendFailed, now: datetime,
                  dice: float) -> Verdict | None:
    lane = replace(share.lane, failures=share.lane.failures + 1, failing_since=share.lane.failing_since or now)
    give_up = rules.give_up_pages if share.pages else rules.give_up_updates
    verdict = after_failure(lane, error, now, dice, give_up)
    columns: dict[str, Any] = {"failures": lane.failures, "failing_since": lane.failing_since, "due_at": verdict.due_at,
                               "not_before": verdict.due_at, "is_dead": verdict.next is Next.dead}
    if verdict.next is Next.degrade:
        columns["is_degraded"] = True
    if verdict.next in (Next.repost, Next.move):
        columns["receipt"] = None
    if verdict.next is Next.dead:       # but for what happened during this attempt: that is tried
        columns |= {"failures": 0, "failing_since": None, "is_degraded": False, "is_dead": lanes.knows_all(share.up_to),
                    "due_at": lanes.due_again(share.up_to, now, None)}
    if verdict.next is Next.move and error.moved_to:
        destinations.moved(tx, sending.destination.key, error.moved_to)
    if not lanes.settle(tx, lane.id, share.attempt, **columns):
        return None
    state = DeliveryState.unknown if error.is_ambiguous else DeliveryState.failed
    lanes.finish_delivery(tx, lane.id, share.attempt, state, now, failure=error.reason.value, detail=error.detail,
                          dead_letter=verdict.next is Next.dead)
    return verdict


def alarm(tx: Tx, rules: Rules, destination: Destination, error: SendFailed, now: datetime) -> None:
    """Say through another channel that this one does not work. One incident per destination, however many letters."""
    take_in(tx, rules, [own.own_batch([own.delivery_failed(
        destination.key, destination.channel, f"{error.reason.value}: {error.detail}")], now)], now)
