"""Links in mails: `GET /respond/{token}` says what would be done and asks, `POST` does it.

Scanners open every address in a mail, and some run its scripts: looking changes nothing, and no page posts by itself (R-52,
PROTOCOLS 5). Who holds the token may act; no cookie is involved.
"""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain.answer import Why
from alerthub.domain.command import UNKNOWN, Answer, Outcome, press_of_link
from alerthub.domain.person import Account
from alerthub.errors import Busy
from alerthub.web.base import hub_of
from alerthub.web.bodies import NoBody, read_body
from alerthub.web.gate import person_by
from alerthub.web.pages.render import render
from alerthub.web.visitor import visitor_of

TOKEN = re.compile(r"[A-Za-z0-9_.=-]{1,200}")      # ours have about 60 characters
VERBS = {       # the question, and the button
    "acknowledge": ("Acknowledge", "Acknowledge"), "resolve": ("Resolve", "Resolve"), "silence": ("Silence", "Silence"),
    "unacknowledge": ("Take back the acknowledgement of", "Take it back"), "escalate": ("Escalate", "Escalate now"),
    "approve": ("Approve this for", "Approve"), "deny": ("Deny this for", "Deny"),
    "release": ("Ask to release this target of", "Ask for its release"),
}
PROOF_LIMIT = 4_096     # bytes of the form
TITLES = {Outcome.done: "Done", Outcome.already: "Nothing to do", Outcome.held: "Really?", Outcome.refused: "Not done",
          Outcome.told: "AlertHub", Outcome.busy: "Not done yet"}
NOT_KNOWN = "Perhaps done"
STATUSES = {Outcome.refused: 403, Outcome.busy: 503}
NOT_OURS = "This link is not valid. Perhaps it was cut in two: copy the whole address from the mail."
TOO_LARGE = "What came with this press is not what the page sends. Open the link from the mail again."
PROVED_CODES = ("y", "l")       # of tokens whose page asks for a person's own token too; see NEED_PROOF in respond.py
NOT_NOW = "The hub cannot reach its database. Nothing was changed. Try again in a minute."
ELSEWHERE = "The request was started by another site. Open the link from the mail, and press the button there."


async def show(request: Request) -> Response:
    """What the link would do, and a button. Changes nothing."""
    token = request.path_params["token"]
    if not TOKEN.fullmatch(token):
        return told(404, "This link does nothing", NOT_OURS)
    try:
        view = await hub_of(request).link(token)
    except Busy:
        return told(503, "Not now", NOT_NOW)
    if view.problem:
        return told(404, "This link does nothing", view.problem, view.number)
    words = view.verb[:1].upper() + view.verb[1:]
    asked, button = VERBS.get(view.verb, (f"{words}:", words))
    return render("respond.html", title=f"{asked} incident #{view.number}?", text="", view=view, post_to=token, button=button,
                  number=view.number, needs_proof=view.needs_proof and not proved_by(request, ""))


async def act(request: Request) -> Response:
    """A person pressed the button. The same link again is the same press: it is done once."""
    token, hub = request.path_params["token"], hub_of(request)
    if is_foreign(request, hub.door.public_url):
        return told(403, "Not done", ELSEWHERE)
    if not TOKEN.fullmatch(token):
        return told(404, "This link does nothing", NOT_OURS)
    given = await proof_of(request)
    if given is None:
        return told(400, "Not done", TOO_LARGE)
    answer = await hub.hear(replace(press_of_link(token), proved=proved_by(request, given)))
    return answered(answer, token, is_proved=proved_by(request, "") is not None)


async def proof_of(request: Request) -> str | None:
    """The person's own token, where the page asked for it; None for what no browser sends."""
    try:
        body = await read_body(request, PROOF_LIMIT, hub_of(request).door.body_seconds)
        return dict(parse_qsl(body.decode(), max_num_fields=5)).get("proof", "").strip()
    except (NoBody, ValueError):
        return None


def proved_by(request: Request, token: str) -> Account | None:
    """The person who has shown their own token on the page, or is logged in."""
    if token:
        person = person_by(hub_of(request).door, token)
        return Account("token", person, person) if person else None
    visitor = visitor_of(request)
    return visitor.account if visitor is not None and visitor.account.kind in ("token", "login", "scoped") else None


def answered(answer: Answer, token: str, *, is_proved: bool = False) -> Response:
    """What became of it. Held: the question, with a second button; not stored, or not proved: the same button again."""
    post_to, button, needs_proof = "", "", answer.why == Why.needs_proof.value
    if answer.outcome is Outcome.held and answer.force:
        post_to, button = answer.force, "Resolve anyway"
    elif answer.outcome is Outcome.busy:
        post_to, button = token, "Try again"
        needs_proof = token[:1] in PROVED_CODES and not is_proved
    elif needs_proof:
        post_to, button = token, "Try again"
    title = NOT_KNOWN if answer.why == UNKNOWN else TITLES[answer.outcome]
    return told(STATUSES.get(answer.outcome, 200), title, answer.text, answer.number, post_to, button,
                needs_proof=needs_proof)


def told(status: int, title: str, text: str, number: int = 0, post_to: str = "", button: str = "", *,
         needs_proof: bool = False) -> Response:
    return render("respond.html", status, title=title, text=text, view=None, post_to=post_to, button=button, number=number,
                  needs_proof=needs_proof)


def is_foreign(request: Request, public_url: str) -> bool:
    """Whether a page of another site posted it. A browser sends `null` from a page without referrer, as ours is."""
    origin, host = request.headers.get("origin", "null").lower(), request.headers.get("host", "").lower()
    public = urlsplit(public_url.lower())
    return origin not in ("null", f"http://{host}", f"https://{host}", f"{public.scheme}://{public.netloc}")
