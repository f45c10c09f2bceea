"""What people ask of one incident over the API: the same commands as in chat, by the same room."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain.answer import Why
from alerthub.domain.command import Answer, Command, Outcome, Verb
from alerthub.domain.person import Account, Person, Right
from alerthub.domain.rules import Rules
from alerthub.domain.silence import end_of
from alerthub.domain.wording import typed_line
from alerthub.store import people
from alerthub.store.repeats import Said
from alerthub.store.tx import Tx
from alerthub.web.access import caller
from alerthub.web.api import REFERENCE, find_incident
from alerthub.web.base import HubView, Refused, answer, hub_of, problem
from alerthub.web.bodies import read_body
from alerthub.web.repeats import must_be_same, once
from alerthub.web.tags import expected, mark_of_incident, tag_now
from alerthub.web.visitor import visitor_of

BODY_LIMIT = 64 * 1024
NAME_LIMIT = 100
CODE_LIVES = timedelta(minutes=15)
STATUSES = {Outcome.told: 422, Outcome.held: 409, Outcome.refused: 409, Outcome.busy: 503}
FIELDS = {"by", "comment", "duration", "force"}


class BadBody(Refused):
    """Which field, and what would be right."""


def commanded(verb: Verb) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint that asks for `verb` about the incident in the address."""

    async def ask(request: Request) -> Response:
        reference, hub = request.path_params["reference"], hub_of(request)
        if not REFERENCE.fullmatch(reference):
            return problem(404, f"there is no incident {reference[:40]!r}")
        fields = await body_of(request)
        command = command_of(verb, reference, fields, request, hub)
        await must_be_same(request, json.dumps(fields, sort_keys=True))
        told = await hub.hear(command)
        found = await find_incident(request) if told.why == Why.changed_since.value else None
        return changed(told, found["status"], mark_of_incident(found), found) if found is not None else said(told)

    return ask


async def body_of(request: Request, known: Collection[str] = FIELDS) -> dict[str, Any]:
    """A small JSON object of texts; nothing at all is an empty one."""
    try:
        body = await read_body(request, BODY_LIMIT, hub_of(request).door.body_seconds)
        fields = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError):
        raise BadBody("the body is not JSON; send for example {\"by\": \"ayse\"}") from None
    if not isinstance(fields, dict):
        raise BadBody("the body: must be an object")
    for name, value in fields.items():
        if name not in known:
            raise BadBody(f"{name[:40]!r} is not known here; the fields are {', '.join(sorted(known))}")
        right = bool if name == "force" else str
        if not isinstance(value, right):
            raise BadBody(f"{name}: must be {'true or false' if right is bool else 'a text'}")
    return fields


def command_of(verb: Verb, reference: str, fields: dict[str, Any], request: Request, hub: HubView) -> Command:
    """`Idempotency-Key` makes a repeat harmless. `by` is the name that history shows beside the door."""
    if verb is Verb.comment and not fields.get("comment", "").strip():
        raise BadBody("comment: is missing; it is the text")
    by = caller(request.scope, typed_line(fields.get("by", ""), NAME_LIMIT))
    text = fields.get("comment", "").encode("utf-8", "replace").decode().replace("\0", " ")
    return Command(verb, reference, by, key_of(request, hub, by, verb, reference), text=text,
                   until=until_of(fields, hub) if verb is Verb.silence else None, forced=bool(fields.get("force")),
                   expected=expected(request))


def key_of(request: Request, hub: HubView, by: Account, verb: Verb, about: str) -> str:
    """The same for a repeat of the same caller about the same thing, and short whatever they are called."""
    given = request.headers.get("idempotency-key", "")[:NAME_LIMIT] or hub.clock.new_id()
    return f"api:{verb.value}:{hashlib.sha256(f'{by.key} {about}'.encode('utf-8', 'replace')).hexdigest()[:24]}:{given}"


def until_of(fields: dict[str, Any], hub: HubView) -> datetime:
    try:
        return end_of(fields.get("duration", "1h"), hub.clock.now(), hub.rules.answers.time_zone)
    except ValueError as error:
        raise BadBody(f"duration: {error}") from None


def said(told: Answer) -> Response:
    if told.outcome in (Outcome.done, Outcome.already):
        return answer(200, {"outcome": told.outcome.value, "text": told.text, "number": told.number})
    if told.why == Why.not_allowed.value:
        return not_done(403, told)
    if told.why == Why.changed_since.value:
        return not_done(412, told)
    missing = told.outcome is Outcome.refused and not told.number
    return not_done(404 if missing else STATUSES[told.outcome], told)


def not_done(status: int, told: Answer) -> Response:
    """A problem like any other that also names the outcome: what is held can be forced, what is refused cannot."""
    return problem(status, told.text, outcome=told.outcome.value)


def changed(told: Answer, now: str, mark: str, body: Mapping[str, Any]) -> Response:
    """A 412 that says what it is now, with the tag that it has: whoever decides anew need not ask for it first."""
    return problem(412, f"{told.text} Its state now: {now}.", tag_now(mark, body), outcome=told.outcome.value)


def not_theirs(rules: Rules, name: str, asker: Person | None) -> str:
    """Why a code for this person is not made for who asks, or for nobody in particular; empty when it is. A token that was made
    for less than all that its person may makes none."""
    is_whole = asker is not None and asker.scope is None
    if asker is not None and is_whole and asker.name == name:
        return ""
    if asker is not None and asker.may(Right.administer) and (not rules.people[name].votes(rules.approving) or (
            is_whole and asker.name in rules.people)):
        return ""
    if asker is not None and not is_whole:
        return f"this token of {asker.name} is for less than all that they may, and a chat account may all of it; log in for that"
    if not rules.people[name].decides(rules.approving):
        return ""
    return (f"{name} may approve or administer, so only {name}'s own token or an admin's makes a code for them (ALERTHUB_TOKEN, "
            "--token-file): give their account in `people`, or let an admin make the code")


def person_asking(request: Request) -> Person | None:
    visitor = visitor_of(request)
    return visitor.person if visitor is not None else None


async def link_code(request: Request) -> Response:
    """A one-time code by which a person proves that a chat account is theirs. Who may use the API may make one; of a person whose
    word decides, only they and admins: whoever has the shared token could approve with their voice. It is
    kept nowhere: the same `Idempotency-Key` again is answered without it, and the first code still counts."""
    hub, name = hub_of(request), request.path_params["person"]
    if name not in hub.rules.people:
        known = ", ".join(sorted(hub.rules.people)) or "none is configured"
        return problem(404, f"there is no person {name[:40]!r}; there are: {known}")
    if refusal := not_theirs(hub.rules, name, person_asking(request)):
        return problem(403, refusal)
    expires_at = hub.clock.now() + CODE_LIVES
    made = {}

    def unit(tx: Tx) -> Said:
        made["code"] = people.new_code(tx, name, expires_at)
        return 200, {"person": name, "code": None, "expires_at": expires_at.isoformat()}

    (status, body), is_new = await once(request, b"", unit)
    return answer(status, {**body, **(made if is_new else {})})
