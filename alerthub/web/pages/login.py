"""Log in, and log out."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from alerthub.domain.access import way_back
from alerthub.flow import access
from alerthub.web.base import hub_of
from alerthub.web.entering import Wrong, by_password, by_token, let_in, mark_of, shown
from alerthub.web.forms import BadForm, read_form
from alerthub.web.gate import DEVICE, DEVICE_SECONDS, SESSION, address_of, drop_cookie, gate_of, set_cookie
from alerthub.web.routing import route
from alerthub.web.visitor import visitor_of

AGAIN = "This page was open for too long. Try once more."


async def ask(request: Request) -> Response:
    """The form. Who is logged in already goes on."""
    following = request.query_params.get("next", "/")
    if visitor_of(request) is not None:
        return RedirectResponse(way_back(following), 303, {"cache-control": "no-store"})
    return await form(request, following=following)


async def form(request: Request, status: int = 200, error: str = "", name: str = "", following: str = "/",
               after: int = 0) -> Response:
    hub = hub_of(request)
    provider, takes_token = hub.provider.name if hub.provider is not None else "", bool(hub.door.api_token or hub.door.people)
    mark, before = await mark_of(request)
    answer = shown(request, "login.html", status, mark, before, error=error, name=name, next=way_back(following),
                   provider=provider, takes_token=takes_token, is_wanted=await gate_of(request).is_wanted())
    if after:
        answer.headers["retry-after"] = str(after)
    return answer


async def log_in(request: Request) -> Response:
    """By name and password, or by a token of the configuration."""
    try:
        fields = await read_form(request, (await mark_of(request))[0])
    except BadForm as error:
        return await form(request, error.status, AGAIN if error.status == 403 else str(error))
    following, name = fields.get("next", "/"), fields.get("name", "").strip()
    device = ""
    try:
        if fields.get("token"):
            secret = await by_token(request, fields["token"].strip())
        else:
            secret, device = await by_password(request, name, fields.get("password", ""))
    except Wrong as wrong:
        return await form(request, wrong.status, str(wrong), name[:100], following, wrong.after)
    answer = let_in(request, secret, following)
    if device:
        set_cookie(answer, hub_of(request).door, DEVICE, device, DEVICE_SECONDS)
    return answer


async def log_out(request: Request) -> Response:
    """This browser, or all of this person."""
    hub, visitor = hub_of(request), visitor_of(request)
    try:
        fields = await read_form(request)
    except BadForm as error:
        return await form(request, error.status, str(error))
    answer = RedirectResponse("/login", 303, {"cache-control": "no-store"})
    if visitor is not None and visitor.session:
        name = "" if visitor.account.kind == "api" else visitor.account.id
        await hub.store.write(lambda tx: access.leave(tx, name, visitor.session, hub.clock.now(), address_of(request),
                                                      everywhere=fields.get("everywhere") == "yes"))
        drop_cookie(answer, hub.door, SESSION)
    return answer


ROUTES = [*route("/login", ask), *route("/login", log_in, "POST"), *route("/logout", log_out, "POST")]
