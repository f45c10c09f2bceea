"""What waits for people over the API: runs, latches, freezes. The same commands as in chat, by the same room. A vote is a
person's: whoever calls with the shared token is nobody in particular."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain.action import Reason, RunState
from alerthub.domain.answer import Why
from alerthub.domain.approval import Asked
from alerthub.domain.command import Answer, Command, Outcome, Verb
from alerthub.domain.latch import Latch
from alerthub.domain.rules import Rules
from alerthub.domain.wording import typed_line
from alerthub.flow import latch as latch_room
from alerthub.flow.asking import request_of
from alerthub.flow.seen import mark_of_latch, mark_of_run
from alerthub.store import alerts as alert_store
from alerthub.store import freezes, latches, reading, rehearsals, usage, votes
from alerthub.store.tx import Tx
from alerthub.web.access import caller
from alerthub.web.answers import NAME_LIMIT, body_of, changed, key_of, not_done
from alerthub.web.api import LIMIT, MOST, REFERENCE, BadQuery, choice, number, run_view
from alerthub.web.base import answer, hub_of
from alerthub.web.repeats import must_be_same
from alerthub.web.tags import expected

RUN_STATES = frozenset({"", *(state.value for state in RunState)})
REASONS = frozenset({"", *(reason.value for reason in Reason)})
REHEARSED = (Reason.shadow.value, Reason.dry_run.value)
WHY_LIMIT = 2_000
STATUSES = {Why.unknown_account.value: 403, Why.not_allowed.value: 403, Why.needs_person.value: 403, Why.own_request.value: 403,
            Why.changed_since.value: 412, Why.nothing_waits.value: 404, Why.no_incident.value: 404}
Endpoint = Callable[[Request], Awaitable[Response]]


async def list_runs(request: Request) -> Response:
    """The newest first, also of one state or for one reason; of shadow mode and dry runs with how often each was called for.
    `before` is the id of a run."""
    before = request.query_params.get("before", "")
    if before and not REFERENCE.fullmatch(before):
        raise BadQuery("before must be the id of a run: the `next` of the page before")
    limit, state = number(request, "limit", LIMIT, MOST) or LIMIT, choice(request, "state", RUN_STATES)
    reason = choice(request, "reason", REASONS)

    def read(tx: Tx) -> dict[str, Any]:
        page = usage.page(tx, limit, before, state, reason)
        found: dict[str, Any] = {"items": [run_view(run) for run in page.runs], "next": page.next or None}
        if reason in REHEARSED:
            found["hits"] = [texts(asdict(hit)) for hit in rehearsals.hits(tx, reason)]
        return found

    return answer(200, await hub_of(request).store.read(read))


def texts(values: dict[str, Any]) -> dict[str, Any]:
    return {name: reading.text(value) for name, value in values.items()}


# -- asking

def about_run(verb: Verb) -> Endpoint:
    """The endpoint that says `verb` to the run in the address: its id, or the code that messages show."""
    async def ask(request: Request) -> Response:
        return await asked(request, verb, request.path_params["run"], "by")

    return ask


def about_latch(verb: Verb) -> Endpoint:
    async def ask(request: Request) -> Response:
        return await asked(request, verb, request.path_params["target"], "by", "why")

    return ask


async def add_freeze(request: Request) -> Response:
    return await asked(request, Verb.freeze, "", "action", "by", "why")


async def lift_freeze(request: Request) -> Response:
    return await asked(request, Verb.unfreeze, request.query_params.get("action", ""))


async def asked(request: Request, verb: Verb, subject: str, *known: str) -> Response:
    hub = hub_of(request)
    fields = await body_of(request, known) if known else {}
    await must_be_same(request, json.dumps(fields, sort_keys=True))
    about = typed_line(fields.get("action", "") or subject, NAME_LIMIT)
    by = caller(request.scope, typed_line(fields.get("by", ""), NAME_LIMIT))
    command = Command(verb, "", by, key_of(request, hub, by, verb, about), via="api",
                      text=typed_line(fields.get("why", ""), WHY_LIMIT), subject=about, expected=expected(request))
    told = await hub.hear(command)
    if told.why != Why.changed_since.value:
        return said(told)
    mark, view = await hub.store.read(lambda tx: present(tx, hub.rules, about, hub.clock.now()))
    return changed(told, view["state"], mark, view) if mark else said(told)


def present(tx: Tx, rules: Rules, about: str, now: datetime) -> tuple[str, dict[str, Any]]:
    """The latch or the run as it is now, as GET shows it, and the mark of its tag; nothing when it has gone."""
    if (latch := latches.find(tx, about)) is not None:
        return mark_of_latch(latch), latch_view(tx, rules, latch, now)
    run = usage.find(tx, about)
    return (mark_of_run(run), run_view(run)) if run is not None else ("", {})


def said(told: Answer) -> Response:
    if told.outcome in (Outcome.done, Outcome.already):
        return answer(200, {"outcome": told.outcome.value, "text": told.text, "number": told.number})
    return not_done(503 if told.outcome is Outcome.busy else STATUSES.get(told.why, 409), told)


# -- looking

async def list_latches(request: Request) -> Response:
    """Every target that was ever made safe, by its name: its state, who must agree to its release, and what speaks against it."""
    hub = hub_of(request)
    rules, now = hub.rules, hub.clock.now()
    limit, after = number(request, "limit", MOST, MOST) or MOST, request.query_params.get("after", "")

    def read(tx: Tx) -> dict[str, Any]:
        known = latches.read(tx)
        names = [name for name in sorted(known) if name > after]
        return {"items": [latch_view(tx, rules, known[name], now) for name in names[:limit]],
                "next": names[limit - 1] if len(names) > limit else None}

    return answer(200, await hub.store.read(read))


def latch_view(tx: Tx, rules: Rules, latch: Latch, now: datetime) -> dict[str, Any]:
    incident = alert_store.find_incident(tx, latch.incident_id) if latch.incident_id else None
    lack = latch_room.missing(tx, rules, latch.target, now) if latch.state.is_safe else None
    request = request_of(rules, latch, votes.of(tx, [latch.subject]))
    return {**texts({name: getattr(latch, name) for name in latches.NAMES if name != "state"}), "state": latch.state.value,
            "is_safe": latch.state.is_safe, "number": incident.number if incident else None,
            "lack": lack.text if lack else None, "approval": approval_view(rules, request) if request else None}


def approval_view(rules: Rules, request: Asked) -> dict[str, Any]:
    counted = request.tally(rules.people)
    return {"role": request.approval.role, "count": request.approval.count, "until": request.until.isoformat(),
            "approved": list(counted.approved), "missing": counted.missing}


async def list_freezes(request: Request) -> Response:
    """Those that stand; an empty action: all of them."""
    found = await hub_of(request).store.read(freezes.standing)
    return answer(200, {"items": [{"action": one.scope, "by": one.by, "account": one.account, "why": one.why,
                                   "at": one.at.isoformat()} for one in found]})
