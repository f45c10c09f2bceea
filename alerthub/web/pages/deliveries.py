"""What waits to be told and what was given up, how each destination fares, and every attempt to tell anybody. Here dead letters
are sent again."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain.delivery import UNLIMITED, tokens
from alerthub.domain.person import Right
from alerthub.domain.rules import Rules
from alerthub.domain.wording import spoken
from alerthub.store import lanes, queue
from alerthub.store.tx import Tx
from alerthub.web.api import NUMBER, STATES
from alerthub.web.base import hub_of
from alerthub.web.forms import back
from alerthub.web.pages.pressing import key_of, once, pressed, refused, who_of
from alerthub.web.pages.render import owners_of, page
from alerthub.web.pages.times import Times
from alerthub.web.routing import route
from alerthub.web.visitor import Visitor, known

logger = logging.getLogger("alerthub.web")
HERE = "/deliveries"
LANES, PLACES, LOG, ATTEMPTS = 30, 100, 50, 50
PLACE = 500         # characters of a destination that somebody asks for
FILTERS = ("state", "destination", "channel", "incident")


async def show(request: Request) -> Response:
    """What waits, what was given up, and the destinations; `?destination=` of one only, `?dead=` and `?places=` are cursors."""
    hub = hub_of(request)
    rules, now = hub.rules, hub.clock.now()
    place, after = (clean(request.query_params.get(name, "")) for name in ("destination", "places"))
    cursor = numbered(request.query_params.get("dead", ""))

    def read(tx: Tx) -> dict[str, Any]:
        return {"waiting": queue.waiting(tx, now, LANES, place), "dead": queue.dead(tx, LANES, cursor, place),
                "fares": queue.places(tx, PLACES, after), "waits": queue.waiting_at(tx, now), "given_up": queue.dead_at(tx)}

    found = await hub.store.read(read)
    known_places = [place_view(rules, row, found, now) for row in found["fares"]["items"]]
    count, dead = (found[name].get(place, 0) if place else sum(found[name].values()) for name in ("waits", "given_up"))
    return page(request, "deliveries.html", **found, rows=known_places, place=place, waiting_count=count, dead_count=dead,
                **common(request, rules, now), may_replay=known(request).may(Right.administer), key=hub.clock.new_id(),
                here=here, owners=owners_of(rules))


def common(request: Request, rules: Rules, now: datetime) -> dict[str, Any]:
    times = Times(rules.answers.time_zone, now)
    return {"at": times.at, "ago": times.ago, "now": now.isoformat()}


def clean(text: str) -> str:
    """What no destination can be called asks for nothing that there is."""
    return text[:PLACE].replace("\0", " ")


def numbered(text: str) -> int | None:
    return int(text) if NUMBER.fullmatch(text) else None


def here(path: str = HERE, **query: object) -> str:
    given = {name: str(value) for name, value in query.items() if value}
    return f"{path}?{urlencode(given, quote_via=quote)}" if given else path


def place_view(rules: Rules, row: Mapping[str, Any], found: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    destination = rules.all_destinations.get(row["key"])
    return {**row, "is_configured": destination is not None, "waits": found["waits"].get(row["key"], 0),
            "given_up": found["given_up"].get(row["key"], 0), "is_paused": (row["paused_until"] or "") > now.isoformat(),
            "receiver": destination.receiver if destination else "", "budget": budget(rules, row, now)}


def budget(rules: Rules, row: Mapping[str, Any], now: datetime) -> str:
    """How much may be said there, and how much of that is left now."""
    destination = rules.all_destinations.get(row["key"])
    if destination is None:
        return ""
    left = tokens(datetime.fromisoformat(row["free_at"]), destination.every, destination.burst, now)
    if left == UNLIMITED or not destination.every:
        return "no limit"
    burst = f", {destination.burst} at once" if destination.burst > 1 else ""
    return f"one in {spoken(destination.every)}{burst}; {left} left now"


# -- the log, and one of it

async def log(request: Request) -> Response:
    """Newest first. Filters: state, destination, channel, incident, dead; `before` is the cursor."""
    hub = hub_of(request)
    asked = {name: clean(request.query_params.get(name, "").strip()) for name in FILTERS}
    asked["dead"] = "1" if request.query_params.get("dead") == "1" else ""
    wrong = mistake(asked)
    wanted = queue.Wanted(asked["state"], asked["destination"], asked["channel"], int(asked["incident"].lstrip("#") or 0),
                          bool(asked["dead"])) if not wrong else queue.Wanted()
    before = numbered(request.query_params.get("before", ""))
    found = await hub.store.read(lambda tx: queue.log(tx, wanted, LOG, before))
    channels = sorted({one.channel for one in hub.rules.all_destinations.values()})
    return page(request, "deliveries_log.html", 400 if wrong else 200, **found, asked=asked, wrong=wrong, channels=channels,
                states=sorted(filter(None, STATES)), owners=owners_of(hub.rules), span=queue.SPAN,
                more=here(f"{HERE}/log", **asked, before=found["next"]), **common(request, hub.rules, hub.clock.now()))


def mistake(asked: Mapping[str, str]) -> str:
    if asked["state"] not in STATES:
        return f"There is no state {asked['state'][:40]!r}; there are {', '.join(sorted(filter(None, STATES)))}."
    if asked["incident"] and not NUMBER.fullmatch(asked["incident"].removeprefix("#")):
        return f"{asked['incident'][:40]!r} is no number of an incident; write it like 17."
    return ""


async def one(request: Request) -> Response:
    hub, number = hub_of(request), numbered(request.path_params["number"])
    found = await hub.store.read(lambda tx: queue.one(tx, number, ATTEMPTS)) if number else None
    if found is None:
        return page(request, "missing.html", 404, what="delivery")
    return page(request, "delivery.html", found=found, owners=owners_of(hub.rules), key=hub.clock.new_id(), here=here,
                may_replay=known(request).may(Right.administer), **common(request, hub.rules, hub.clock.now()))


# -- what is changed

async def replay(request: Request, fields: Mapping[str, str], visitor: Visitor) -> Response:
    """One dead letter (`lane`), those of a destination (`destination`), or all (`all`)."""
    hub = hub_of(request)
    lane, place = numbered(fields.get("lane", "")), clean(fields.get("destination", ""))
    if lane is None and not place and fields.get("all") != "yes":
        return refused(request, 400, "Say what to send again: one dead letter, those of a destination, or all.", HERE)
    what = f"lane {lane}" if lane is not None else f"place {place}"

    def unit(tx: Tx) -> str:
        count = lanes.replay(tx, hub.clock.now(), lane, "" if lane is not None else place)
        return said(count)

    answer = await once(request, key_of(fields, visitor, hub, f"replay {what}"), unit)
    logger.info("dead letters sent again", extra={"event": "lane.replayed", "what": what, "who": who_of(visitor).name})
    return back(request, HERE, answer)


def said(count: int) -> str:
    if not count:
        return "No dead letter is there any more: somebody was first, or it has been told meanwhile."
    return "1 dead letter is sent again." if count == 1 else f"{count} dead letters are sent again."


ROUTES = [*route(HERE, show), *route("/deliveries/log", log),
          *route("/deliveries/replay", pressed(replay, HERE, Right.administer), "POST"), *route("/deliveries/{number}", one)]
