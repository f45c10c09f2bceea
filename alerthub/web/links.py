"""Links in mails: `GET /respond/{token}` says what would be done and asks, `POST` does it.

Scanners open every address in a mail, and some run its scripts: looking changes nothing, and no page posts by itself (R-52,
PROTOCOLS 5). Who holds the token may act; no cookie is involved.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain.command import Answer, Outcome, press_of_link
from alerthub.errors import Busy
from alerthub.web.base import hub_of
from alerthub.web.pages import render

TOKEN = re.compile(r"[A-Za-z0-9_.=-]{1,200}")      # ours have about 60 characters
VERBS = {       # the question, and the button
    "acknowledge": ("Acknowledge", "Acknowledge"), "resolve": ("Resolve", "Resolve"), "silence": ("Silence", "Silence"),
    "unacknowledge": ("Take back the acknowledgement of", "Take it back"), "escalate": ("Escalate", "Escalate now"),
}
TITLES = {Outcome.done: "Done", Outcome.already: "Nothing to do", Outcome.held: "Really?", Outcome.refused: "Not done",
          Outcome.told: "AlertHub", Outcome.busy: "Not done yet"}
STATUSES = {Outcome.refused: 403, Outcome.busy: 503}
NOT_OURS = "This link is not valid. Perhaps it was cut in two: copy the whole address from the mail."
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
                  number=view.number)


async def act(request: Request) -> Response:
    """A person pressed the button. The same link again is the same press: it is done once."""
    token, hub = request.path_params["token"], hub_of(request)
    if is_foreign(request, hub.door.public_url):
        return told(403, "Not done", ELSEWHERE)
    if not TOKEN.fullmatch(token):
        return told(404, "This link does nothing", NOT_OURS)
    answer = await hub.hear(press_of_link(token))
    return answered(answer, token)


def answered(answer: Answer, token: str) -> Response:
    """What became of it. Held: the question, with a second button; not stored: the same button again."""
    post_to, button = "", ""
    if answer.outcome is Outcome.held and answer.force:
        post_to, button = answer.force, "Resolve anyway"
    elif answer.outcome is Outcome.busy:
        post_to, button = token, "Try again"
    return told(STATUSES.get(answer.outcome, 200), TITLES[answer.outcome], answer.text, answer.number, post_to, button)


def told(status: int, title: str, text: str, number: int = 0, post_to: str = "", button: str = "") -> Response:
    return render("respond.html", status, title=title, text=text, view=None, post_to=post_to, button=button, number=number)


def is_foreign(request: Request, public_url: str) -> bool:
    """Whether a page of another site posted it. A browser sends `null` from a page without referrer, as ours is."""
    origin, host = request.headers.get("origin", "null").lower(), request.headers.get("host", "").lower()
    public = urlsplit(public_url.lower())
    return origin not in ("null", f"http://{host}", f"https://{host}", f"{public.scheme}://{public.netloc}")
