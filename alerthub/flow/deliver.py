"""The room between incident and channel: claim what is due, render it as it is now, send without a connection held, settle.

A crash after the send and before the settle sends once more, marked; nothing is ever dropped.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from alerthub.channels.base import ATTEMPT_SECONDS, Channel
from alerthub.clock import Clock
from alerthub.domain import own
from alerthub.domain.compose import DIGEST_LINES, Telling, compose, digest, is_asked
from alerthub.domain.delivery import LEASE, Lane, is_wanted, spend, tokens
from alerthub.domain.incident import Incident
from alerthub.domain.message import IncidentStatus, Receipt, Why
from alerthub.domain.route import Route
from alerthub.domain.rules import Destination, Rules
from alerthub.errors import Failure, SendFailed
from alerthub.flow.again import while_busy
from alerthub.flow.intake import take_in
from alerthub.flow.settle import Ended, Sending, Share
from alerthub.flow.slots import FAILING_PLACES, PLACES, SLOTS_EACH, look_at, room_for
from alerthub.flow.telling import Turn, as_told, calls_person, comes_from, read_tellings, repeat_after, routes_to, turn_of
from alerthub.store import deliveries, destinations, doubts, lanes, leases, people
from alerthub.store.schema import lanes as lane_table
from alerthub.store.tx import Tx
from alerthub.telemetry import within

logger = logging.getLogger("alerthub.deliver")
SETTLE_WAITS = (0.2, 0.5, 1.0, 2.0, 4.0)     # seconds
SEND_WITHIN = LEASE - timedelta(seconds=ATTEMPT_SECONDS)
URGENT = 64     # live messages hurried by one claim
ASKED_ALONE = 10    # questions that are told one by one in a storm


@dataclass(frozen=True, slots=True)
class Claimed:
    """What is to be sent now, and how many lanes were looked after: some needed no telling, and more may be due."""

    sendings: Sequence[Sending] = ()
    lanes: int = 0
    failing: frozenset[str] = frozenset()       # those destinations among them that failed last time


def claim(tx: Tx, rules: Rules, slots: Mapping[str, int], under_way: Mapping[str, int], owner: str, now: datetime) -> Claimed:
    """Take what is due, as many per channel as it has slots free, within every destination's budget. `under_way` counts by
    destination: one that hangs takes a few slots of its channel, never all of them."""
    free_slots = dict(slots)
    room = room_for(under_way, slots)
    taken: list[Chosen] = []
    closed = 0
    # A channel that is full must not fill the list: others stand behind it.
    full = {fails: [channel for channel, free in slots.items() if min(free, room[channel, fails]) <= 0]
            for fails in (False, True)}
    working, failing = (lanes.ready(tx, full[fails], now, most, is_failing=fails)
                        for most, fails in ((PLACES, False), (FAILING_PLACES, True)))
    places = [*((place, False) for place in working), *((place, True) for place in failing)]

    def left(told: Destination, fails: bool) -> int:
        return min(free_slots[told.channel], room[told.channel, fails])

    for place, fails, destination, group in look_at(tx, rules, places, left, now):
        if destination is None:
            close(tx, rules, place.key, group, now)
            closed += len(group)
            continue
        most = SLOTS_EACH if place.last_sent_at else 1      # one that never worked shows first whether it does
        allowed = min(tokens(group[0].free_at, destination.every, destination.burst, now), left(destination, fails),
                      most - under_way.get(place.key, 0))
        if allowed <= 0:
            continue
        chosen, is_storm = choose(rules, destination, group, allowed)
        if is_storm and (asked := asked_of(tx, rules, destination, chosen)):
            chosen, is_storm = asked[:allowed], False
        free_slots[destination.channel] -= 1 if is_storm else len(chosen)
        room[destination.channel, fails] -= 1 if is_storm else len(chosen)
        taken.append((destination, chosen, is_storm))
    rows = [due.row for _, chosen, _ in taken for due in chosen]
    leases.lease(tx, lane_table, "id", rows, owner, now + LEASE)
    lanes.unhurry(tx, rows)
    sendings = render(tx, rules, taken, now)
    spent = Counter(sending.destination.key for sending in sendings)
    destinations.set_free(tx, {told.key: spend(chosen[0].free_at, told.every, told.burst, now, spent[told.key])
                        for told, chosen, _ in taken if told.every and spent[told.key]})
    hurried = hurry(tx, rules, free_slots, under_way, owner, now)
    return Claimed([*sendings, *hurried], len(rows) + closed + len(hurried), frozenset(place.key for place in failing))


def hurry(tx: Tx, rules: Rules, free_slots: Mapping[str, int], under_way: Mapping[str, int], owner: str,
          now: datetime) -> list[Sending]:
    """What a person has just changed is shown in the live messages although the budget is used up: an edit and nothing else,
    which spends nothing. The lane stays due, and tells its news in its turn. A pause that a provider asked for is kept, and
    so are the slots: what finds none stays hurried."""
    known = rules.destinations()
    room = Counter({channel: free for channel, free in free_slots.items() if free > 0})
    slots = Counter({key: SLOTS_EACH - under_way.get(key, 0) for key in known})
    chosen: list[lanes.DueLane] = []
    can = [key for key, told in known.items() if told.edits and min(room[told.channel], slots[key]) > 0]
    for due in lanes.hurried(tx, can, now, URGENT):
        destination = known.get(due.lane.destination)
        if destination and destination.edits and min(room[destination.channel], slots[destination.key]) > 0:
            room[destination.channel] -= 1
            slots[destination.key] -= 1
            chosen.append(due)
    leases.lease(tx, lane_table, "id", [due.row for due in chosen], owner, now + LEASE)
    lanes.unhurry(tx, [due.row for due in chosen])
    tellings = read_tellings(tx, rules, [due.lane for due in chosen])
    key = people.signing_key(tx) if chosen else b""
    sendings = [sending for due in chosen
                for sending in hurried(tx, rules, known[due.lane.destination], due.lane, tellings[due.lane.id], key, now)]
    deliveries.lose_attempts(tx, [sending.shares[0].lane for sending in sendings if sending.shares[0].lane.was_leased])
    deliveries.insert(tx, [deliveries.sending_row(sending.shares[0].lane, sending.message.why, sending.shares[0].up_to, now)
                                 for sending in sendings])
    return sendings


def hurried(tx: Tx, rules: Rules, destination: Destination, lane: Lane, telling: Telling, key: bytes,
            now: datetime) -> list[Sending]:
    """The edit; none where it would say nothing that is not known there, or what is not wanted there."""
    incident = telling.incident
    destination = as_told(rules, destination, routes_to(rules, destination, telling), telling)
    is_known_there = destination.echoes and (incident.status is IncidentStatus.triggered or comes_from(destination, telling))
    is_unwanted = not destination.answers and not is_wanted(destination, lane, is_open=incident.is_open)
    if is_known_there or is_unwanted or lane.told_episode < incident.episode:
        lanes.settle(tx, lane.id, lane.attempt + 1, due_at=lane.due_at)
        return []
    message = replace(compose(telling, lane, destination, rules, key, now), only_edit=True)
    share = Share(lane, lane.attempt + 1, lane.told_seq, lane.told_episode, None, now, pages=False)
    return [Sending(destination, message, lane.receipt, (share,), now + SEND_WITHIN)]


Chosen = tuple[Destination, Sequence[lanes.DueLane], bool]


def choose(rules: Rules, destination: Destination, group: Sequence[lanes.DueLane], allowed: int) -> tuple[
        Sequence[lanes.DueLane], bool]:
    """The oldest that the budget allows; or, in a storm, many for one summary. A lane whose live message can be edited is
    never put into a summary: its message would stay as it was."""
    loose = [due for due in group if not (destination.edits and due.lane.receipt)]
    if destination.digests and len(loose) > max(rules.storm, allowed) and loose[0] is group[0]:
        return loose[:DIGEST_LINES], True
    return group[:allowed], False


def asked_of(tx: Tx, rules: Rules, destination: Destination, chosen: Sequence[lanes.DueLane]) -> Sequence[lanes.DueLane]:
    """Where a person is asked to agree to something: of a few each is told before the summary, by a message of its own, since
    only that has the buttons. Empty for many: the summary says so."""
    if not any(destination.key == address.key for addresses in rules.contacts.values() for address in addresses):
        return ()
    tellings = read_tellings(tx, rules, [due.lane for due in chosen])
    asked = [due for due in chosen if is_asked(destination.key, tellings[due.lane.id])]
    return asked if len(asked) <= ASKED_ALONE else ()


def close(tx: Tx, rules: Rules, key: str, group: Sequence[lanes.DueLane], now: datetime) -> None:
    """The destination is no longer in the configuration: nothing can be sent there, and nothing is wrong with it."""
    tellings = read_tellings(tx, rules, [due.lane for due in group])
    for due in group:
        lanes.settle(tx, due.lane.id, due.lane.attempt, due_at=None, told_seq=due.lane.want_seq, channel=lanes.GONE)
        reroute(tx, rules, tellings[due.lane.id], now)
    destinations.gone(tx, key)
    take_in(tx, rules, [own.own_batch([own.delivery_works(key, key.partition(":")[0], now)], now)], now)
    logger.warning("destination is not in the configuration any more", extra={
        "event": "lane.closed", "destination": key, "lanes": len(group)})


def reroute(tx: Tx, rules: Rules, telling: Telling, now: datetime) -> None:
    """Who waited for a receiver that was renamed or removed is told where the present routes lead."""
    incident = telling.incident
    if not incident.is_open:
        return
    routes = {route.place: route for line in telling.lines for route in rules.routes(line.labels)}
    told = [destination for route in routes.values() for destination in rules.receivers[route.receiver].destinations]
    lanes.ensure(tx, [lanes.Opening(incident.id, destination, now) for destination in told if destination.key != incident.avoid])
    lanes.mark(tx, [(incident.id, incident.seq)], now)


def render(tx: Tx, rules: Rules, taken: Sequence[Chosen], now: datetime) -> list[Sending]:
    """Read the incidents as they are now and say what each destination shall be told. What needs no telling is settled."""
    tellings = read_tellings(tx, rules, [due.lane for _, chosen, _ in taken for due in chosen])
    key = people.signing_key(tx) if taken else b""
    doubtful = doubts.in_doubt(tx, [due.lane for _, chosen, _ in taken for due in chosen])
    sendings: list[Sending] = []
    for destination, chosen, is_storm in taken:
        shares: list[Share] = []
        quiet: set[int] = set()
        seen_as: dict[int, Destination] = {}      # by lane
        for due in chosen:
            due.lane.is_in_doubt = due.lane.id in doubtful
            telling = tellings[due.lane.id]
            routes = routes_to(rules, destination, telling)
            seen_as[due.lane.id] = as_told(rules, destination, routes, telling)
            turn = turn_of(tx, rules, seen_as[due.lane.id], routes, due.lane, telling, now)
            if turn is not Turn.nothing:
                shares.append(share_of(rules, routes, due.lane, telling.incident, now))
            if turn is Turn.edit:
                quiet.add(due.lane.id)
        moved_to = chosen[0].moved_to
        if is_storm and len(shares) > 1:
            told = [tellings[share.lane.id] for share in shares]
            calls = {due.lane.incident_id for due in chosen if calls_person(seen_as[due.lane.id], tellings[due.lane.id])}
            message = digest(told, [share.lane for share in shares], rules, now, calls)
            sendings.append(Sending(destination, message, handle_of(None, moved_to), tuple(shares), now + SEND_WITHIN))
            continue
        for share in shares:
            message = compose(tellings[share.lane.id], share.lane, seen_as[share.lane.id], rules, key, now)
            message = replace(message, only_edit=True) if share.lane.id in quiet else message
            sendings.append(Sending(destination, message, handle_of(share.lane.receipt, moved_to), (share,), now + SEND_WITHIN))
    deliveries.lose_attempts(tx, [due.lane for _, chosen, _ in taken for due in chosen if due.lane.was_leased])
    deliveries.insert(tx, [deliveries.sending_row(share.lane, sending.message.why, share.up_to, now)
                                 for sending in sendings for share in sending.shares])
    return sendings


def handle_of(receipt: Receipt | None, moved_to: str) -> Receipt | None:
    """The live message; or, when there is none yet, where the destination has moved to."""
    return receipt or (Receipt({"moved_to": moved_to}) if moved_to else None)


def share_of(rules: Rules, routes: Sequence[Route], lane: Lane, incident: Incident, now: datetime) -> Share:
    is_page = incident.is_open and lane.told_episode < incident.episode
    return Share(lane, lane.attempt + 1, incident.seq, incident.episode, repeat_after(rules, routes, incident), now, is_page)


@dataclass(frozen=True, slots=True)
class Sent:
    """How an attempt ended: for metrics and logs."""

    destination: Destination
    why: Why
    failure: Failure | None
    detail: str
    seconds: float
    is_dead_letter: bool = False


Settle = Callable[[Ended], Awaitable[bool]]      # writes it down, and says whether it became a dead letter. Raises Busy.


async def send_one(settle: Settle, rules: Rules, channel: Channel, sending: Sending, clock: Clock) -> Sent:
    """Send and settle. No connection is held while the provider is asked; the whole attempt is bounded (R-21)."""
    began = clock.monotonic()
    receipt, error = await attempt(channel, sending)
    seconds = clock.monotonic() - began
    dead = await settle_later(settle, Ended(rules, sending, receipt, error, clock.random()), clock)
    return Sent(sending.destination, sending.message.why, error.reason if error else None,
                error.detail if error else "", seconds, dead)


async def settle_later(settle: Settle, ended: Ended, clock: Clock) -> bool:
    """Settle, trying again while the database is away and the lease may still be ours: what is settled is not sent twice."""
    return await while_busy(lambda: settle(ended), SETTLE_WAITS, clock)


async def attempt(channel: Channel, sending: Sending) -> tuple[Receipt | None, SendFailed | None]:
    try:
        with within("provider request"):
            async with asyncio.timeout(ATTEMPT_SECONDS):
                return await channel.send(sending.message, sending.previous), None
    except TimeoutError:
        return None, SendFailed(Failure.timeout, f"no answer within {ATTEMPT_SECONDS:.0f} s")
    except SendFailed as error:
        return None, error
