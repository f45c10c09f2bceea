"""What people answer in PagerDuty, by its V3 webhooks (PROTOCOLS 4.2).

Everything genuine is answered 2xx, also what means nothing here: after three 4xx in a row PagerDuty turns the subscription off
for a day. Who may do what, and that a thing said twice is done once, is decided by the hub.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from alerthub.channels.base import Forged, Hearing, Inbound, Listener, Reply, Take, Unreadable, Wire
from alerthub.channels.pagerduty import PagerDuty, PagerdutyConfig, PagerdutyGlobal, address_of
from alerthub.domain.command import Answer, Command, Outcome, Verb
from alerthub.domain.person import Account
from alerthub.domain.wording import one_line
from alerthub.settings import revealed

SIGNATURE, WEBHOOK_ID = "x-pagerduty-signature", "x-webhook-id"
VERBS = {
    "incident.acknowledged": Verb.acknowledge, "incident.unacknowledged": Verb.unacknowledge,
    "incident.resolved": Verb.resolve, "incident.annotated": Verb.comment,
}
DEDUP_KEY = re.compile(r"alerthub/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/([0-9]{1,9})")     # see pagerduty.dedup_key
ANSWER_SECONDS = 4.0        # PagerDuty waits for 5
REMEMBERED = 10_000         # incidents there, for the notes on them
NAME, NOTE = 100, 2_000
AUTOMATION = "automation"   # the account of whatever acts there without being a person, our own events among it


def listeners(shared: PagerdutyGlobal, hearing: Hearing, wire: Wire) -> Iterable[Listener]:
    """One for all services, when there is a secret to prove its webhooks with."""
    secret = revealed(shared.pagerduty_webhook_secret)
    return [PagerDutyAnswers(secret.encode(), origin(hearing))] if secret else []


def origin(hearing: Hearing) -> str:
    """The destination that a webhook comes from. With several services no webhook says which: then empty, and each is told;
    an event that repeats a state changes nothing there."""
    found = {address_of(entry.key) for entry in hearing.entries if isinstance(entry, PagerdutyConfig)}
    return f"{PagerDuty.kind}:{found.pop()}" if len(found) == 1 else ""


@dataclass(slots=True)
class PagerDutyAnswers:
    """The subscription. `via` is the destination that what it says came from.

    A note names PagerDuty's own incident and not our dedup_key, so what an earlier webhook said of it is remembered; after a
    restart, and by another replica, a note may be passed over.
    """

    secret: bytes = field(repr=False)
    via: str = ""
    patience: float = ANSWER_SECONDS
    kind: ClassVar[str] = PagerDuty.kind
    is_exclusive: ClassVar[bool] = False
    _known: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        return self.kind

    async def receive(self, inbound: Inbound, take: Take) -> Reply:
        """503 makes PagerDuty repeat it: for what the hub could not store in time."""
        check_signature(inbound.headers.get(SIGNATURE), inbound.body, self.secret)
        command = self.command(event_of(inbound.body), inbound)
        if command is None:
            return Reply(body=b"nothing to do")
        answer = await self.asked(command, take)
        if answer is None or answer.outcome is Outcome.busy:
            return Reply(503, b"not stored; send it again")
        return Reply(body=answer.outcome.value.encode())

    async def asked(self, command: Command, take: Take) -> Answer | None:
        try:
            async with asyncio.timeout(self.patience):
                return await take(command)
        except TimeoutError:
            return None

    async def listen(self, take: Take) -> None:
        """Its answers come by HTTP."""

    async def aclose(self) -> None:
        """Holds nothing."""

    # --- what it says -----------------------------------------------------------------------------------------------------

    def command(self, event: Mapping[str, Any], inbound: Inbound) -> Command | None:
        """None for what is not asked of us: another kind of event, an incident that the hub did not open."""
        dedup_key, verb = self.dedup_key(event), VERBS.get(text(event, "event_type"))
        ours = DEDUP_KEY.fullmatch(dedup_key)
        note = clean(text(event, "data", "content"), NOTE) if verb is Verb.comment else ""
        if ours is None or verb is None or (verb is Verb.comment and not note):
            return None
        # The header is not signed, the id in the event is: a copy under another header would be done again.
        said = text(event, "id") or inbound.headers.get(WEBHOOK_ID) or hashlib.sha256(inbound.body).hexdigest()
        key = hashlib.sha256(f"{verb.value} {dedup_key} {said}".encode("utf-8", "replace")).hexdigest()
        return Command(verb, ours[1], account(event), f"{self.kind}:{key[:32]}", via=self.via, episode=int(ours[2]), text=note,
                       said_at=occurred_at(event, inbound.now), service=clean(text(event, "data", "service", "id"), NAME))

    def dedup_key(self, event: Mapping[str, Any]) -> str:
        """Of the incident that the event is about; empty for one without, or with several (its alerts are grouped)."""
        there = text(event, "data", "incident", "id") or text(event, "data", "id")
        key = text(event, "data", "incident_key")
        if there and DEDUP_KEY.fullmatch(key):
            self._known.pop(there, None)
            self._known[there] = key
            if len(self._known) > REMEMBERED:
                del self._known[next(iter(self._known))]
        return key or self._known.get(there, "")


def check_signature(header: str | None, body: bytes, secret: bytes) -> None:
    """While a secret is exchanged there are several signatures, and one must fit. Raises Forged for everything else."""
    if not header:
        raise Forged("the header X-PagerDuty-Signature is missing")
    wanted = f"v1={hmac.new(secret, body, hashlib.sha256).hexdigest()}".encode()
    given = [part.strip().encode("utf-8", "replace") for part in header.split(",")]
    if not any(hmac.compare_digest(one, wanted) for one in given):
        raise Forged("no signature in X-PagerDuty-Signature fits; is pagerduty_webhook_secret that of this subscription?")


def event_of(body: bytes) -> Mapping[str, Any]:
    """The event; empty where there is none."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise Unreadable("the body is not JSON") from None
    event = value.get("event") if isinstance(value, dict) else None
    return event if isinstance(event, dict) else {}


def account(event: Mapping[str, Any]) -> Account:
    """Who did it there. No agent, or an integration, is automation."""
    who, kind = clean(text(event, "agent", "id"), NAME), text(event, "agent", "type")
    name = clean(text(event, "agent", "summary"), NAME)
    if not who or "integration" in kind:
        return Account(PagerDuty.kind, AUTOMATION, name or "PagerDuty")
    return Account(PagerDuty.kind, who, name)


def occurred_at(event: Mapping[str, Any], now: datetime) -> datetime:
    """When it was done there: webhooks come up to 48 hours late (PROTOCOLS 4.2). Never later than now."""
    try:
        at = datetime.fromisoformat(text(event, "occurred_at"))
    except ValueError:
        return now
    return min(at, now) if at.tzinfo is not None else now


def text(value: Any, *path: str) -> str:
    """The text at this place; empty where there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


def clean(said: str, limit: int) -> str:
    """One line that both databases keep as it is."""
    return one_line(said, limit).encode("utf-8", "replace").decode()
