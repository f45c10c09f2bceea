"""Who can log in, for admins: invite, disable, enable; and what happened at the door lately."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain.access import ROLES, person_of
from alerthub.domain.person import Right
from alerthub.flow import access
from alerthub.store import accounts, logins
from alerthub.web.base import hub_of
from alerthub.web.forms import BadForm, back, read_form
from alerthub.web.gate import asker_of, gate_of
from alerthub.web.pages.render import page
from alerthub.web.routing import route
from alerthub.web.visitor import known

PLACE = "/people"
ONLY_ADMINS = "Only an admin sees who can log in."


async def show(request: Request, status: int = 200, invitation: str = "", error: str = "") -> Response:
    """`invitation` is its link, shown this once."""
    hub, visitor = hub_of(request), known(request)
    if not visitor.may(Right.administer):
        return page(request, "missing.html", 403, what=f"page for you: {ONLY_ADMINS.lower()[:-1]}")
    after = request.query_params.get("after", "")[:100]
    found, waiting, events = await hub.store.read(
        lambda tx: (accounts.page(tx, after.replace("\0", "")), set(accounts.links_of(tx)), logins.page(tx)))
    people = hub.rules.people
    rows = [{"account": one, "person": person_of(people, one.name, one.role), "is_configured": one.name in people,
             "is_invited": one.name in waiting} for one in found]
    without = [person for name, person in people.items() if name not in {one.name for one in found}] if not after else []
    return page(request, "people.html", status, rows=rows, without=without, invitation=invitation, error=error,
                roles=ROLES, events=events, next=found[-1].name if len(found) == accounts.PAGE else "")


async def invite(request: Request) -> Response:
    hub, visitor = hub_of(request), known(request)
    try:
        fields = await read_form(request)
        name, asker = fields.get("name", "").strip(), asker_of(request, visitor)
        role = "" if name in hub.rules.people else fields.get("role", "")
        code = await hub.store.write(lambda tx: access.invite(tx, hub.rules, asker, name, role, hub.clock.now()))
    except BadForm as error:
        return await show(request, error.status, error=str(error))
    except access.NotGranted as error:
        return await show(request, error.status, error=str(error))
    return await show(request, invitation=f"{hub.door.public_url}/invited/{code}")


async def change(request: Request) -> Response:
    """Disable, or enable."""
    hub, visitor = hub_of(request), known(request)
    try:
        fields = await read_form(request)
        name, asker, now = logins.storable(fields.get("name", "")), asker_of(request, visitor), hub.clock.now()
        room = access.disable if request.url.path.rstrip("/").endswith("/disable") else access.enable
        await hub.store.write(lambda tx: room(tx, hub.rules, asker, name, now))
    except BadForm as error:
        return await show(request, error.status, error=str(error))
    except access.NotGranted as error:
        return back(request, PLACE, str(error), is_good=False)
    gate_of(request).forget()
    become = "disabled: no session, no token and no link of theirs works" if room is access.disable else "enabled"
    return back(request, PLACE, f"{name} is {become}.")


ROUTES = [*route("/people", show), *route("/people", invite, "POST"), *route("/people/disable", change, "POST"),
          *route("/people/enable", change, "POST")]
