"""`/api/v1/audit`: search the record, and have it checked. Taking it away is in export.py."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain.event import EventKind
from alerthub.domain.person import Right
from alerthub.store import searching
from alerthub.store.searching import Wanted
from alerthub.web.api import LIMIT, MOST, NUMBER, BadQuery, choice, number
from alerthub.web.base import answer, hub_of, problem
from alerthub.web.checking import Checking
from alerthub.web.repeats import given_key, once
from alerthub.web.routing import route
from alerthub.web.visitor import Visitor, known

KINDS = frozenset({"", *(kind.value for kind in EventKind)})
LONGEST = 200


def checking_of(request: Request) -> Checking:
    """The one of this hub, made when it is first asked for."""
    state = request.app.state
    if not hasattr(state, "checking"):
        state.checking = Checking()
    found: Checking = state.checking
    return found


def may_check(visitor: Visitor) -> bool:
    """Whoever may do anything here: it reads the whole record, so that it is nothing for who may only look."""
    return any(visitor.may(right) for right in (Right.respond, Right.approve, Right.administer))


def wanted(request: Request) -> Wanted:
    """What the address asks for. BadQuery, with what would be right."""
    given = {name: request.query_params.get(name, "").strip() for name in ("actor", "text", "since", "until")}
    if long := next((name for name, value in given.items() if len(value) > LONGEST or "\0" in value), ""):
        raise BadQuery(f"{long} must be a text of at most {LONGEST} characters")
    zone = hub_of(request).rules.answers.time_zone
    incident = request.query_params.get("incident", "").removeprefix("#")
    if incident and not NUMBER.fullmatch(incident):
        raise BadQuery("incident must be a number")
    return Wanted(int(incident or 0), choice(request, "kind", KINDS), printable(given["actor"]), printable(given["text"]),
                  moment(given["since"], "since", zone), moment(given["until"], "until", zone, days=1))


def printable(text: str) -> str:
    """No database takes a lone surrogate."""
    return text.encode("utf-8", "replace").decode()


def moment(text: str, name: str, zone: str, days: int = 0) -> datetime | None:
    """A day or a time there, or an instant with its own zone; `days` are added to a day alone, so that it is included."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            found = found.replace(tzinfo=ZoneInfo(zone))
        return (found + timedelta(days=days if len(text) == len("2026-11-21") else 0)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadQuery(f"{name} must be a day or a time, such as 2026-11-21 or 2026-11-21T03:00") from None


async def search(request: Request) -> Response:
    """The newest first. A page may be empty and still have a `next`: it looks through a bounded part of the record."""
    limit, before = number(request, "limit", LIMIT, MOST) or LIMIT, number(request, "before", None, 2**62)
    asked = wanted(request)
    return answer(200, await hub_of(request).store.read(lambda tx: searching.search(tx, asked, limit, before)))


async def result(request: Request) -> Response:
    """Of the check that runs, or the last one."""
    return answer(200, checking_of(request).result.view())


async def start(request: Request) -> Response:
    """202: it runs; what it finds is read later. 200 when one ran already, or the same `Idempotency-Key` has started one."""
    hub, visitor = hub_of(request), known(request)
    if not may_check(visitor):
        return problem(403, "to have the record checked needs the right to respond, to approve or to administer")
    checking = checking_of(request)
    if given_key(request) and not (await once(request, b"", lambda _: (202, {})))[1]:
        return answer(200, checking.result.view())
    was_started = checking.start(hub.store.url, hub.clock, visitor.name)
    return answer(202 if was_started else 200, checking.result.view())


ROUTES = [*route("/api/v1/audit", search), *route("/api/v1/audit/verify", result), *route("/api/v1/audit/verify", start, "POST")]
