"""Silences: those that hold now, those to come, those that are over; one is made in two steps, and what it would cover now is
seen before it is made."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain.matcher import Matcher, all_match, parse_matchers
from alerthub.domain.person import Right
from alerthub.domain.silence import COMMENT, MOST_MATCHERS, Silence, check_matchers, check_span, end_of
from alerthub.flow import silencing
from alerthub.store import silences, usage
from alerthub.store.tx import Tx
from alerthub.web import oncall
from alerthub.web.api import NUMBER, BadQuery, number
from alerthub.web.base import HubView, hub_of
from alerthub.web.forms import back
from alerthub.web.pages.pressing import key_of, once, pressed, refused, who_of
from alerthub.web.pages.render import page
from alerthub.web.pages.times import Times
from alerthub.web.routing import route
from alerthub.web.silences import LONGEST_TEXT
from alerthub.web.visitor import Visitor, known

HERE = "/silences"
LIMIT, SHOWN = 50, 20
FIELDS = ("matchers", "ends", "comment")
USUAL = "2h"


@dataclass(frozen=True, slots=True)
class Asked:
    matchers: tuple[Matcher, ...]
    ends_at: datetime
    comment: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What a silence would do if it were made now: incidents that fall silent, and those of which something still fires loud."""

    asked: Asked
    alerts: int
    whole: Sequence[tuple[int, str]]
    part: Sequence[tuple[int, str]]
    wholes: int
    parts: int


async def show(request: Request) -> Response:
    """`?matcher=a="b"`, also several times, fills the form; `?matchers=…&ends=…` shows what that would cover; `?state=expired`
    shows those that are over."""
    given, rules = request.query_params, hub_of(request).rules
    form = {name: given[name] for name in FIELDS if name in given}
    if wanted := given.getlist("matcher"):
        form["matchers"] = "\n".join(wanted[:MOST_MATCHERS])
    if "matchers" not in given:
        return await shown(request, form)
    now = hub_of(request).clock.now()
    try:
        asked = await asyncio.to_thread(read_form_of, form, rules.answers.time_zone, now)    # patterns may take their time
    except ValueError as error:
        return await shown(request, form, str(error), 400)
    preview = await hub_of(request).store.read(lambda tx: preview_of(tx, asked, now))
    return await shown(request, form, preview=preview)


async def shown(request: Request, form: Mapping[str, str], wrong: str = "", status: int = 200,
                preview: Preview | None = None) -> Response:
    hub = hub_of(request)
    now, state = hub.clock.now(), "expired" if request.query_params.get("state") == "expired" else "active"
    try:
        before = number(request, "before", None, 2**62)
    except BadQuery:
        before = None
    found = await hub.store.read(lambda tx: silences.page(tx, state, now, LIMIT, before))
    times = Times(hub.rules.answers.time_zone, now)
    return page(request, "silences.html", status, items=found["items"], next=found["next"], shown=state, preview=preview,
                form={"matchers": "", "ends": USUAL, "comment": "", **form}, wrong=wrong, at=times.at, ago=times.ago,
                zone=hub.rules.answers.time_zone, key=hub.clock.new_id(), may=known(request).may(Right.respond))


# -- what is asked

def read_form_of(form: Mapping[str, str], zone: str, now: datetime) -> Asked:
    """Raises ValueError, with what would be right, for what must not be a silence."""
    text = form.get("matchers", "")
    if len(text) > LONGEST_TEXT:        # before anything is compiled
        raise ValueError(f"at most {LONGEST_TEXT} characters of matchers")
    if "\0" in text:
        raise ValueError("a matcher holds a character that no label can have")
    found = tuple(one for line in text.splitlines() if line.strip() for one in parse_matchers(line.strip()))
    check_matchers(found)
    ends_at = end(form.get("ends", "").strip() or USUAL, zone, now)
    check_span(now, ends_at)
    return Asked(found, ends_at, form.get("comment", "")[:COMMENT])


def end(word: str, zone: str, now: datetime) -> datetime:
    """A span, `tomorrow`, `until 18:00`; or a day with its time."""
    return oncall.moment(word, zone) if word[:4].isdigit() and word[4:5] == "-" else end_of(word, now, zone)


def preview_of(tx: Tx, asked: Asked, now: datetime) -> Preview:
    """Of what fires in open incidents now."""
    draft = Silence("", 0, asked.matchers, now, asked.ends_at, "", "")
    hits = {incident_id: hit for incident_id, alerts in silences.candidates(tx, draft).items()
            if (hit := sum(all_match(asked.matchers, labels) for labels in alerts))}
    known = usage.numbers(tx, hits)
    whole = sorted(((number, title) for key, (number, title, firing) in known.items() if firing <= hits[key]), reverse=True)
    part = sorted(((number, title) for key, (number, title, firing) in known.items() if firing > hits[key]), reverse=True)
    return Preview(asked, sum(hits.values()), whole[:SHOWN], part[:SHOWN], len(whole), len(part))


# -- what is changed

async def add(request: Request, fields: Mapping[str, str], visitor: Visitor) -> Response:
    hub = hub_of(request)
    form = {name: fields[name] for name in FIELDS if name in fields}
    now, zone = hub.clock.now(), hub.rules.answers.time_zone
    try:
        asked = await asyncio.to_thread(read_form_of, form, zone, now)
    except ValueError as error:
        return await shown(request, form, str(error), 400)
    key = key_of(fields, visitor, hub, f"silence {sorted(form.items())}")
    answer = await once(request, key, lambda tx: made(tx, hub, asked, visitor, now))
    return back(request, HERE, answer)


def made(tx: Tx, hub: HubView, asked: Asked, visitor: Visitor, now: datetime) -> str:
    by = who_of(visitor).actor
    silence = silencing.create(tx, hub.rules, Silence("", 0, asked.matchers, now, asked.ends_at, by.name, asked.comment), by, now)
    return f"Silence {silence.number} holds until {Times(hub.rules.answers.time_zone, now).words(silence.ends_at)}."


async def stop(request: Request, fields: Mapping[str, str], visitor: Visitor) -> Response:
    """At once: it makes things louder."""
    hub, reference = hub_of(request), request.path_params["number"]
    which, now, by = int(reference) if NUMBER.fullmatch(reference) else 0, hub.clock.now(), who_of(visitor).actor

    def unit(tx: Tx) -> tuple[Silence | None, Silence | None]:
        return silences.find(tx, which), silencing.expire(tx, hub.rules, which, by, now)

    found, ended = await hub.store.write(unit)
    hub.nudge()
    if found is None:
        return refused(request, 404, f"There is no silence {reference[:40]!r}.", HERE)
    if ended is None:
        return refused(request, 409, f"Silence {which} was made in {found.source}; end it there.", HERE)
    over = "was over already" if found.ends_at <= now else "is over; what it held is told again if it still fires"
    return back(request, HERE, f"Silence {which} {over}.")


ROUTES = [*route(HERE, show), *route(HERE, pressed(add, HERE, Right.respond), "POST"),
          *route("/silences/{number}/end", pressed(stop, HERE, Right.respond), "POST")]
