"""The door for answers: `POST /replies/{kind}` and `/replies/slack/command`. A listener proves that the provider sent it and
reads it; here are only the limits, and what a stranger is told. Never 500 (F22)."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from alerthub.channels.base import Forged, Inbound, Listener, Take, Unreadable
from alerthub.web.base import hub_of, problem
from alerthub.web.bodies import read_body
from alerthub.web.refusals import Refusals, refusals

logger = logging.getLogger("alerthub.replies")
BODY_LIMIT = 1024 * 1024        # PagerDuty drops its own above 256 KB, the others say far less
BODY_SECONDS = 5.0


def note_refusal(told: Refusals, kind: str, error: Forged, now: float) -> None:
    """A line for each kind and status."""
    if told.is_news(kind, str(error.status), now):
        logger.warning("an answer was refused: not proved to come from %s: %s", kind, error,
                       extra={"event": "reply.refused", "kind": kind, "status": error.status})


async def receive(request: Request) -> Response:
    """What a provider posts."""
    return await answered(request, request.path_params["kind"], "")


async def receive_command(request: Request) -> Response:
    """A line that somebody typed after `/alerthub` in Slack."""
    return await answered(request, "slack", "/command")


async def answered(request: Request, kind: str, rest: str) -> Response:
    hub = hub_of(request)
    ears = [listener for listener in hub.listeners if listener.kind == kind]
    if not ears:
        return problem(404, "answers of this kind are not heard; see global in the configuration")
    body = await read_body(request, BODY_LIMIT, min(BODY_SECONDS, hub.door.body_seconds), late=503)
    inbound = Inbound(rest, dict(request.headers.items()), body, hub.clock.now())
    try:
        return await first_that_knows(ears, inbound, hub.hear)
    except Forged as error:
        note_refusal(refusals(request, "replies"), kind, error, hub.clock.monotonic())
        return problem(error.status, str(error))
    except Unreadable as error:
        return problem(400, str(error))


async def first_that_knows(ears: Sequence[Listener], inbound: Inbound, take: Take) -> Response:
    """Of several accounts of one kind (Telegram bots), the one that the provider spoke to. Raises Forged when it is none."""
    refused: list[Forged] = []
    for listener in ears:
        try:
            reply = await listener.receive(inbound, take)
        except Forged as error:
            refused.append(error)
            continue
        return Response(reply.body, reply.status, {"cache-control": "no-store"}, reply.media_type)
    raise refused[0]
