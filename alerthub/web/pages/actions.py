"""All that the automation may do and has done, on one page; here people agree, deny, release, override, freeze and lift.

What makes safer is done at once. What lets something happen is asked a second time, on a page that says exactly what will.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain.action import RunState
from alerthub.domain.answer import NEEDS_PERSON
from alerthub.domain.command import GUARDED, Command, Outcome, Verb
from alerthub.domain.rules import Rules
from alerthub.flow.asking import question_of
from alerthub.flow.latch import missing
from alerthub.flow.showing import asks_for_release, lines_of_run, of_release, release_lines
from alerthub.store import freezes, latches, usage, votes
from alerthub.store.tx import Tx
from alerthub.web.actions import WHY_LIMIT
from alerthub.web.base import hub_of
from alerthub.web.denials import heard
from alerthub.web.forms import back
from alerthub.web.pages.arsenal import facts
from alerthub.web.pages.pressing import key_of, pressed, refused, who_of
from alerthub.web.pages.render import page
from alerthub.web.pages.times import Times
from alerthub.web.routing import route
from alerthub.web.visitor import Visitor, known

HERE, ASK = "/actions", "/actions/ask"
RUN_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ABOUT = 300         # characters
STATES = tuple(state.value for state in RunState)
# What is asked twice: the question, and the word on its button.
TWICE = {Verb.approve: ("Let this happen?", "I agree"), Verb.release: ("Ask for this release?", "Ask for the release"),
         Verb.override: ("Release this without proof and without others?", "Override"),
         Verb.unfreeze: ("Let actions run again?", "Lift the freeze")}
OVER = "This does not wait any more: it was decided, or its time is over."


async def show(request: Request) -> Response:
    """`?state=` and `?before=` of the last runs."""
    return await shown(request)


async def shown(request: Request, wrong: str = "", form: Mapping[str, str] | None = None, status: int = 200) -> Response:
    hub, visitor = hub_of(request), known(request)
    state, before = request.query_params.get("state", ""), request.query_params.get("before", "")
    state, before = state if state in STATES else "", before if RUN_ID.fullmatch(before) else ""
    rules, now = hub.rules, hub.clock.now()
    found = await hub.store.read(lambda tx: facts(tx, rules, who_of(visitor), now, before, state))
    times = Times(rules.answers.time_zone, now)
    return page(request, "actions.html", status, **found, rules=rules, at=times.at, ago=times.ago, key=hub.clock.new_id(),
                wrong=wrong, form={"about": "", **(form or {})}, needs_person=NEEDS_PERSON if visitor.person is None else "",
                state=state, states=STATES, before=before)


# -- what will happen

async def ask(request: Request) -> Response:
    """`?verb=approve&about=…`: exactly what would be done, and the button. Changes nothing (R-52)."""
    given = request.query_params
    verb = next((one for one in TWICE if one.value == given.get("verb")), None)
    if verb is None:
        return refused(request, 404, "There is nothing to ask at this address.", HERE)
    return await asking(request, verb, given.get("about", "")[:ABOUT].replace("\0", " "))


async def asking(request: Request, verb: Verb, about: str, why: str = "", wrong: str = "", status: int = 200) -> Response:
    hub, visitor = hub_of(request), known(request)
    rules, now = hub.rules, hub.clock.now()
    effect = await hub.store.read(lambda tx: EFFECTS[verb](tx, rules, about, now))
    if not effect:
        return refused(request, 404, wrong or OVER, HERE)
    title, button = TWICE[verb]
    return page(request, "actions_ask.html", status, verb=verb.value, about=about, title=title, button=button, effect=effect,
                why=why, asks_why=verb in (Verb.release, Verb.override), needs_why=verb is Verb.override, key=hub.clock.new_id(),
                wrong=wrong, needs_person=NEEDS_PERSON if visitor.person is None else "", limit=WHY_LIMIT)


def to_approve(tx: Tx, rules: Rules, about: str, now: datetime) -> tuple[str, ...]:
    """A run by its id, or exactly a request to release."""
    if about.startswith("latch:"):
        return of_release(tx, rules, about, about.removeprefix("latch:").rpartition(":")[0])
    run = usage.find(tx, about) if RUN_ID.fullmatch(about) else None
    asked = question_of(rules, run, votes.of(tx, [run.subject])) if run else None
    return lines_of_run(rules, run, asked) if run and asked and run.state is RunState.awaiting_approval else ()


def to_release(tx: Tx, rules: Rules, about: str, now: datetime) -> tuple[str, ...]:
    return asks_for_release(tx, rules, about)


def to_override(tx: Tx, rules: Rules, about: str, now: datetime) -> tuple[str, ...]:
    latch = latches.find(tx, about)
    if latch is None or not latch.state.is_safe:
        return ()
    lack = missing(tx, rules, about, now)
    proof = f"Not proved: {lack.text}" if lack else "It is proved that what made it safe is over"
    return (*release_lines(tx, rules, about), proof,
            "Nobody else is asked. Your name and your reason stand in the record.")


def to_lift(tx: Tx, rules: Rules, about: str, now: datetime) -> tuple[str, ...]:
    found = next((one for one in freezes.standing(tx) if one.scope == about), None)
    if found is None:
        return ()
    return (found.text(rules.answers.time_zone),
            f"From then on {about or 'every action'} may run again when an alert calls for it.",
            "What was refused meanwhile is not made up for.")


EFFECTS = {Verb.approve: to_approve, Verb.release: to_release, Verb.override: to_override, Verb.unfreeze: to_lift}


# -- what is said

async def say(request: Request, fields: Mapping[str, str], visitor: Visitor) -> Response:
    """One word about what waits, to the same room as in chat. What it refuses is said where it was asked, and what was typed
    is kept."""
    hub = hub_of(request)
    verb = next((one for one in GUARDED if one.value == fields.get("verb")), None)
    if verb is None:
        return refused(request, 400, "That is nothing that can be said to actions.", HERE)
    about, why = (fields.get(name, "").replace("\0", " ")[:limit] for name, limit in (("about", ABOUT), ("why", WHY_LIMIT)))
    if verb is Verb.freeze and not why.strip():
        return await shown(request, "A freeze needs a reason, for whoever must lift it. Nothing was frozen.", {"about": about},
                           400)
    key = key_of(fields, visitor, hub, f"{verb.value} {about} {why}")
    told = await hub.hear(Command(verb, "", visitor.account, key, via="web", text=why, subject=about))
    heard(request.scope, told)
    if told.outcome in (Outcome.refused, Outcome.busy) and verb in TWICE:
        return await asking(request, verb, about, why, told.text, 503 if told.outcome is Outcome.busy else 409)
    return back(request, HERE, told)


ROUTES = [*route(HERE, show), *route(ASK, ask), *route("/actions/say", pressed(say, HERE), "POST")]
