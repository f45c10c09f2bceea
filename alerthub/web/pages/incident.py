"""One incident: what is known of it, what it led to, and the buttons to answer it with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from alerthub.domain.command import Command, Outcome, Verb
from alerthub.domain.leads import leads
from alerthub.domain.person import Right
from alerthub.domain.rules import Rules
from alerthub.domain.runbook import choose
from alerthub.domain.silence import end_of
from alerthub.domain.story import fate_of, headline, story
from alerthub.flow import stories
from alerthub.flow.coming import STATES, coming
from alerthub.store import alerts as alert_store
from alerthub.store import reading, runs
from alerthub.store.tx import Tx
from alerthub.web.api import NUMBER, REFERENCE
from alerthub.web.base import hub_of
from alerthub.web.forms import BadForm, back, read_form
from alerthub.web.pages.pressing import key_of, unread
from alerthub.web.pages.render import STYLES, owners_of, page
from alerthub.web.routing import Endpoint, route
from alerthub.web.visitor import known

SHOWN = {"alerts": 20, "lines": 8}      # of a long list at first; the rest unfolds, so that a phone's page ends somewhere
REASON = 2_000                          # characters of a comment
ASK = "ask"                             # in the address: which question stands on the page


async def incident(request: Request) -> Response:
    hub, reference = hub_of(request), request.path_params["reference"]
    rules, now = hub.rules, hub.clock.now()
    found = await hub.store.read(lambda tx: view(tx, rules, reference, now)) if REFERENCE.fullmatch(reference) else None
    if found is None:
        return page(request, "missing.html", 404, what="incident")
    return page(request, "incident.html", **found, now=now, key=hub.clock.new_id(), first=SHOWN, states=STATES,
                owners=owners_of(rules), tries=tries_of(found["incident"]), asks=request.query_params.get(ASK, ""),
                may_respond=known(request).may(Right.respond))


def view(tx: Tx, rules: Rules, reference: str, now: datetime) -> dict[str, Any] | None:
    """All that the page shows, as of one moment; None when there is no such incident."""
    found = reading.one_incident(tx, reference)
    known = alert_store.find_incident(tx, found["id"]) if found else None
    if found is None or known is None:
        return None
    labels = [alert["labels"] for alert in found["alert_list"]]
    book = next((book for one in labels if (book := choose(rules.runbooks, one))), None)
    its_runs = runs.of_incident(tx, found["id"])
    told = stories.views(tx, its_runs)
    return {"incident": found, "runbook": book, "lanes": reading.lanes_of(tx, found["id"]),
            "runbook_body": Markup(book.html) if book else "",     # noqa: S704  (cleaned by nh3 when it was read)
            "runs": [run_view(told[run.id]) for run in reversed(its_runs)],
            "leads": leads(rules, labels, now), "coming": coming(tx, rules, known, now)}


def run_view(run: Mapping[str, Any]) -> dict[str, Any]:
    """What became of it first; the rest is for who unfolds it."""
    return {"run": run, "headline": headline(run), "lines": story(run)[1:], "style": STYLES[fate_of(run)]}


def tries_of(found: Mapping[str, Any]) -> dict[int, int]:
    """Which try each delivery was since its destination was reached last; only of those that failed, or came after one."""
    failed: dict[int, int] = {}
    tries: dict[int, int] = {}
    for delivery in found["deliveries"]:
        lane, state = delivery["lane_id"], delivery["state"]
        if state in ("failed", "unknown") or failed.get(lane):
            tries[delivery["id"]] = failed.get(lane, 0) + 1
        failed[lane] = 0 if state == "sent" else failed.get(lane, 0) + (state in ("failed", "unknown"))
    return tries


# -- buttons

def button(verb: Verb) -> Endpoint:
    """The endpoint that asks for `verb` about the incident in the address, and leads back to its page."""
    async def press(request: Request) -> Response:
        number = request.path_params["number"]
        if not NUMBER.fullmatch(number):
            return page(request, "missing.html", 404, what="incident")
        to = f"/incidents/{number}"
        try:
            command = command_of(request, verb, number, await read_form(request))
        except BadForm as error:
            return unread(request, error, to)
        except ValueError as error:
            return back(request, to, f"Nothing was done. {error}", is_good=False)
        told = await hub_of(request).hear(command)
        if told.outcome is Outcome.held:        # the page there asks it
            return RedirectResponse(f"{to}?{ASK}={verb.value}", 303, {"cache-control": "no-store"})
        return back(request, to, told)

    return press


def command_of(request: Request, verb: Verb, number: str, fields: Mapping[str, str]) -> Command:
    """Raises ValueError, with what would be right."""
    hub, text = hub_of(request), said(fields.get("comment", ""))
    if verb is Verb.comment and not text:
        raise ValueError("A comment needs words.")
    until = None
    if verb is Verb.silence:
        asked = fields.get("custom", "").strip() or fields.get("duration", "")
        until = end_of(asked, hub.clock.now(), hub.rules.answers.time_zone)
    visitor, forced = known(request), fields.get("forced", "")
    key = key_of(fields, visitor, hub, f"{verb.value} {number} {forced}")
    return Command(verb, number, visitor.account, key, via="web", text=text, until=until, forced=forced == "1")


def said(text: str) -> str:
    """As a database takes it: no half of a surrogate pair, nothing that does not print but line breaks."""
    whole = text.encode("utf-8", "replace").decode().replace("\r\n", "\n")
    return "".join(sign if sign.isprintable() or sign == "\n" else " " for sign in whole)[:REASON].strip()


VERBS = (Verb.acknowledge, Verb.unacknowledge, Verb.resolve, Verb.silence, Verb.escalate, Verb.comment)
ROUTES = [*route("/incidents/{reference}", incident),
          *[one for verb in VERBS for one in route(f"/incidents/{{number}}/{verb.value}", button(verb), "POST")]]
