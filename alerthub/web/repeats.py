"""`Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): the same key of the same caller at the same address is answered
the same, and not done again; with another body it is 422. What was refused may be asked again with the same key."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from starlette.requests import Request

from alerthub.hashing import hashed
from alerthub.store import repeats
from alerthub.store.repeats import Said
from alerthub.store.tx import Tx
from alerthub.web.access import caller
from alerthub.web.base import Refused, hub_of

HEADER, LONGEST = "idempotency-key", 200
OTHER = "this Idempotency-Key was used before, for something else; use a new one for every new request"
T = TypeVar("T")


class BadKey(Refused):
    """It cannot be used; with what would be right."""


class UsedKey(Refused):
    """It was used before, for something else."""

    status = 422


def given_key(request: Request) -> str:
    """Empty where none is given. Raises BadKey."""
    given = request.headers.get(HEADER)
    if given is not None and not 0 < len(given) <= LONGEST:
        raise BadKey(f"Idempotency-Key must have 1 to {LONGEST} characters; a UUID is right")
    return given or ""


def place_of(request: Request, key: str) -> str:
    """Of this caller, at this address."""
    parts = caller(request.scope).key, request.method, request.url.path.rstrip("/"), key
    return "api:once:" + hashed("\n".join(parts))


async def once(request: Request, body: bytes, unit: Callable[[Tx], Said]) -> tuple[Said, bool]:
    """The status and the body of the answer, and whether it was done now. Raises BadKey, UsedKey."""
    if not (key := given_key(request)):
        return await hub_of(request).store.write(unit), True
    text = body.decode("utf-8", "surrogateescape")
    return await under(request, key, text, lambda tx, place, asked, now: repeats.once(tx, place, asked, now, unit))


async def once_outside(request: Request, do: Callable[[], Said]) -> Said:
    """The same of what no transaction holds and what is harmless when it is done twice: as it is when its answer could not be
    kept. Raises BadKey, UsedKey."""
    if not (key := given_key(request)):
        return do()
    if before := await under(request, key, "", lambda tx, place, asked, _: repeats.kept(tx, place, asked)):
        return before
    done = do()
    said, _ = await under(request, key, "", lambda tx, place, asked, now: repeats.once(tx, place, asked, now, lambda _: done))
    return said


async def must_be_same(request: Request, body: str) -> None:
    """Of what is kept in the room itself: only that the key is not used for something else. Raises BadKey, UsedKey."""
    if key := given_key(request):
        await under(request, key, body, repeats.claim)


async def under(request: Request, key: str, body: str, unit: Callable[[Tx, str, str, datetime], T]) -> T:
    """What the unit makes of the place of this key, of what is asked with it, and of now."""
    hub = hub_of(request)
    known = place_of(request, key), hashed(f"{request.url.query}\n{body}"), hub.clock.now()
    try:
        return await hub.store.write(lambda tx: unit(tx, *known))
    except repeats.OtherBody:
        raise UsedKey(OTHER) from None
