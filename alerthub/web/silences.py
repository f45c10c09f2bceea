"""`/api/v1/silences`: who silenced what until when; make one, end one. What a source says it has is shown only."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain.answer import Who
from alerthub.domain.event import Actor
from alerthub.domain.matcher import parse_matchers
from alerthub.domain.rules import Rules
from alerthub.domain.silence import MOST_MATCHERS, Silence, check_matchers, check_span, end_of
from alerthub.domain.wording import typed_line
from alerthub.errors import BadPayload
from alerthub.flow import silencing
from alerthub.flow.seen import CHANGED
from alerthub.sources.body import read_object, read_time
from alerthub.store import silences
from alerthub.store.repeats import Said
from alerthub.store.tx import Tx
from alerthub.web.access import caller
from alerthub.web.answers import NAME_LIMIT
from alerthub.web.api import NUMBER, choice, number
from alerthub.web.base import answer, hub_of, problem
from alerthub.web.bodies import read_body
from alerthub.web.repeats import once
from alerthub.web.tags import Changed, expected, mark_of_silence
from alerthub.web.visitor import visitor_of

STATES = frozenset({"", "active", "expired", "all"})
BODY, LIMIT, MOST = 256 * 1024, 50, 200
LONGEST_TEXT = 10_000       # characters of all matchers together
FIELDS = {"matchers", "ends_at", "duration", "comment", "created_by"}
EXAMPLE = 'send {"matchers": ["alertname=\\"DiskFull\\""], "duration": "4h", "comment": "why"}'


async def list_silences(request: Request) -> Response:
    """Newest first. `state`: active (unless said otherwise), expired, all."""
    hub = hub_of(request)
    limit, before = number(request, "limit", LIMIT, MOST) or LIMIT, number(request, "before", None, 2**62)
    state = choice(request, "state", STATES) or "active"
    return answer(200, await hub.store.read(lambda tx: silences.page(tx, state, hub.clock.now(), limit, before)))


async def add_silence(request: Request) -> Response:
    """201 with the silence, after COMMIT. 400 says what is wrong with it."""
    hub = hub_of(request)
    now = hub.clock.now()
    body = await read_body(request, BODY, hub.door.body_seconds)
    try:
        asked = await asyncio.to_thread(read_asked, body, request, now)     # patterns may take their time
    except BadPayload as error:
        return problem(400, f"{error.reason}; {EXAMPLE}")
    except ValueError as error:
        return problem(400, str(error))

    def unit(tx: Tx) -> Said:
        made = silencing.create(tx, hub.rules, asked.silence, asked.by, now)
        return 201, silences.view_of(tx, made.number, now) or {}

    (status, made), _ = await once(request, body, unit)
    hub.nudge()
    return answer(status, made)


async def expire_silence(request: Request) -> Response:
    """200 with the silence, which is over now, or was before. 404 for an unknown one, 409 for one that is a source's. `?by=` is
    the name that history shows beside the door."""
    hub, by = hub_of(request), actor_of(request, request.query_params.get("by", ""))
    reference, now = request.path_params["number"], hub.clock.now()
    which = int(reference) if NUMBER.fullmatch(reference) else 0

    wanted = expected(request)

    def unit(tx: Tx) -> dict[str, Any] | None:
        before = silences.find(tx, which)       # locked
        if before is not None and wanted and before.ends_at.isoformat() not in wanted:
            view = silences.view_of(tx, which, now) or {}
            raise Changed(f"{CHANGED.format(f'silence {which}')} Its state now: {view['state']}, until {view['ends_at']}.",
                          mark_of_silence(view), view)
        silencing.expire(tx, hub.rules, which, by, now)
        return silences.view_of(tx, which, now)

    found = await hub.store.write(unit) if which else None
    hub.nudge()
    if found is None:
        return problem(404, f"there is no silence {reference[:40]!r}")
    if found["source"]:
        return problem(409, f"silence {which} was made in {found['source']}; end it there")
    return answer(200, found)


def actor_of(request: Request, by: str) -> Actor:
    """The same as of the answers of the API: a person by their own token, else the API, under whatever name was given."""
    account = caller(request.scope, typed_line(by, NAME_LIMIT))
    visitor = visitor_of(request)
    return Who(account, visitor.person if visitor is not None else None).actor


@dataclass(frozen=True, slots=True)
class Asked:
    silence: Silence
    by: Actor


def read_asked(body: bytes, request: Request, now: datetime) -> Asked:
    """Raises BadPayload for a body that is none, ValueError with what would be right for what must not be a silence."""
    asked, rules = read_object(body), hub_of(request).rules
    if unknown := sorted(set(asked) - FIELDS):
        raise BadPayload(f"{unknown[0][:40]}: there is no such field")
    texts = asked.get("matchers")
    if not isinstance(texts, list) or not all(type(text) is str for text in texts):
        raise BadPayload("matchers: must be a list of texts")
    if any(type(asked.get(name, "")) is not str for name in FIELDS - {"matchers"}):
        raise BadPayload("ends_at, duration, comment, created_by: must be texts")
    if len(texts) > MOST_MATCHERS or sum(map(len, texts)) > LONGEST_TEXT:      # before anything is compiled
        raise ValueError(f"at most {MOST_MATCHERS} matchers of {LONGEST_TEXT} characters together")
    matchers = tuple(matcher for text in texts for matcher in parse_matchers(text))
    check_matchers(matchers)
    ends_at = read_end(asked, rules, now)
    check_span(now, ends_at)
    by = actor_of(request, asked.get("created_by", ""))
    return Asked(Silence("", 0, matchers, now, ends_at, by.name, asked.get("comment", "")), by)


def read_end(asked: dict[str, Any], rules: Rules, now: datetime) -> datetime:
    if bool(asked.get("ends_at")) == bool(asked.get("duration")):
        raise BadPayload("give either ends_at or duration")
    if asked.get("duration"):
        return end_of(asked["duration"], now, rules.answers.time_zone)
    ends_at = read_time(asked["ends_at"], "ends_at")
    if ends_at is None:
        raise BadPayload('ends_at: must be RFC 3339, such as "2026-11-20T15:15:36Z"')
    return ends_at
