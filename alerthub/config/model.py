"""The blocks of the configuration file that belong to no edge. Blocks of the edges join them in kinds.py.

Names that refer to each other are checked in check.py, when the whole file is read.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from os.path import normpath
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, SecretStr, WithJsonSchema, model_validator

from alerthub.actions.base import ActionSettings, TargetSettings
from alerthub.channels.base import ChannelSettings
from alerthub.config.access import AccessSettings
from alerthub.config.people import AnswersSettings, EscalationPolicy, FlappingSettings, Person, Schedule, Text
from alerthub.config.telemetry import Telemetry
from alerthub.config.times import Location, Name, TimeIntervalSettings
from alerthub.domain.cron import parse_cron
from alerthub.domain.matcher import Matcher, parse_matchers
from alerthub.domain.rules import RunMode
from alerthub.settings import Duration, Secret, Settings, base_address
from alerthub.sources.base import SourceSettings, Span, Token

LISTEN = "127.0.0.1:8095"
SIZE = re.compile(r"([0-9]{1,12})(B|KiB|MiB|GiB)?")
UNITS = {None: 1, "B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
ALL = "..."        # of group_by: every label


def host_and_port(listen: str) -> tuple[str, int]:
    """ValueError when it is not an address to listen on."""
    try:
        parts = urlsplit(f"//{listen}")
        host, port = parts.hostname or "", parts.port
        is_plain = not (parts.path or parts.query or parts.fragment or "@" in listen)
    except ValueError:
        host, port, is_plain = "", None, False
    if not (host and port and is_plain):
        raise ValueError(f"not an address to listen on; write host:port, for example {LISTEN} or 0.0.0.0:8095")
    return host, port


def check_listen(listen: str) -> str:
    host_and_port(listen)
    return listen


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def check_public_url(url: str) -> str:
    parts = base_address(url, "write it like https://hub.example.com")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError("http is for this machine only; write https:// (what people send here holds their sessions)")
    return url.rstrip("/")


def parse_size(value: Any) -> int:
    match = SIZE.fullmatch(str(value)) if isinstance(value, int | str) else None
    if match is None or isinstance(value, bool) or int(match[1]) == 0:
        raise ValueError("not a size; write a number of bytes, or one with a unit such as 32MiB")
    return int(match[1]) * UNITS[match[2]]


Size = Annotated[int, BeforeValidator(parse_size), WithJsonSchema({"anyOf": [
    {"type": "integer", "minimum": 1}, {"type": "string", "pattern": f"^{SIZE.pattern}$"}]})]


def check_web(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("https://", "http://")):
        raise ValueError("not an http(s) address")
    return url


class Ping(Settings):
    """An outside dead man's switch, which alarms when this hub has not asked for its address for too long (R-28). The address
    often holds a key, so it is kept like a secret."""

    url: Annotated[Secret, AfterValidator(check_web)] | None = None
    url_file: str | None = None
    interval: Span = timedelta(minutes=1)

    @model_validator(mode="after")
    def check_url(self) -> Self:
        if self.url is None:
            raise ValueError("the address of the dead man's switch is missing; write url_file (or url)")
        return self


class Server(Settings):
    """Where the hub listens, and the address by which people reach it."""

    listen: Annotated[str, AfterValidator(check_listen)] = LISTEN
    public_url: Annotated[str, AfterValidator(check_public_url)] = Field(
        default_factory=lambda data: f"http://{data['listen']}", json_schema_extra={"examples": ["https://hub.example.com"]})
    api_token: Token | None = None
    api_token_file: str | None = None
    max_body_size: Size = 32 * 1024**2
    ping: Ping | None = None


def check_database(url: str) -> str:
    if url.startswith(("postgresql://", "postgres://")) or (url.startswith("sqlite:///") and url != "sqlite:///"):
        return url
    raise ValueError("not a database; write sqlite:///alerthub.db or postgresql://user:password@host/name")


class Database(Settings):
    """The address may hold a password: it is never shown."""

    url: Annotated[str, AfterValidator(check_database)] = Field(default="sqlite:///alerthub.db", repr=False)
    url_file: str | None = None
    retention: Span = timedelta(days=90)


def check_matchers(text: str) -> str:
    if not parse_matchers(text):
        raise ValueError('a matcher is missing; write it like severity="critical"')
    return text


Matchers = Annotated[str, AfterValidator(check_matchers)]


def check_pattern(text: str) -> str:
    Matcher("x", "=~", text)
    return text


class HeartbeatAction(Settings):
    name: Name
    targets: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def check_block(cls, data: Any) -> Any:
        if isinstance(data, str):
            raise ValueError(f"an action stands in braces here; write {{name: {data}}}")
        return data


class Heartbeat(Settings):
    """What must come again within `interval`, or after each time of `cron`, `grace` later at the latest: an alert that these
    matchers match, or, without them, a ping. A ping must bring the token, when there is one."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=100)
    matchers: tuple[Matchers, ...] = ()
    interval: Span | None = None
    cron: Annotated[str, AfterValidator(parse_cron)] | None = None
    time_zone: Location = "UTC"
    grace: Duration = timedelta(0)
    severity: Literal["critical", "error", "warning", "info"] = "critical"
    receiver: str
    token: Token | None = None
    token_file: str | None = None
    actions: tuple[HeartbeatAction, ...] = ()

    @model_validator(mode="after")
    def check_times(self) -> Self:
        if self.interval is None and self.cron is None:
            raise ValueError("interval is missing here; add it, or cron")
        if self.interval is not None and self.cron is not None:
            raise ValueError("cron and interval both say when it must come; keep one of them")
        if self.cron is None and "time_zone" in self.model_fields_set:
            raise ValueError("time_zone is for cron; take it out")
        if self.cron is not None and not self.grace:
            raise ValueError("cron needs a grace: how long after its time the job may take; add it, for example grace: 15m")
        if self.matchers and self.token is not None:
            raise ValueError("token is for pings, but alerts are the beats of a heartbeat with matchers; take one of them out")
        return self


class RouteSettings(Settings):
    """One node of the routing tree. Children inherit receiver, group_by, group_wait, repeat_interval, escalation_policy and
    ack_timeout; actions add up. `group_interval` has no effect: Alertmanager has grouped already, and news are told as they come.
    """

    receiver: str | None = None
    matchers: tuple[Matchers, ...] = ()
    match: dict[Text, str] = Field(default_factory=dict)
    match_re: dict[Text, Annotated[str, AfterValidator(check_pattern)]] = Field(default_factory=dict)
    group_by: tuple[Text, ...] | None = None
    group_wait: Duration | None = None
    group_interval: Span | None = None
    repeat_interval: Span | None = None
    continue_: bool = Field(default=False, alias="continue")
    mute_time_intervals: tuple[str, ...] = ()
    active_time_intervals: tuple[str, ...] = ()
    escalation_policy: str | None = None
    ack_timeout: Duration | None = None
    actions: tuple[str, ...] = ()
    routes: tuple[RouteSettings, ...] = ()

    @model_validator(mode="after")
    def check_group_by(self) -> Self:
        names = self.group_by or ()
        if ALL in names and len(names) > 1:
            raise ValueError("group_by: ... means all labels; write it alone, or name the labels")
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"group_by names {twice} twice; keep one of them")
        return self


class Log(Settings):
    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Runbooks(Settings):
    folder: Text


def check_program(path: str) -> str:
    if not path.startswith("/") or normpath(path) != path:
        raise ValueError("write the absolute path of one program, such as /usr/local/bin/restart-feed")
    return path


class Commands(Settings):
    """Which programs of the hub's machine actions may start; without this, none."""

    allow: tuple[Annotated[str, AfterValidator(check_program)], ...] = ()


class GuardsSettings(Settings):
    """Of all actions together, but for those that tighten. `mode: shadow` or `dry_run` weakens every one of them."""

    max_per_hour: int = Field(default=60, ge=0)
    mode: RunMode = RunMode.live


class ReceiverSettings(Settings):
    """Named destinations: `<kind>_configs` of every kind of channel."""

    name: Name


class ConfigModel(Settings):
    """The whole file. The types of the edges' blocks are only their bases here."""

    server: Server = Field(default_factory=Server)
    database: Database = Field(default_factory=Database)
    sources: tuple[SourceSettings, ...] = ()
    global_: BaseModel = Field(default_factory=Settings, alias="global")
    people: tuple[Person, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    escalation_policies: tuple[EscalationPolicy, ...] = ()
    receivers: tuple[ReceiverSettings, ...] = Field(min_length=1)
    targets: tuple[TargetSettings, ...] = ()
    actions: tuple[ActionSettings, ...] = ()
    heartbeats: tuple[Heartbeat, ...] = ()
    time_intervals: tuple[TimeIntervalSettings, ...] = ()
    route: RouteSettings
    log: Log = Field(default_factory=Log)
    access: AccessSettings = Field(default_factory=AccessSettings)
    telemetry: Telemetry | None = None
    reopen_window: Duration = timedelta(hours=1)
    ack_timeout: Duration = timedelta(0)
    answers: AnswersSettings = Field(default_factory=AnswersSettings)
    flapping: FlappingSettings | None = None
    runbooks: Runbooks | None = None
    commands: Commands = Field(default_factory=Commands)
    guards: GuardsSettings = Field(default_factory=GuardsSettings)


def entries(receiver: ReceiverSettings) -> list[tuple[str, int, ChannelSettings]]:
    """A receiver's destinations: kind, index in `<kind>_configs`, settings."""
    lists = ((name.removesuffix("_configs"), getattr(receiver, name)) for name in type(receiver).model_fields if name != "name")
    return [(kind, index, settings) for kind, found in lists for index, settings in enumerate(found)]
