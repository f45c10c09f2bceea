"""What the buttons of the pages have in common: who may press, that a form is what a page has sent, that the same one is done
once, and that whatever becomes of it is said on a page."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from alerthub.domain.answer import Who
from alerthub.domain.command import Answer, Outcome
from alerthub.domain.person import Right
from alerthub.errors import Busy
from alerthub.store import people
from alerthub.store.tx import Tx
from alerthub.web.base import HubView, hub_of, problem
from alerthub.web.forms import BadForm, read_form
from alerthub.web.pages.render import page
from alerthub.web.routing import Endpoint
from alerthub.web.visitor import Visitor, known

ONLY_FORMS = ("/people",)         # for admins: whoever may press nothing there does not see it either
LONGEST = 200                   # characters of an address that are looked at
KEY = 64        # characters of a form's key that count
NOT_STORED = "The hub cannot reach its database now ({}). Nothing was changed; go back and press once more in a minute."
Pressed = Callable[[Request, Mapping[str, str], Visitor], Awaitable[Response]]


def pressed(do: Pressed, back_to: str, right: Right | None = None) -> Endpoint:
    """The endpoint of a form. `right`: needed to press it at all; without one, the room that does it decides. What cannot be
    done is said on a page that leads to `back_to`."""
    async def endpoint(request: Request) -> Response:
        visitor = known(request)
        if right is not None and not visitor.may(right):
            role = visitor.person.role if visitor.person is not None else "nobody"
            return refused(request, 403, f"{visitor.name} is {role} here, and this needs the right to {right.value}.", back_to)
        try:
            return await do(request, await read_form(request), visitor)
        except BadForm as error:
            return unread(request, error, back_to)
        except Busy as error:
            return refused(request, 503, NOT_STORED.format(error), back_to)

    return endpoint


def who_of(visitor: Visitor) -> Who:
    """In the words of the rooms."""
    return Who(visitor.account, visitor.person)


def unread(request: Request, error: BadForm, back_to: str) -> Response:
    return refused(request, error.status, f"Nothing was done: {error}.", back_to)


def refused(request: Request, status: int, text: str, back_to: str) -> Response:
    return page(request, "not_done.html", status, text=text[:1].upper() + text[1:], back_to=back_to)


def may_not(request: Request, status: int, reason: str) -> Response:
    """Where no room has said it: a page for whoever looks at pages, since their right may be gone since it was opened; for
    programs a problem."""
    if f"{request.url.path}/".startswith("/api/") or "text/html" not in request.headers.get("accept", ""):
        return problem(status, reason)
    return refused(request, status, f"Nothing was done: {reason}.", way_back(request))


def way_back(request: Request) -> str:
    """The page that such a form stands on: the nearest address above that can be looked at."""
    path = request.url.path[:LONGEST].rstrip("/")
    while path and not is_page(request, path):
        path = path.rpartition("/")[0]
    return path or "/"


def is_page(request: Request, path: str) -> bool:
    scope = {**request.scope, "method": "GET", "path": path}
    return path not in ONLY_FORMS and any(one.matches(scope)[0] is Match.FULL for one in request.app.routes)


def key_of(fields: Mapping[str, str], visitor: Visitor, hub: HubView, what: str) -> str:
    """The same for the same form of the same person sent again, and short whatever it is about. `what` holds all that was filled
    in: a page that was gone back to and filled in otherwise asks for something else."""
    about = hashlib.sha256(f"{visitor.account.key} {what}".encode("utf-8", "replace")).hexdigest()[:24]
    given = fields.get("key", "")[:KEY].encode("ascii", "replace").decode()
    return f"web:{about}:{given if given.isprintable() and given else hub.clock.new_id()}"


async def once(request: Request, key: str, do: Callable[[Tx], str]) -> Answer:
    """Do it in one transaction, unless that form was sent before; what was said then is said again. ValueError, and whatever
    else `do` raises, undoes it all."""
    hub = hub_of(request)
    now = hub.clock.now()

    def unit(tx: Tx) -> Answer:
        before = people.first_heard(tx, key, now)
        if before is not None:
            return before
        answer = Answer(Outcome.done, do(tx))
        people.answered(tx, key, answer)
        return answer

    answer = await hub.store.write(unit)
    hub.nudge()
    return answer
