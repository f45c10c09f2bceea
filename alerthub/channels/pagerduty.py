"""PagerDuty by Events API v2 (PROTOCOLS 4.1): trigger, acknowledge and resolve, one alert there per incident and episode.

The dedup_key makes a repeated event harmless, so nothing is ever doubled. What people answer there is in pagerduty_answers.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator

from alerthub.channels.answers import failure_for_status, retry_after
from alerthub.channels.base import Budget, ChannelSettings, Wire
from alerthub.channels.http import Answer, checked_url, post
from alerthub.channels.pagerduty_event import (
    ACKNOWLEDGE,
    CALLED,
    CLOSED_AT,
    TRIGGER,
    WORD,
    action_for,
    closed_before,
    custom_details,
    dedup_key,
    encoded,
    is_for_others,
    is_same,
    rings_anew,
    source,
    summary,
)
from alerthub.channels.template import Template
from alerthub.channels.text import began
from alerthub.domain.alert import SYNONYMS
from alerthub.domain.message import Message, Receipt, Why
from alerthub.domain.wording import clip, one_line
from alerthub.errors import Failure, SendFailed
from alerthub.log import Redactor
from alerthub.settings import Secret, Settings

# Limits of the Events API (PROTOCOLS 4.1).
SUMMARY = 1_024
BODY_BYTES = 512_000        # documented as 512 KB; the smaller reading of it
# Ours, where nothing is documented.
MINIMAL_SUMMARY = 200
LINKS, LINK = 10, 2_000
EXCERPT = 200
SHORTEST_SECRET = 16        # characters; PagerDuty's own have more

TEMPLATES = ("description", "severity", "source", "client", "component", "group", "class")
A_FEW_MINUTES = 120.0       # seconds after 429, where it says "retry with a backoff of a few minutes"
FAILURES = {403: Failure.configuration, 404: Failure.configuration}     # and else as everywhere


class PagerdutyGlobal(Settings):
    pagerduty_url: str = "https://events.pagerduty.com/v2/enqueue"
    pagerduty_webhook_secret: Secret | None = None
    pagerduty_webhook_secret_file: str | None = None

    @field_validator("pagerduty_url")
    @classmethod
    def check_pagerduty_url(cls, url: str) -> str:
        return checked_url(url, "pagerduty_url")

    @field_validator("pagerduty_webhook_secret")
    @classmethod
    def check_webhook_secret(cls, secret: Secret | None) -> Secret | None:
        if secret is not None and len(secret.get_secret_value()) < SHORTEST_SECRET:
            raise ValueError("pagerduty_webhook_secret is too short; copy the secret that PagerDuty showed for the subscription")
        return secret


class PagerdutyConfig(ChannelSettings):
    """One entry of `pagerduty_configs`. `description`, `severity`, `source`, `client`, `component`, `group`, `class` and the
    values of `details` are templates. `service_key` is the old name of `routing_key`."""

    routing_key: Secret | None = None
    routing_key_file: str | None = None
    service_key: Secret | None = None
    service_key_file: str | None = None
    url: str | None = None
    client: str = "AlertHub"
    client_url: str | None = None
    description: str | None = None
    severity: str | None = None
    source: str | None = None
    details: dict[str, str] = Field(default_factory=dict)
    component: str | None = None
    group: str | None = None
    class_: str | None = Field(default=None, alias="class")

    @field_validator("url", "client_url")
    @classmethod
    def check_addresses(cls, url: str | None) -> str | None:
        return None if url is None else checked_url(url, "this")

    @field_validator("routing_key", "service_key")
    @classmethod
    def check_key(cls, key: SecretStr | None) -> SecretStr | None:
        text = key.get_secret_value() if key is not None else "unset"
        if not (text and text.isascii() and text.isprintable() and " " not in text):
            raise ValueError("an integration key is one word of letters and digits; copy it from the service's integration")
        return key

    @model_validator(mode="after")
    def check_one_key(self) -> Self:
        if self.routing_key is not None and self.service_key is not None:
            raise ValueError("give routing_key or service_key, not both")
        if self.routing_key is None and self.service_key is None:
            raise ValueError("give routing_key or routing_key_file: the integration key of an Events API v2 integration")
        return self

    @property
    def key(self) -> str:
        key = self.routing_key or self.service_key
        return key.get_secret_value() if key is not None else ""

    def deprecations(self) -> list[str]:
        """What works, and should be changed."""
        if self.service_key is None:
            return []
        return ["service_key is sent as routing_key by Events API v2. A key of an old v1 integration is refused there: add an "
                "Events API v2 integration to the service, and give its key as routing_key"]


class PagerDuty:
    """One service. Its address is a mark of the key, so the alert's end always goes where its beginning went (R-26)."""

    kind: ClassVar[str] = "pagerduty"
    Config: ClassVar[type[ChannelSettings]] = PagerdutyConfig
    Global: ClassVar[type[BaseModel]] = PagerdutyGlobal
    edits: ClassVar[bool] = True
    digests: ClassVar[bool] = False                 # each incident is acknowledged on its own
    tells_untold_resolved: ClassVar[bool] = False   # dropped there without a word

    def __init__(self, config: PagerdutyConfig, shared: PagerdutyGlobal, wire: Wire) -> None:
        self.config, self._wire = config, wire
        self._url = config.url or shared.pagerduty_url
        self._redactor = Redactor([config.key])
        given = {name: getattr(config, "class_" if name == "class" else name) for name in TEMPLATES}
        self._templates = {name: template(name, source) for name, source in given.items() if source}
        self._details = {name: template(f"details.{name}", source) for name, source in config.details.items()}

    def __repr__(self) -> str:
        return f"PagerDuty({self.address!r})"

    @property
    def address(self) -> str:
        return address_of(self.config.key)

    @property
    def budget(self) -> Budget:
        """120 events a minute per key (PROTOCOLS 4.1)."""
        return Budget(0.5, burst=10)

    async def send(self, message: Message, previous: Receipt | None) -> Receipt:
        """Tell the state. A reminder of what PagerDuty already has open is not sent, nor an edit of it: it would be a line in a
        log there, and reminding people is PagerDuty's own business."""
        said = action_for(message)
        is_others = said == TRIGGER and is_for_others(message)
        receipt = Receipt({"dedup_key": dedup_key(message), "action": CALLED if is_others else said})
        receipt.handle.update(closed_before(receipt, previous))
        is_edit = message.only_edit and said == TRIGGER
        is_ringing = said == ACKNOWLEDGE and not message.taken and previous is not None and (
            previous.handle.get("action") == CALLED)
        if (is_edit or is_ringing or message.why is Why.repeat) and previous is not None and is_same(previous, receipt):
            return previous
        older = previous.handle.get("dedup_key") if previous is not None else None
        if older and (older != receipt.handle["dedup_key"] or rings_anew(message, said, previous)):
            # Also an episode whose end was never told, because the next one began meanwhile: nobody else would close it there.
            end = {"routing_key": self.config.key, "event_action": "resolve", "dedup_key": older}
            await self._post(encoded(end))
            if older == receipt.handle["dedup_key"]:
                receipt.handle[CLOSED_AT] = self._wire.clock.now().isoformat()
        if older == receipt.handle["dedup_key"] or message.status.is_open or older is None:
            await self._post(self._body(message, said))
        return receipt

    async def _post(self, body: bytes) -> None:
        answer = await post(self._wire.http, self._url, body, {"Content-Type": "application/json"})
        if answer.status != 202:
            raise self._failure(answer)

    async def aclose(self) -> None:
        """Holds nothing of its own."""

    def _failure(self, answer: Answer) -> SendFailed:
        said = self._said(answer)
        reason = FAILURES.get(answer.status) or failure_for_status(answer.status)
        if reason is Failure.content and "routing" in said.lower():
            reason = Failure.configuration      # 400 for a key of the wrong length or kind, too
        after = retry_after(answer.headers.get("retry-after"), self._wire.clock.now())
        if reason is Failure.rate_limited and after is None:
            after = A_FEW_MINUTES
        return SendFailed(reason, f"HTTP {answer.status} {said}".strip(), after=after)

    def _said(self, answer: Answer) -> str:
        """`Event object is invalid: 'payload.severity' is invalid`, without what an echo might hold."""
        body = answer.json()
        errors = body.get("errors")
        words = [body.get("message"), *(errors if isinstance(errors, list) else [])]
        text = ": ".join(word for word in words[:5] if isinstance(word, str))
        return clip(self._redactor.redact(one_line(self._redactor.redact(text))), EXCERPT)

    # --- the event ------------------------------------------------------------------------------------------------------

    def _body(self, message: Message, said: str) -> bytes:
        """At most BODY_BYTES: first without our own details, last without any."""
        for details in self._candidates(message):
            body = encoded(self._event(message, said, details))
            if len(body) <= BODY_BYTES:
                break
        return body

    def _candidates(self, message: Message) -> Iterator[Mapping[str, Any]]:
        if not message.is_degraded:
            own = {name: self._rendered(found, message, "(the template failed)") for name, found in self._details.items()}
            yield {**custom_details(message), **own}
            yield {**own, "left_out": "alerts, labels and annotations: too large for PagerDuty"}
            yield {"left_out": "all details: too large for PagerDuty"}
        yield {}

    def _event(self, message: Message, said: str, details: Mapping[str, Any]) -> dict[str, Any]:
        event: dict[str, Any] = {
            "routing_key": self.config.key, "event_action": said, "dedup_key": dedup_key(message),
            "payload": self._payload(message),
        }
        if message.is_degraded:
            return event
        event["payload"]["custom_details"] = details
        event["client"] = self._word("client", message)
        links = [link for link in message.links if len(link.url) <= LINK][:LINKS]
        event["links"] = [{"href": link.url, "text": one_line(link.label, WORD)} for link in links]
        page = self.config.client_url or next((link.url for link in links), None)
        return {**event, "client_url": page} if page else event

    def _payload(self, message: Message) -> dict[str, Any]:
        """What is documented as required; with the templates, unless the event must be minimal."""
        if message.is_degraded:
            return {"summary": summary(message, MINIMAL_SUMMARY), "source": source(message), "severity": message.severity.value}
        described = one_line(self._rendered(self._templates.get("description"), message, ""), SUMMARY)
        more = {name: word for name in ("component", "group", "class") if (word := self._word(name, message))}
        return {
            "summary": described or summary(message, SUMMARY), "source": self._word("source", message) or source(message),
            "severity": self._severity(message), "timestamp": began(message).isoformat(), **more,
        }

    def _severity(self, message: Message) -> str:
        """One of PagerDuty's four words, which are the hub's: any other is answered 400."""
        word = self._word("severity", message).lower()
        return SYNONYMS.get(word, message.severity).value

    def _word(self, name: str, message: Message) -> str:
        return one_line(self._rendered(self._templates.get(name), message, ""), WORD)

    def _rendered(self, found: Template | None, message: Message, fallback: str) -> str:
        text = found.render(message) if found is not None else None
        return fallback if text is None else text


def template(name: str, source: str) -> Template:
    try:
        return Template(source)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def address_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:8]
