"""How an attempt to deliver ended, written down: told, tried again later, told differently, or given up with an alarm."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from alerthub.domain import own
from alerthub.domain.delivery import EDITED, DeliveryState, Lane, Next, Verdict, after_failure
from alerthub.domain.message import Message, Receipt, Why
from alerthub.domain.rules import Destination, Rules
from alerthub.errors import Failure, SendFailed
from alerthub.flow.intake import take_in
from alerthub.store import deliveries, destinations, lanes
from alerthub.store.tx import Tx


@dataclass(frozen=True, slots=True)
class Share:
    """One lane's part in a sending: what it will know when it has succeeded, and when it is told again without news.
    `began` as its delivery has it."""

    lane: Lane
    attempt: int
    up_to: int
    episode: int
    repeat_after: timedelta | None
    began: datetime
    pages: bool      # the first telling of an open incident: worth trying for longer than an update

    def is_in(self, held: Mapping[int, lanes.Mark]) -> bool:
        """Whether it is still this attempt that counts, by what `lanes.hold` has found."""
        return held.get(self.lane.id) == (self.attempt, self.began)


@dataclass(frozen=True, slots=True)
class Sending:
    """One message to one destination: for one lane, or in a storm for many."""

    destination: Destination
    message: Message
    previous: Receipt | None
    shares: tuple[Share, ...]
    send_by: datetime       # later than this the lease could end during the attempt: whoever was paused must not send


@dataclass(frozen=True, slots=True, eq=False)
class Ended:
    """An attempt to deliver that has ended, as it is to be written down. `dice`: from 0 to 1, for the pause before the next."""

    rules: Rules
    sending: Sending
    receipt: Receipt | None
    error: SendFailed | None
    dice: float

    @property
    def lane_ids(self) -> list[int]:
        return [share.lane.id for share in self.sending.shares]


def settle_together(tx: Tx, ended: Sequence[Ended], now: datetime, *, waits: bool = False) -> list[bool | None]:
    """Write how they ended, for every lane that took part and is still ours: for each whether it became a dead letter. None for
    one of whose lanes another transaction holds: nothing of it is written, unless this one `waits`. To wait for it while lanes
    of others are held here could be to wait for whoever waits for these."""
    held = lanes.hold(tx, [lane_id for one in ended for lane_id in one.lane_ids], waits=waits)
    can = [one for one in ended if waits or held.keys() >= set(one.lane_ids)]
    told = [one for one in can if one.error is None]
    settle_told(tx, told, held, now)
    dead = {id(one): settle_failures(tx, one, one.error, held, now) for one in can if one.error is not None}
    return [dead.get(id(one), False) if one in can else None for one in ended]


def settle_told(tx: Tx, told: Sequence[Ended], held: Mapping[int, lanes.Mark], now: datetime) -> None:
    shares = [(one.sending, share, one.receipt or Receipt(), share.is_in(held))
              for one in told for share in one.sending.shares]
    lanes.settle_told(tx, [told_row(tx, sending, share, receipt, now) for sending, share, receipt, is_ours in shares if is_ours])
    deliveries.finish(tx, [
        {"lane": share.lane.id, "ours": share.attempt, "began": share.began, "finished_at": now, "failure": "",
         "is_dead_letter": False, "state": (DeliveryState.sent if is_ours else DeliveryState.unknown).value,
         "detail": told_detail(sending, share, receipt)} for sending, share, receipt, is_ours in shares])
    places = {one.sending.destination.key: one for one in told}
    for key in destinations.work(tx, places, now):
        for one in told:
            for lane_id in one.lane_ids if one.sending.destination.key == key else ():
                deliveries.no_dead_letters(tx, lane_id)
        works = own.delivery_works(key, places[key].sending.destination.channel, now)
        take_in(tx, places[key].rules, [own.own_batch([works], now)], now)


def told_row(tx: Tx, sending: Sending, share: Share, receipt: Receipt, now: datetime) -> dict[str, Any]:
    """What the lane knows now, and when it is told again without news."""
    is_edit = only_edits(sending.message, share)
    told_at = (deliveries.last_told(tx, share.lane.id) if is_edit and share.repeat_after else None) or now
    keep = share.lane.receipt if sending.message.why is Why.digest else receipt
    return {"lane": share.lane.id, "ours": share.attempt, "told": share.up_to, "moment": now,
            "repeat_at": told_at + share.repeat_after if share.repeat_after else None, "told_episode": share.episode,
            "repeats": share.lane.repeats + (sending.message.why is Why.repeat),
            "receipt": json.dumps(keep.handle) if keep is not None else None}


def told_detail(sending: Sending, share: Share, receipt: Receipt) -> str:
    return "; ".join(filter(None, (EDITED if only_edits(sending.message, share) else "", receipt.handle.get("refused", ""))))


def settle_failures(tx: Tx, ended: Ended, error: SendFailed, held: Mapping[int, lanes.Mark], now: datetime) -> bool:
    rules, sending = ended.rules, ended.sending
    verdicts = [settle_failed(tx, rules, sending, share, error, now, ended.dice) for share in sending.shares if share.is_in(held)]
    pause = max((verdict.pause_destination_until for verdict in verdicts if verdict and verdict.pause_destination_until),
                default=None)
    is_ours = any(verdict is not None for verdict in verdicts)      # whoever was overtaken knows nothing new of the destination
    if is_ours and error.reason not in (Failure.stale_handle, Failure.content):
        destinations.failed(tx, sending.destination.key, now, error.detail, pause)
    dead = any(verdict is not None and verdict.next is Next.dead for verdict in verdicts)
    if dead:
        alarm(tx, rules, sending.destination, error, now)
    return dead


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
    deliveries.finish(tx, [{
        "lane": lane.id, "ours": share.attempt, "began": share.began, "state": state.value, "finished_at": now,
        "failure": error.reason.value, "detail": error.detail, "is_dead_letter": verdict.next is Next.dead}])
    return verdict


def alarm(tx: Tx, rules: Rules, destination: Destination, error: SendFailed, now: datetime) -> None:
    """Say through another channel that this one does not work. One incident per destination, however many letters."""
    take_in(tx, rules, [own.own_batch([own.delivery_failed(
        destination.key, destination.channel, f"{error.reason.value}: {error.detail}")], now)], now)
