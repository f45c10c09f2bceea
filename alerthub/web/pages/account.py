"""One's own account: password, sessions, tokens."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain.access import FREE_BY_NAME, weakness
from alerthub.domain.person import Right
from alerthub.flow import access
from alerthub.hashing import hashed
from alerthub.settings import parse_duration
from alerthub.store import accounts, logins, sessions
from alerthub.store.tx import Tx
from alerthub.web.base import hub_of, problem
from alerthub.web.denials import unproved
from alerthub.web.entering import Wrong, guess, refused
from alerthub.web.forms import BadForm, back, read_form
from alerthub.web.gate import address_of, asker_of
from alerthub.web.pages.render import page
from alerthub.web.routing import route
from alerthub.web.visitor import Visitor, known

PLACE = "/account"
NUMBER_DIGITS = 15


async def show(request: Request, status: int = 200, made: str = "", error: str = "") -> Response:
    """What is somebody's own. `made` is a new token, shown this once."""
    hub, visitor = hub_of(request), known(request)
    now, limits = hub.clock.now(), hub.door.limits
    name = own_name(visitor)

    def read(tx: Tx) -> dict[str, Any]:
        return {"stored": accounts.find(tx, name) if name else None, "tokens": sessions.tokens_of(tx, name) if name else [],
                "sessions": sessions.of(tx, name, now, limits.idle, limits.absolute) if name else []}

    return page(request, "account.html", status, **await hub.store.read(read), made=made, error=error, rights=list(Right),
                may_make=visitor.person is not None and visitor.person.scope is None, now=now)


def own_name(visitor: Visitor) -> str:
    return visitor.person.name if visitor.person is not None else ""


async def change_password(request: Request) -> Response:
    """Who has one must know it; all their other sessions are over then."""
    hub, visitor = hub_of(request), known(request)
    try:
        fields = await read_form(request)
        if visitor.account.kind != "login":
            raise Wrong(403, "a password belongs to who has logged in by themselves")
        encoded = await checked(request, visitor.account.id, fields)
    except BadForm as error:
        return await show(request, error.status, error=str(error))
    except Wrong as wrong:
        unproved(request.scope)
        return await show(request, wrong.status, error=str(wrong))
    name, address = visitor.account.id, address_of(request)

    def unit(tx: Tx) -> bool:
        is_still = sessions.lasts(tx, name, visitor.session)    # whoever was thrown out while it was hashed sets nothing
        if is_still:
            access.keep_password(tx, name, encoded, hub.clock.now(), name, address, visitor.session)
        return is_still

    if not await hub.store.write(unit):
        unproved(request.scope)
        return await show(request, 403, error="This session is over. Nothing was changed; log in again.")
    return back(request, PLACE, "The password is set. All other sessions of yours are over.")


async def checked(request: Request, name: str, fields: dict[str, str]) -> str:
    """The hash of the new password. Raises Wrong."""
    hub, key = hub_of(request), f"name:{hashed(name)[:32]}"
    if wrong := weakness(fields.get("password", ""), name):
        raise Wrong(422, wrong)
    if fields["password"] != fields.get("again", ""):
        raise Wrong(422, "the two new passwords are not the same; type it once more")
    stored = await guess(request, {key: FREE_BY_NAME}, name)
    if stored is None or not stored.has_password:   # it would open for somebody whom the provider knows no more
        raise Wrong(403, "you come in by single sign-on; who shall have a password here too gets a link from an admin")
    if not await hub.passwords.matches(stored.password, fields.get("current", "")):
        await refused(request, name, "password change")
        raise Wrong(403, "that is not your password now")
    await hub.store.write(lambda tx: logins.succeeded(tx, key))
    return await hub.passwords.hash(fields["password"])


async def end_session(request: Request) -> Response:
    hub, visitor = hub_of(request), known(request)
    try:
        fields = await read_form(request)
    except BadForm as error:
        return await show(request, error.status, error=str(error))
    done = await hub.store.write(lambda tx: sessions.end_one(tx, own_name(visitor), logins.storable(fields.get("session", ""))))
    return back(request, PLACE, "That session is over." if done else "That session was over already.")


async def make_token(request: Request) -> Response:
    hub, visitor = hub_of(request), known(request)
    try:
        fields = await read_form(request)
        lasts = parse_duration(fields.get("lasts", "").strip())
        scope = " ".join(right for right in Right if fields.get(right.value) == "yes") or "view"
        asker, now = asker_of(request, visitor), hub.clock.now()
        _, secret = await hub.store.write(lambda tx: access.make_token(
            tx, hub.rules, asker, own_name(visitor), fields.get("name", "").strip(), scope, lasts, now))
    except BadForm as error:
        return await show(request, error.status, error=str(error))
    except ValueError as error:
        return await show(request, 422, error=f"how long it lasts: {error}")
    except access.NotGranted as error:
        return await show(request, error.status, error=str(error))
    return await show(request, made=secret)


async def revoke_token(request: Request) -> Response:
    hub, visitor = hub_of(request), known(request)
    try:
        fields = await read_form(request)
    except BadForm as error:
        return await show(request, error.status, error=str(error))
    number = fields.get("token", "")
    if not (number.isascii() and number.isdigit() and len(number) <= NUMBER_DIGITS):
        return problem(400, "token must be the number of one")
    asker = asker_of(request, visitor)
    try:
        await hub.store.write(lambda tx: access.revoke_token(tx, asker, int(number), hub.clock.now()))
    except access.NotGranted as error:
        return back(request, PLACE, str(error), is_good=False)
    return back(request, PLACE, "That token works no more.")


ROUTES = [*route("/account", show), *route("/account/password", change_password, "POST"),
          *route("/account/sessions/end", end_session, "POST"), *route("/account/tokens", make_token, "POST"),
          *route("/account/tokens/revoke", revoke_token, "POST")]
