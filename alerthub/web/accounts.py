"""`/api/v1`: who can log in, and tokens. The command line asks here; the pages do the same by the same rooms."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain.access import person_of
from alerthub.domain.person import Right
from alerthub.domain.rules import Rules
from alerthub.flow import access
from alerthub.settings import parse_duration
from alerthub.store import accounts, logins, sessions
from alerthub.store.reading import text
from alerthub.store.repeats import Said
from alerthub.store.tx import Tx
from alerthub.web.answers import BadBody, body_of
from alerthub.web.api import NUMBER, number
from alerthub.web.base import answer, hub_of, problem
from alerthub.web.gate import asker_of, gate_of
from alerthub.web.repeats import once
from alerthub.web.routing import Endpoint, route
from alerthub.web.tags import Changed, expected, tagged
from alerthub.web.visitor import known

BEFORE_ALL = 2**62
LASTS = "90d"
Fields = dict[str, Any]
Made = tuple[dict[str, Any], dict[str, Any]]        # what is answered, and what is told only now, since it is a secret
Room = Callable[[Tx, Fields, datetime], Made]


def for_admins(endpoint: Endpoint) -> Endpoint:
    """Also to look."""
    async def run(request: Request) -> Response:
        if not known(request).may(Right.administer):
            return problem(403, f"{known(request).name} may not see that; it needs the right to administer")
        return await endpoint(request)

    return run


async def list_accounts(request: Request) -> Response:
    """By name; `after` is the cursor."""
    rules, after = hub_of(request).rules, request.query_params.get("after", "")[:200].replace("\0", "")
    found = await hub_of(request).store.read(lambda tx: accounts.page(tx, after))
    cursor = found[-1].name if len(found) == accounts.PAGE else None
    return answer(200, {"items": [view(rules, one) for one in found], "next": cursor})


async def one_account(request: Request) -> Response:
    name = request.path_params["name"]
    found = await hub_of(request).store.read(lambda tx: accounts.find(tx, logins.storable(name)))
    if found is None:
        return problem(404, f"there is no account {name[:40]!r}")
    return tagged(request, mark_of(found), view(hub_of(request).rules, found))


def mark_of(one: accounts.Stored) -> str:
    """What people decide about."""
    return f"{'disabled' if one.disabled_at is not None else 'able'}-{one.role or 'configured'}"


def view(rules: Rules, one: accounts.Stored) -> dict[str, Any]:
    person = person_of(rules.people, one.name, one.role)
    return {"name": one.name, "role": person.role if person is not None else None, "is_configured": one.name in rules.people,
            "has_password": one.has_password, "is_disabled": one.disabled_at is not None, "created_at": text(one.created_at),
            "created_by": one.created_by, "entered_at": text(one.entered_at)}


async def asked(request: Request, known_fields: set[str], room: Room) -> Response:
    """200 with what the room says; 201 where it tells something this once. That is kept nowhere: the same `Idempotency-Key` again
    is 200 without it, and nothing is made anew. Raises Refused and NotGranted."""
    hub, only_now = hub_of(request), {}
    fields = await body_of(request, known_fields)

    def unit(tx: Tx) -> Said:
        kept, told = room(tx, fields, hub.clock.now())
        only_now.update(told)
        return 200, {**dict.fromkeys(told), **kept}

    (status, body), is_new = await once(request, json.dumps(fields, sort_keys=True).encode(), unit)
    if not is_new:      # it was made in a transaction that came to nothing, since the same was asked elsewhere at once
        only_now.clear()
    return answer(201 if only_now else status, {**body, **only_now})


async def invite(request: Request) -> Response:
    """A link by which that person sets a password, once. It is told to whoever asked, and nowhere else."""
    hub, asker = hub_of(request), asker_of(request, known(request))

    def room(tx: Tx, fields: Fields, now: datetime) -> Made:
        name = fields.get("name", "")
        code = access.invite(tx, hub.rules, asker, name, fields.get("role", ""), now)
        expires_at = (now + access.INVITE_LIVES).isoformat()
        return {"name": name, "expires_at": expires_at}, {"link": f"{hub.door.public_url}/invited/{code}"}

    return await asked(request, {"name", "role"}, room)


def changing(change: Callable[[Tx, Rules, access.Asker, str, datetime], None]) -> Endpoint:
    async def run(request: Request) -> Response:
        hub, asker, name = hub_of(request), asker_of(request, known(request)), request.path_params["name"]
        wanted = expected(request)

        def room(tx: Tx, _: Fields, now: datetime) -> Made:
            found = accounts.find(tx, logins.storable(name), is_held=True)
            if found is not None and wanted and mark_of(found) not in wanted:
                state = "disabled" if found.disabled_at is not None else "not disabled"
                raise Changed(f"{name} has changed since you looked. Look again, and decide anew. Its state now: {state}.",
                              mark_of(found), view(hub.rules, found))
            change(tx, hub.rules, asker, logins.storable(name), now)
            return {"name": name, "outcome": "done"}, {}

        told = await asked(request, set(), room)
        gate_of(request).forget()
        return told

    return run


# -- tokens

async def list_tokens(request: Request) -> Response:
    """One's own; of an admin, and of who is nobody in particular, all."""
    visitor = known(request)
    owner = visitor.person.name if visitor.person is not None and not visitor.may(Right.administer) else None
    if visitor.account.kind == "service" and not visitor.may(Right.administer):
        return problem(403, "this token may not see that; it needs the right to administer")
    before = number(request, "before", None, BEFORE_ALL) or 0
    found = await hub_of(request).store.read(lambda tx: sessions.tokens_of(tx, owner, before))
    return answer(200, {"items": [token_view(one) for one in found],
                        "next": found[-1].id if len(found) == sessions.MOST_TOKENS else None})


def token_view(one: sessions.Token) -> dict[str, Any]:
    return {name: text(value) for name, value in asdict(one).items() if name not in ("role", "is_disabled")}


async def make_token(request: Request) -> Response:
    """`service: …` names what it is for when it is nobody's own."""
    hub, visitor = hub_of(request), known(request)
    asker = asker_of(request, visitor)

    def room(tx: Tx, fields: Fields, now: datetime) -> Made:
        try:
            lasts = parse_duration(fields.get("lasts", LASTS))
        except ValueError as error:
            raise BadBody(f"lasts: {error}") from None
        service = fields.get("service", "")
        owner = "" if service else visitor.person.name if visitor.person is not None else ""
        if not owner and not service:
            raise access.NotGranted("that needs a person: one's own token is made logged in, or with people[].api_token; for a "
                                    "program say service: its name")
        name, scope = service or fields.get("name", ""), fields.get("scope", "view")
        number, token = access.make_token(tx, hub.rules, asker, owner, name, scope, lasts, now)
        return {"id": number}, {"token": token}

    return await asked(request, {"name", "service", "scope", "lasts"}, room)


async def revoke_token(request: Request) -> Response:
    asker, reference = asker_of(request, known(request)), request.path_params["id"]
    if not NUMBER.fullmatch(reference):
        return problem(404, f"there is no token {reference[:40]!r}")

    def room(tx: Tx, _: Fields, now: datetime) -> Made:
        access.revoke_token(tx, asker, int(reference), now)
        return {"id": int(reference), "outcome": "done"}, {}

    return await asked(request, set(), room)


async def list_events(request: Request) -> Response:
    """What happened at the door: log-ins, refusals, invitations, tokens. The newest first."""
    before = number(request, "before", None, BEFORE_ALL) or 0
    found = await hub_of(request).store.read(lambda tx: logins.page(tx, before))
    return answer(200, {"items": found, "next": found[-1]["id"] if len(found) == logins.SHOWN else None})


ROUTES = [*route("/api/v1/accounts", for_admins(list_accounts)), *route("/api/v1/accounts", invite, "POST"),
          *route("/api/v1/accounts/{name}", for_admins(one_account)),
          *route("/api/v1/accounts/{name}/disable", changing(access.disable), "POST"),
          *route("/api/v1/accounts/{name}/enable", changing(access.enable), "POST"),
          *route("/api/v1/tokens", list_tokens), *route("/api/v1/tokens", make_token, "POST"),
          *route("/api/v1/tokens/{id}", revoke_token, "DELETE"), *route("/api/v1/access/events", for_admins(list_events))]
