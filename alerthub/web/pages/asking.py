"""What all buttons of the pages share: in whose name they ask, and the page for a form that could not be read."""

from __future__ import annotations

import hashlib

from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain.command import Verb
from alerthub.domain.person import Account
from alerthub.web.base import hub_of
from alerthub.web.forms import BadForm
from alerthub.web.pages.render import page
from alerthub.web.visitor import visitor_of

KEY = 60        # characters of a form's own key


def by_visitor(request: Request, verb: Verb, about: str, key: str) -> tuple[Account, str]:
    """The account that asks, and the key of what it asks: the same for the same form sent twice, another for anybody else."""
    visitor = visitor_of(request)
    assert visitor is not None      # the door lets nobody in without one
    of = hashlib.sha256(f"{visitor.account.key} {about}".encode("utf-8", "replace")).hexdigest()[:24]
    return visitor.account, f"web:{verb.value}:{of}:{key[:KEY] or hub_of(request).clock.new_id()}"


def refusal(request: Request, error: BadForm) -> Response:
    return page(request, "refused.html", error.status, reason=str(error))
