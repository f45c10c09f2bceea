"""What a channel is: a Message goes out, a Receipt comes back. Here is also what all channels share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Protocol

import httpx
from pydantic import BaseModel

from alerthub.clock import Clock
from alerthub.domain.command import Answer, Ask
from alerthub.domain.message import Message, Receipt
from alerthub.errors import AlerthubError
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


class Forged(AlerthubError):
    """Not proved to come from the provider: a missing, wrong, stale or malformed signature or secret. `status`: 401 or 403."""

    def __init__(self, reason: str, status: int = 401) -> None:
        self.status = status
        super().__init__(reason)


class Unreadable(AlerthubError):
    """Genuine, and not what the provider documents: answered 400, nothing is done."""


@dataclass(frozen=True, slots=True)
class Inbound:
    """What a provider posted to `/replies/<kind><rest>`. Header names are lower case; `body` is raw, not yet trusted."""

    rest: str                       # "", or "/command"
    headers: Mapping[str, str]
    body: bytes
    now: datetime


@dataclass(frozen=True, slots=True)
class Reply:
    """The HTTP answer."""

    status: int = 200
    body: bytes = b""
    media_type: str = "text/plain"


Take = Callable[[Ask], Awaitable[Answer]]     # the hub's ear: stores what was asked, and says how it ended. Never raises.


@dataclass(frozen=True, slots=True)
class Hearing:
    """What a listener knows beside its own keys of `global`: the entries of its `<kind>_configs`, ids of chat accounts that are
    a person's (contact addresses), and the address by which the provider reaches the hub."""

    entries: tuple[ChannelSettings, ...] = ()
    accounts: frozenset[str] = frozenset()
    public_url: str = ""


class Listener(Protocol):
    """Hears what people answer at one provider. Built by `listeners(shared, hearing, wire)` of its module, one for every
    account of ours there; none when nothing is configured to hear.

    A listener proves that an answer is genuine, reads it into an Ask, gives it to `take`, and tells the person how it ended.
    It decides nothing about incidents or people.
    """

    kind: ClassVar[str]

    @property
    def name(self) -> str:
        """Unique, without secrets: names the lease of what only one replica may do."""

    @property
    def is_exclusive(self) -> bool:
        """`listen` must run on one replica only (Telegram's getUpdates)."""

    async def receive(self, inbound: Inbound, take: Take) -> Reply:
        """The provider's HTTP request. Raises Forged or Unreadable, and nothing else. Answers within the provider's limit;
        what takes longer goes on in a task of the listener's own."""

    async def listen(self, take: Take) -> None:
        """Ask the provider (long poll, web socket) until cancelled; return at once where answers come by HTTP."""

    async def aclose(self) -> None: ...


MakeListeners = Callable[[Any, Hearing, Wire], Iterable[Listener]]
