"""The offline judge of a fault: from what was posted, what the counterparts saw and what the database says at the end, which
promise was broken (PROTOCOLS 7.3, 9.1). It looks at histories only, and knows nothing of the hub's code.
"""

from __future__ import annotations

import base64
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from sqlalchemy import create_engine, select

from alerthub.flow.audit import verify
from alerthub.store.address import normal_url
from alerthub.store.audit import opened_for_reading
from alerthub.store.schema import deliveries, incidents, lanes
from tests.kit.faults.record import Entry, Fault, Life, Noticed, Seen, Sent

VISIBLE_WITHIN = 60.0       # seconds: P4
MEBIBYTES = 300.0           # P6: an idle hub has about 110; +200 is what the matrix allows a storm
EXPECTED = {"firing": "triggered", "resolved": "resolved"}
RANK = {"triggered": 0, "acknowledged": 0, "resolved": 1}


@dataclass(frozen=True, slots=True)
class Ended:
    """One incident as the database has it in the end; `untold`: by destination, what it was never told."""

    title: str
    status: str
    is_own: bool = False
    untold: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Allowed:
    """What this fault may cost. `extra`: messages too many in all (one for each that was in flight at a crash). `given_up`:
    destinations that are not told, or not yet; `waits`: what they shall be told still waits in the database. `unsolicited`:
    there are incidents of what the record does not have. `forgotten`: alerts that the database lost after they were told, so that
    they are told again as if they were new."""

    extra: int = 0
    given_up: frozenset[str] = frozenset()
    waits: bool = False
    unsolicited: bool = False
    forgotten: frozenset[str] = frozenset()
    mebibytes: float = MEBIBYTES


@dataclass
class Verdict:
    """Empty `broken`: every promise was kept."""

    lost: int = 0
    doubled: int = 0
    broken: list[str] = field(default_factory=list)

    def say(self, promise: str, found: Iterable[str]) -> int:
        lines = list(found)
        self.broken += [f"{promise}: {line}" for line in lines]
        return len(lines)


def judged(history: Sequence[Entry], ended: Sequence[Ended], destinations: Iterable[str], allowed: Allowed | None = None,
           outputs: Mapping[str, str] | None = None, secrets: Iterable[str] = ()) -> Verdict:
    """`destinations` of the record must each be told of every alert; `outputs`: all that the hub printed and showed."""
    allowed = allowed or Allowed()
    verdict = Verdict()
    sent = [one for one in history if isinstance(one, Sent)]
    seen = named([one for one in history if isinstance(one, Seen) and one.taken])
    wanted = {**{name: "" for one in sent for name in one.status}, **promised(sent)}
    kept = {name: status for name, status in wanted.items() if status}
    told = about(seen, kept)
    verdict.lost = verdict.say("P1", lost_in_database(kept, ended, allowed).values())
    for to in sorted(set(destinations) - allowed.given_up):
        verdict.lost += verdict.say("P1", untold(kept, told, to))
        verdict.say("P3", wrong_end(kept, told, to))
    verdict.say("P1", (f"{one.title} is not in what was posted" for one in ended
                        if not (one.is_own or allowed.unsolicited or one.title in wanted)))
    remembered = kept.keys() - allowed.forgotten
    verdict.doubled = sum(doubles(seen, remembered).values())
    verdict.say("P2", too_many(seen, remembered, allowed))
    verdict.say("P3", out_of_order(seen))
    verdict.say("P4", unseen([one for one in history if isinstance(one, Fault | Noticed)]))
    verdict.say("P5", leaks(outputs or {}, secrets))
    verdict.say("P6", unwell([one for one in history if isinstance(one, Life)], allowed))
    return verdict


# -- P1: nothing that was answered 2xx is lost

def promised(sent: Sequence[Sent]) -> dict[str, str]:
    """By alert, the last that a 2xx was said about. Unless something later was posted without an answer: then nothing is
    promised but that it is one of the two."""
    found: dict[str, str] = {}
    for one in sent:
        for name, status in one.status.items():
            if 200 <= one.answer < 300:
                found[name] = status
            elif found.get(name) not in (None, status):
                found[name] = ""
    return found


def lost_in_database(kept: Mapping[str, str], ended: Sequence[Ended], allowed: Allowed) -> dict[str, str]:
    states: dict[str, list[Ended]] = defaultdict(list)
    for one in ended:
        states[one.title].append(one)
    found = {}
    for name, status in kept.items():
        last = states[name][-1:]
        if not last and status == "resolved":
            continue        # resolved before anybody heard that it fires
        if not last or not alike(last[0].status, EXPECTED[status]):
            found[name] = f"{name}: {status} was answered 2xx, but its incidents are {[one.status for one in states[name]]}"
        elif last[0].untold and not allowed.waits:
            found[name] = f"{name}: {', '.join(last[0].untold)} still wait to be told"
        elif sum(one.status != "resolved" for one in states[name]) > 1:
            found[name] = f"{name}: more than one open incident"
    return found


def alike(status: str, wanted: str) -> bool:
    return status == wanted or (status == "acknowledged" and wanted == "triggered")


def untold(kept: Mapping[str, str], told: Mapping[tuple[str, str], list[Seen]], to: str) -> Iterator[str]:
    for name, status in kept.items():
        if not told.get((name, to)) and not (to == "pagerduty" and status == "resolved"):
            yield f"{name}: {to} was never told"


# -- P2: duplicates

def about(seen: Sequence[Seen], names: Iterable[str]) -> dict[tuple[str, str], list[Seen]]:
    """What each destination saw of each alert, in order."""
    found: dict[tuple[str, str], list[Seen]] = defaultdict(list)
    for name in names:
        for one in seen:
            if name in one.text:
                found[name, one.to].append(one)
    return found


def doubles(seen: Sequence[Seen], names: Iterable[str]) -> Counter[str]:
    """How often a person or a machine was told the same thing once more than needed, by destination."""
    found: Counter[str] = Counter()
    for to in {one.to for one in seen}:
        found[to] = sum(1 for _ in extras([one for one in seen if one.to == to], list(names)))
    return found


def extras(seen: Sequence[Seen], names: Sequence[str]) -> Iterator[Seen]:
    """Slack: a second message in the channel that says the same of an incident (after a
    summary its end is a message of its own). A receiver of webhooks: an id once more. PagerDuty: a page for
    what is open there already is none, and neither is a repeated end."""
    posts: set[str] = set()
    is_slack = any(one.call in ("edit", "thread") or not one.id for one in seen)
    for one in seen:
        if one.to == "pagerduty" or (is_slack and one.call != "post"):
            continue
        keys = [f"{name}/{one.status}" for name in names if name in one.text] if is_slack else [one.id]
        if keys and all(key in posts for key in keys):
            yield one
        posts.update(keys)


def too_many(seen: Sequence[Seen], names: Iterable[str], allowed: Allowed) -> Iterator[str]:
    found = [one for to in {one.to for one in seen} for one in extras([one for one in seen if one.to == to], list(names))]
    if len(found) > allowed.extra:
        yield f"{len(found)} messages too many, {allowed.extra} allowed: {[(one.to, one.text[:60]) for one in found[:5]]}"
    for one in found:
        if not one.is_marked:
            yield f"{one.to}: a double of {one.text[:60]!r} is not marked as one"
    yield from paged_twice(seen, names)


def paged_twice(seen: Sequence[Seen], names: Iterable[str]) -> Iterator[str]:
    """PagerDuty keeps one incident for a key: a person is paged twice when another key is triggered for what is open there."""
    for name in names:
        is_open: set[str] = set()
        for one in seen:
            if one.to == "pagerduty" and name in one.text:
                if one.call == "trigger" and is_open - {one.id}:
                    yield f"pagerduty: {name} was paged again by another key"
                is_open -= {one.id} if one.call == "resolve" else set()
                is_open |= {one.id} if one.call == "trigger" else set()


# -- P3: order, and the state in the end

def out_of_order(seen: Sequence[Seen]) -> Iterator[str]:
    """What a receiver is told of one incident never goes back: not to an earlier episode, and not from its end to its
    beginning. A double is left out: whoever drops doubles has not heard it."""
    last: dict[tuple[str, str], tuple[int, int]] = {}
    ids: set[str] = set()
    for one in seen:
        if not one.id or one.to == "pagerduty" or one.id in ids or one.status not in RANK:
            continue
        ids.add(one.id)
        place = (one.episode, RANK[one.status])
        if place < last.get((one.to, one.text), place):
            yield f"{one.to}: {one.text[:60]!r} went back to {one.status} of episode {one.episode}"
        last[one.to, one.text] = place


def wrong_end(kept: Mapping[str, str], told: Mapping[tuple[str, str], list[Seen]], to: str) -> Iterator[str]:
    for name, status in kept.items():
        words = [one.status for one in told.get((name, to), ()) if one.call != "thread" and one.status]
        if words and not alike(words[-1], EXPECTED[status]):
            yield f"{name}: it is {status}, and {to} was last told {words[-1]}"


# -- P4, P5, P6

def unseen(history: Sequence[Fault | Noticed]) -> Iterator[str]:
    for fault in history:
        if isinstance(fault, Fault) and not fault.is_over:
            seen_at = [one.at for one in history if isinstance(one, Noticed) and one.what == fault.what and one.at >= fault.at]
            if not seen_at or min(seen_at) - fault.at > VISIBLE_WITHIN:
                yield f"{fault.what}: not visible within {VISIBLE_WITHIN:.0f} s"


def leaks(outputs: Mapping[str, str], secrets: Iterable[str]) -> Iterator[str]:
    for number, secret in enumerate(secrets):
        dresses = {secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode().rstrip("=")}
        for place, text in outputs.items():
            if any(dress in text for dress in dresses):
                yield f"secret {number} shows in {place}"


def unwell(lives: Sequence[Life], allowed: Allowed) -> Iterator[str]:
    for life in lives:
        if life.has_died:
            yield "the hub ended by itself"
        if life.mebibytes > allowed.mebibytes:
            yield f"{life.mebibytes:.0f} MiB of memory, {allowed.mebibytes:.0f} allowed"


# -- reading

def named(seen: Sequence[Seen]) -> list[Seen]:
    """PagerDuty's later events name their incident by key alone; here they get its text."""
    texts: dict[str, str] = {}
    found = []
    for one in seen:
        if one.to == "pagerduty":
            texts.setdefault(one.id, one.text)
            one = Seen(one.at, one.to, one.text or texts[one.id], one.status, one.call, one.id, one.episode, one.is_marked)
        found.append(one)
    return found


def in_database(url: str) -> tuple[list[Ended], list[str]]:
    """The incidents, oldest first; and what is wrong with the record of their history (R-55)."""
    engine = create_engine(normal_url(url))
    try:
        with engine.connect() as connection:
            waiting = select(lanes.c.incident_id, lanes.c.destination).where(
                lanes.c.want_seq > lanes.c.told_seq, lanes.c.is_dead.is_(False))
            untold: dict[str, list[str]] = defaultdict(list)
            for incident, destination in connection.execute(waiting):
                untold[incident].append(destination)
            rows = connection.execute(select(incidents).order_by(incidents.c.number)).all()
            ended = [Ended(row.title, row.status, row.source == "alerthub", tuple(untold[row.id])) for row in rows]
            sending = connection.execute(select(deliveries.c.id).where(deliveries.c.state == "sending")).all()
    finally:
        engine.dispose()
    with opened_for_reading(url) as tx:
        wrong = [f"the record: {finding}" for finding in verify(tx, {})]
    return ended, wrong + [f"delivery {row.id} never ended" for row in sending]
