"""What a channel is: a Message goes out, a Receipt comes back. Here is also what all channels share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import httpx
from pydantic import BaseModel

from alerthub.clock import Clock
from alerthub.domain.message import Message, Receipt
from alerthub.settings import Settings

ATTEMPT_SECONDS = 15.0         # total for one attempt, whatever the provider does
RESPONSE_BYTES = 1024 * 1024   # more of an answer than this is never read


@dataclass(frozen=True, slots=True)
class Budget:
    """How fast one destination may be told: `burst` at once, then one every `seconds` (R-24). Enforced by the hub over
    all replicas, not by the channel."""

    seconds: float
    burst: int = 1


@dataclass(frozen=True, slots=True)
class Wire:
    """What a channel may use of the outside. Tests give other ones."""

    http: httpx.AsyncClient
    clock: Clock
    extra: dict[str, Any] = field(default_factory=dict)


class ChannelSettings(Settings):
    """Base of one entry of `<kind>_configs`, in Alertmanager's words."""

    send_resolved: bool = True


class Channel(Protocol):
    """One destination: a channel's code with one address. Built from one entry of `<kind>_configs`.

    class attributes: `kind` ("slack"), `Config` (ChannelSettings subclass, one entry of `slack_configs`), `Global`
    (Settings subclass: this channel's keys of `global:`), `edits` (a live message is changed in place), `digests`
    (a storm may be told as one summary), `tells_untold_resolved` (False for PagerDuty: what it never saw opened is not
    told as resolved).

    Built as `Kind(config, shared, wire)`, where shared is an instance of a model with all `Global` fields. The
    constructor raises ValueError with a plain sentence when the settings do not suffice (for example no token); it does
    no I/O.
    """

    kind: ClassVar[str]
    Config: ClassVar[type[ChannelSettings]]
    Global: ClassVar[type[BaseModel]]
    edits: ClassVar[bool]
    digests: ClassVar[bool]
    tells_untold_resolved: ClassVar[bool]

    @property
    def address(self) -> str:
        """Where it goes, for people, and with `kind` the identity of the destination. Never holds a secret."""

    @property
    def budget(self) -> Budget: ...

    async def send(self, message: Message, previous: Receipt | None) -> Receipt:
        """Deliver. With `previous`, the live message is edited (and what is new goes into its thread).

        Raises SendFailed and nothing else; is cancellable; the caller bounds the total time.
        """

    async def aclose(self) -> None: ...
