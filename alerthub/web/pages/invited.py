"""What a one-time link opens: the first admin chooses a name and a password, whoever was invited a password. Looking changes
nothing.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain.access import FREE_BY_ADDRESS, weakness, wrong_name
from alerthub.flow import access
from alerthub.store import accounts
from alerthub.store.tx import Tx
from alerthub.web.base import hub_of
from alerthub.web.entering import Wrong, begin, guess, let_in, mark_of, shown
from alerthub.web.forms import BadForm, read_form
from alerthub.web.gate import DEVICE, DEVICE_SECONDS, address_of, gate_of, network_of, set_cookie
from alerthub.web.routing import route


async def ask(request: Request) -> Response:
    return await form(request)


async def form(request: Request, status: int = 200, error: str = "", name: str = "", after: int = 0) -> Response:
    hub, code = hub_of(request), request.path_params["code"]
    found = await hub.store.read(lambda tx: accounts.find_link(tx, code, hub.clock.now()))
    mark, before = await mark_of(request)
    values: dict[str, Any] = {"error": error, "name": name, "account": "", "is_setup": False, "code": code}
    if found is None:
        return shown(request, "setup.html", max(status, 404), mark, before, **values, is_gone=True)
    values |= {"account": found[1], "is_setup": found[0] == access.SETUP}
    answer = shown(request, "setup.html", status, mark, before, **values, is_gone=False)
    if after:
        answer.headers["retry-after"] = str(after)
    return answer


async def choose(request: Request) -> Response:
    """The password is kept, and its owner is in."""
    hub, code = hub_of(request), request.path_params["code"]
    try:
        fields = await read_form(request, (await mark_of(request))[0])
        account = await account_of(request, code, fields)
    except BadForm as error:
        return await form(request, error.status, str(error))
    except Wrong as wrong:
        return await form(request, wrong.status, str(wrong), fields.get("name", "")[:100], wrong.after)
    encoded = await hub.passwords.hash(fields["password"])

    def unit(tx: Tx) -> str:
        name = access.set_password(tx, hub.rules, code, account, encoded, hub.clock.now(), address_of(request))
        return begin(request, tx, name, "password")

    try:
        secret = await hub.store.write(unit)
    except access.NotGranted as error:
        return await form(request, error.status, str(error), account)
    gate = gate_of(request)
    gate.forget()
    answer = let_in(request, secret, "/account" if hub.door.is_loopback else "/")
    set_cookie(answer, hub.door, DEVICE, await gate.device(account), DEVICE_SECONDS)
    return answer


async def account_of(request: Request, code: str, fields: dict[str, str]) -> str:
    """Whose password it will be, after everything that can be seen before the long work of hashing it. Raises Wrong."""
    hub = hub_of(request)
    found = await hub.store.read(lambda tx: accounts.find_link(tx, code, hub.clock.now()))
    if found is None:
        await guess(request, {f"address:{network_of(address_of(request))}": FREE_BY_ADDRESS}, "")
        raise Wrong(404, access.USED)
    name = fields.get("name", "").strip() if found[0] == access.SETUP else found[1]
    password = fields.get("password", "")
    if wrong := wrong_name(name) or weakness(password, name):
        raise Wrong(422, wrong)
    if password != fields.get("again", ""):
        raise Wrong(422, "the two passwords are not the same; type it once more")
    return name


ROUTES = [*route("/setup/{code}", ask), *route("/setup/{code}", choose, "POST"), *route("/invited/{code}", ask),
          *route("/invited/{code}", choose, "POST")]
