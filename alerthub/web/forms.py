"""What a person sends with a button of a page: read within limits, proved to come from a page of the hub, answered by a page.

After a change the browser is led back to what it showed (303), and what became of it is said on top of that, once: it travels in
a cookie that holds only these words.
"""

from __future__ import annotations

import base64
import json
from hmac import compare_digest
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from alerthub.domain.command import Answer, Outcome
from alerthub.web.base import hub_of
from alerthub.web.bodies import NoBody, read_body
from alerthub.web.denials import heard, unproved
from alerthub.web.gate import cookie_name, is_https
from alerthub.web.visitor import visitor_of

FORM_LIMIT, MOST_FIELDS = 64 * 1024, 100
SAID, SAID_SECONDS, SAID_LENGTH = "alerthub_said", 30, 600
GOOD = (Outcome.done, Outcome.already)


class BadForm(Exception):
    """Nothing was done. `status`, and in words what to do."""

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        super().__init__(reason)


async def read_form(request: Request, mark: str = "", limit: int = FORM_LIMIT) -> dict[str, str]:
    """The fields, the last one of each name. Raises BadForm for what is too large, late, unreadable, or not from our pages.
    `mark`: what the page has for whoever is nobody yet."""
    try:
        body = await read_body(request, limit, hub_of(request).door.body_seconds)
        fields = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except NoBody as error:
        raise BadForm(error.status, str(error)) from None
    except ValueError:
        raise BadForm(400, "that is not what the page sends; load it again") from None
    visitor = visitor_of(request)
    wanted = mark or (visitor.csrf if visitor is not None else "")
    if (wanted or visitor is not None) and not is_mark(fields.get("csrf", ""), wanted):
        unproved(request.scope)
        raise BadForm(403, "this page is too old, or another site has sent this; load the page again and press once more")
    return fields


def is_mark(given: str, wanted: str) -> bool:
    return bool(wanted) and compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def back(request: Request, path: str, told: Answer | str, *, is_good: bool = True) -> Response:
    """Lead the browser to one of the hub's own pages, which says on top what became of what was asked. `path` never comes from
    the request unchecked."""
    text, good = (told.text, told.outcome in GOOD) if isinstance(told, Answer) else (told, is_good)
    if isinstance(told, Answer):
        heard(request.scope, told)
    answer = RedirectResponse(path, 303, {"cache-control": "no-store"})
    words = base64.urlsafe_b64encode(json.dumps([good, text[:SAID_LENGTH]]).encode()).decode()
    name = cookie_name(hub_of(request).door, SAID)
    answer.set_cookie(name, words, SAID_SECONDS, httponly=True, samesite="strict", secure=is_secure(request))
    return answer


def said(request: Request) -> tuple[bool, str] | None:
    """What `back` has left for this page: whether it is good, and the words; None when there is nothing, or it is not ours."""
    try:
        good, text = json.loads(base64.urlsafe_b64decode(request.cookies.get(cookie_name(hub_of(request).door, SAID), "")))
        return bool(good), str(text)[:SAID_LENGTH].encode("utf-8", "replace").decode()
    except (ValueError, TypeError, RecursionError):     # anybody may have written it
        return None


def is_secure(request: Request) -> bool:
    return is_https(hub_of(request).door)
