"""F6, F7, F9 to F11: providers that refuse, break, talk nonsense, cut the line, or are gone for good."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from sqlalchemy import create_engine, select

from alerthub.store.address import normal_url
from alerthub.store.schema import deliveries, destinations
from tests.kit.binaries import wait_until
from tests.kit.faults.checker import Allowed
from tests.kit.faults.proxy import nap
from tests.kit.faults.stage import Stage, stage
from tests.kit.faults.table import Row
from tests.kit.providers.http import Answer, FakeProvider, Request
from tests.kit.providers.receiver import FakeReceiver
from tests.kit.providers.slack import FakeSlack, refused

HOUR = 3600.0
DRIPS = 299         # a status for ourselves
OTHERS_WITHIN = 5.0         # seconds: F8, for siblings of one that hangs
SLACK_PATIENCE = 90.0       # seconds: a channel that answers nonsense is tried again with growing pauses
# What the header says, and the seconds that the hub waits: at least, at most. Without a usable one its own back-off decides.
RETRY_AFTER = {"0": (0, 1), "1": (1, 2), "30": (30, 31), "86400": (HOUR, HOUR + 1), "abc": (0, 3), "-5": (0, 3), "": (0, 3)}


def first(provider: FakeProvider, answers: Iterable[Answer], wanted: Callable[[Request], bool] = lambda request: True) -> None:
    """These answers to the first requests that are `wanted`, and nothing is done; then it is as it was."""
    healthy, odd = provider.answer, iter(answers)

    def answer(request: Request) -> Answer:
        found = next(odd, None) if wanted(request) else None
        return healthy(request) if found is None else found

    provider.answer = answer


def done_and(provider: FakeProvider, times: int, **how: bool) -> None:
    """It does what it is asked for, and so many times its answer does not arrive."""
    healthy, left = provider.answer, [times]

    def answer(request: Request) -> Answer:
        found = healthy(request)
        if left[0] <= 0:
            return found
        left[0] -= 1
        return replace(found, **how)

    provider.answer = answer


def rows(url: str, query: Any) -> list[Any]:
    engine = create_engine(normal_url(url))
    try:
        with engine.connect() as connection:
            return list(connection.execute(query))
    finally:
        engine.dispose()


# -- F6

def rate_limited(database: str, times: int) -> Row:
    """Each form of Retry-After at a path of its own, so many incidents; one sibling is healthy all the time."""
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    said_and_bounds = [*RETRY_AFTER.items(), (date, (30, 41))]
    forms = {f"form{number}": found for number, found in enumerate(said_and_bounds)}
    with stage(database, "machine", *(f"machine/{name}" for name in forms)) as scene:
        for name, (said, _) in forms.items():
            headers = {"retry-after": said} if said else {}
            first(scene.machine, [Answer(429, headers=headers)], lambda request, path=f"/{name}": request.path == path)
        names = [f"Limited{number:03}" for number in range(times)]
        scene.begins("machine")
        scene.fires(*names)
        wait_until(lambda: told(scene, "machine", names), 5, "the sibling is told at once")
        sees = scene.notice("machine", lambda: scene.unhealthy("destination"))
        waits = wait_until(lambda: all_refused(scene, forms), 30, "each form was refused once")
        late = {f"machine/{name}" for name, (_, (least, _)) in forms.items() if least >= 30}
        soon = [f"machine/{name}" for name in forms if f"machine/{name}" not in late]
        wait_until(lambda: all(told(scene, to, names) for to in soon), 30, "those that need not wait are told")
        verdict = scene.verdict(Allowed(given_up=frozenset(late), waits=True))
        verdict.say("F6", (f"Retry-After {forms[name][0]!r}: waits {seconds:.1f} s" for name, seconds in waits.items()
                           if not forms[name][1][0] - 0.2 <= seconds <= forms[name][1][1]))
        return Row("429 with Retry-After 0, 1, 30, 86400, abc, -5, a date, none", len(forms), sees, verdict)


def all_refused(scene: Stage, forms: Iterable[str]) -> dict[str, float]:
    """By form, how long the hub waits after the refusal; empty before each has been refused."""
    lines = rows(scene.url, select(deliveries.c.destination, deliveries.c.finished_at).where(
        deliveries.c.failure == "rate_limited").order_by(deliveries.c.id.desc()))
    refused_at = {line.destination: line.finished_at for line in lines}
    paused = {line.key: line.paused_until for line in rows(scene.url, select(destinations.c.key, destinations.c.paused_until))}
    addresses = addresses_of(scene)
    found = {name: (paused[addresses[name]] - refused_at[addresses[name]]).total_seconds() for name in forms
             if addresses[name] in refused_at and paused.get(addresses[name])}
    return found if len(found) == len(list(forms)) else {}


def addresses_of(scene: Stage) -> dict[str, str]:
    """By path, the key of its destination."""
    return {name.partition("/")[2]: f"webhook:{scene.address(name)}" for name in scene.script.tells}


def told(scene: Stage, to: str, names: Iterable[str]) -> bool:
    seen = {one.text for one in scene.seen() if one.to == to and one.taken}
    return seen >= set(names)


# -- F7, F8

def down(database: str, times: int) -> Row:
    """500, 502, 503 and 504 in turn for `times` seconds, while things happen; then what is told is as it is then."""
    with stage(database) as scene:
        answers = itertools.cycle([Answer(500), Answer(502), Answer(503), Answer(504)])
        healthy = scene.machine.answer
        scene.machine.answer = lambda request: next(answers)
        began = time.monotonic()
        scene.begins("machine")
        scene.fires("Stays", "Ends")
        sees = scene.notice("machine", lambda: scene.unhealthy("destination webhook"))
        scene.fires("Ends", status="resolved")
        wait_until(lambda: time.monotonic() - began >= times, times + 1, "the outage is over")
        asked = sum(not one.taken for one in scene.seen())
        scene.machine.answer = healthy
        scene.rest(400)
        verdict = scene.verdict()
        words = [one.status for one in scene.seen() if one.to == "machine" and one.taken and one.text == "Ends"]
        verdict.say("F7", [] if words == ["resolved"] else [f"after the outage Ends was told as {words}"])
        return Row(f"500, 502, 503, 504 for {times} s: {asked} attempts", asked, sees, verdict)


class Dripping(FakeReceiver):
    """At /drip it answers a byte a second; at /hang nothing; at /half the half of a JSON."""

    async def _reply(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        if answer.status != DRIPS:
            await super()._reply(writer, answer)
            return
        for byte in itertools.cycle(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n"):
            await self._write(writer, bytes([byte]))
            await nap(1)


def hanging(database: str, times: int) -> Row:
    """Receivers that hang in four ways, each with `times` incidents, and healthy ones beside them."""
    odd = {"hang": Answer(hang=True), "half": Answer(body='{"status": "acc', drip=True), "drip": Answer(DRIPS)}
    timeout = 2 if times < 10 else 10
    with stage(database, "slack", "machine", *(f"machine/{name}" for name in odd), timeout=f"{timeout}s",
               machine=Dripping) as scene:
        for name, answer in odd.items():
            first(scene.machine, [answer] * times, lambda request, path=f"/{name}": request.path == path)
        names = [f"Hangs{number:03}" for number in range(times)]
        scene.begins("machine")
        at = time.time()
        scene.fires(*names)
        wait_until(lambda: told(scene, "machine", names), OTHERS_WITHIN, "siblings are told meanwhile")
        late = max(one.at for one in scene.seen() if one.to == "machine" and one.taken) - at
        sees = scene.notice("machine", lambda: scene.unhealthy("destination webhook"))
        scene.rest(300)
        verdict = scene.verdict(Allowed(extra=0))
        ended = rows(scene.url, select(deliveries.c.started_at, deliveries.c.finished_at))
        longest = max((line.finished_at - line.started_at).total_seconds() for line in ended)
        verdict.say("F8", [f"an attempt took {longest:.1f} s"] if longest > 15.5 else [])
        how = f"no headers, half a JSON, 1 byte a second: attempts end after {longest:.1f} s, siblings told in {late:.1f} s"
        return Row(how, len(odd) * times, sees, verdict)


# -- F9

def garbage(database: str, times: int) -> Row:
    """Every kind of nonsense in a Slack channel of its own, `times` times each; then Slack is well."""
    odd = {"#html": Answer(body="<html>hello</html>"), "#empty": Answer(body={}), "#no-ts": Answer(body={"ok": True}),
           "#list": Answer(body=[1, 2]), "#big": Answer(chunks=[b"x" * 65536] * 800),
           "#bomb": Answer(headers={"content-encoding": "gzip"}, body=gzip.compress(b"0" * 50_000_000)),
           "#not-gzip": Answer(headers={"content-encoding": "gzip"}, body=b"no gzip at all"),
           "#half": Answer(body='{"ok": tr')}
    with stage(database, "slack", "machine", *(f"slack{channel}" for channel in odd)) as scene:
        for channel, answer in odd.items():
            first(scene.slack, [answer] * times, lambda request, to=channel: request.json().get("channel") == to)
        scene.begins("slack")
        scene.fires("Garbage")
        wait_until(lambda: told(scene, "machine", ["Garbage"]), 5, "who is healthy is told at once")
        sees = scene.notice("slack", lambda: scene.unhealthy("destination slack:#html"))
        wait_until(lambda: all(in_channel(scene.slack, channel) for channel in odd), SLACK_PATIENCE, "every channel is told")
        scene.rest()
        verdict = scene.verdict(Allowed(mebibytes=200))
        verdict.say("F9", (f"{channel} was told {len(in_channel(scene.slack, channel))} times" for channel in odd
                           if len(in_channel(scene.slack, channel)) != 1))
        how = "answers: HTML, {}, no ts, a list, 50 MB, gzip bomb, broken gzip, half of a JSON"
        return Row(how, len(odd) * times, sees, verdict)


def in_channel(slack: FakeSlack, channel: str) -> list[Any]:
    return [message for message in slack.roots if message.to == channel]


# -- F10

def reset_after_request(database: str, times: int) -> Row:
    """The request is read and obeyed, the answer is a reset. Each provider, `times` times."""
    with stage(database) as scene:
        for provider in (scene.slack, scene.pagerduty, scene.machine):
            done_and(provider, times, drop=True)
        names = [f"Reset{number:03}" for number in range(times)]
        scene.begins("slack")
        scene.fires(*names)
        sees = scene.notice("slack", lambda: scene.unhealthy("destination"))
        scene.rest(180)
        scene.fires(*names, status="resolved")
        scene.rest(180)
        verdict = scene.verdict(Allowed(extra=2 * times))
        verdict.say("P2", ["PagerDuty dropped an event"] if scene.pagerduty.dropped else [])
        return Row("request read and obeyed, then a reset", times * 3, sees, verdict)


# -- F11

PERMANENT = {"#revoked": refused("token_revoked"), "#archived": refused("is_archived"), "#kicked": refused("not_in_channel"),
             "#unknown": refused("channel_not_found"), "#login": Answer(302, headers={"location": "http://127.0.0.1:1/login"})}


def permanent(database: str, times: int) -> Row:
    """A Slack that refuses for good in several ways, a receiver that is gone (410), content that is refused (400): few sends, and
    the alarm comes by another channel."""
    gone = {"gone": Answer(410), "refused": Answer(400)}
    tells = (*(f"slack{channel}" for channel in PERMANENT), *(f"machine/{name}" for name in gone))
    with stage(database, "machine", "pagerduty", *tells) as scene:
        for channel, answer in PERMANENT.items():
            first(scene.slack, endless(answer), lambda request, to=channel: request.json().get("channel") == to)
        for name, answer in gone.items():
            first(scene.machine, endless(answer), lambda request, path=f"/{name}": request.path == path)
        for number in range(times):
            scene.begins("machine")
            scene.fires(f"Permanent{number}")
        sees = scene.notice("machine", lambda: alarm(scene, len(tells)))
        scene.rest()
        verdict = scene.verdict(Allowed(given_up=frozenset(tells)))
        verdict.say("F11", too_often(scene, [f"Permanent{number}" for number in range(times)]))
        how = "token revoked, archived, kicked, unknown channel, 302 to a login, 410, 400"
        return Row(how, len(tells) * times, sees, verdict)


def endless(answer: Answer) -> Iterable[Answer]:
    while True:
        yield answer


def alarm(scene: Stage, wanted: int) -> str:
    """What the healthy receiver was told of deliveries that failed, once it was told of all."""
    found = {one.text for one in scene.seen() if one.to == "machine" and one.taken and "ermanent" not in one.text}
    return f"alarm by another channel: {min(found)}" if len(found) >= wanted else ""


def too_often(scene: Stage, names: Iterable[str]) -> Iterable[str]:
    for to in scene.script.tells:
        for name in names:
            count = sum(1 for one in scene.seen() if one.to == to and name in one.text and not one.taken)
            if count > 2:
                yield f"{to} was asked {count} times about {name}"


