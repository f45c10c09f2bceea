"""Silence alerts in Alertmanager for a while, once, and believe only what Alertmanager then lists (PROTOCOLS 1.8).

It makes nothing safer and undoes nothing; how to end it before its time stands in the record. People's silences, and those
of the hub that are mirrored there, are not made here.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlencode

from pydantic import AfterValidator, BaseModel, Field, model_validator

from alerthub.actions.base import ActionSettings, ActionWire, Call, Outcome, Report
from alerthub.actions.deadline import Deadline
from alerthub.actions.exchange import Answer, Exchange, LoginTarget, check_url
from alerthub.actions.read_back import ASK_FOR, Attempts, Found, persist, set_value
from alerthub.domain.matcher import CLASSIC_NAME, EQUAL, Matcher, parse_matcher
from alerthub.domain.rules import Direction
from alerthub.domain.silence import MOST_MATCHERS, SHORTEST, Silence, marker_of
from alerthub.domain.wording import spoken
from alerthub.errors import ActionFailed, ActionUnknown
from alerthub.settings import Duration
from alerthub.silence_wire import REMOTE_ID, read_matcher, written

LONGEST = timedelta(hours=24)           # longer than a day, a person decides
ANSWER_BYTES = 4 * 1024 * 1024          # about 8,000 silences: Alertmanager lists those of five days, ended ones too
AUTHOR = "alerthub"
TOO_WIDE = frozenset({"severity"})      # a label that alone tells no alert from the others
LASTING = ("active", "pending")
MADE, OVER = "made", "over"


def check_base(url: str) -> str:
    if "?" in check_url(url):
        raise ValueError("the address of Alertmanager has no query; write http://host:9093")
    return url.rstrip("/")


def check_matcher(text: str) -> str:
    parse_matcher(text)
    return text


def check_duration(span: timedelta) -> timedelta:
    if not SHORTEST <= span <= LONGEST:
        raise ValueError("a silence of an action lasts from 1m to 24h; make a longer one by hand")
    return span


class AlertmanagerTarget(LoginTarget):
    """One of a cluster's peers: it tells the others. With `username` and `password`, with a `token`, or open."""

    type: Literal["alertmanager"] = "alertmanager"
    url: Annotated[str, AfterValidator(check_base)]


class SilenceSettings(ActionSettings):
    """What `matchers` match, and has the alert's own values of `labels`, is silenced for `duration`."""

    type: Literal["silence"] = "silence"
    matchers: tuple[Annotated[str, AfterValidator(check_matcher)], ...] = Field(default=(), max_length=MOST_MATCHERS)
    duration: Annotated[Duration, AfterValidator(check_duration)] = timedelta(hours=1)
    comment: str = Field(default="", max_length=500)

    @model_validator(mode="after")
    def check_kind(self) -> Self:
        if self.direction is not Direction.neutral:
            raise ValueError("the direction of a silence is neutral: it makes nothing safe, and releases nothing")
        if self.parameters:
            raise ValueError("silence takes no parameters; write matchers, or labels whose values the alert gives")
        return self

    @model_validator(mode="after")
    def check_width(self) -> Self:
        """What would match every alert, or nearly, never becomes a silence of a machine."""
        fixed = [parse_matcher(text) for text in self.matchers]
        if twice := sorted({matcher.name for matcher in fixed} & set(self.labels)):
            raise ValueError(f"{twice[0]} is in matchers and in labels; keep one of them")
        exact = {matcher.name for matcher in fixed if matcher.op == EQUAL and matcher.value} | set(self.labels)
        if not exact - TOO_WIDE:
            raise ValueError('it would silence too much: at least one matcher asks for the exact value of a label, like '
                             'alertname="DiskFull"; a severity alone is not enough')
        return self


@dataclass(slots=True)
class Evidence:
    """What one run has seen so far."""

    work: Quiet | None = None
    was_already: bool = False
    verified: str = ""
    shown: Found | None = None
    attempts: Attempts = field(default_factory=Attempts)


class Quiet:
    """One silence, known by its mark: there, or not."""

    wanted = MADE

    def __init__(self, target: AlertmanagerTarget, exchange: Exchange, wire: ActionWire, silence: Silence) -> None:
        self._url, self._exchange, self._clock = target.url, exchange, wire.clock
        self._login = {"Authorization": f"Basic {target.basic}"} if target.basic is not None else {}
        self.silence, self.body = silence, written(silence)
        self._listing = f"{self.path}?{urlencode({'filter': narrow})}" if (narrow := narrowing(silence)) else self.path

    @property
    def path(self) -> str:
        return f"{self._url}/api/v2/silences"

    async def look(self, until: Deadline) -> Found:
        """Those of them that carry our mark and silence the same: a mark alone can be written by anybody."""
        answer = await persist(self._list, self._clock, until)
        if answer.status != 200:
            raise ActionFailed(f"not done: {self.meaning(answer)}")
        listed = await asyncio.to_thread(read_list, answer.body)
        if listed is None:
            raise ActionFailed("not done: Alertmanager answered with something that is not a list of at most 8,000 silences")
        ours = [item for item in listed if is_ours(item, self.silence)]
        lasting = {item["id"]: item for item in ours if state_of(item) in LASTING}
        first: dict[str, Any] = next(iter(lasting.values()), {})
        return Found(MADE if lasting else OVER if ours else None, "", {
            "ids": list(lasting), "state": state_of(first), "until": str(first.get("endsAt"))[:40]})

    async def _list(self, seconds: float) -> Answer:
        return await self._exchange.ask("GET", self._listing, b"", self.silence.id, seconds, self._login)

    async def send(self, found: Found, seconds: float) -> Answer:
        headers = {"webhook-id": self.silence.id, "Idempotency-Key": self.silence.id, **self._login}
        return await self._exchange.ask("POST", self.path, json.dumps(self.body).encode(), self.silence.id, seconds, headers)

    def meaning(self, answer: Answer) -> str:
        words = {
            400: "Alertmanager finds it invalid",
            401: "Alertmanager does not accept the credentials",
            403: "Alertmanager does not allow it",
            404: "there is no Alertmanager with API v2 at this address",
        }
        said = self._exchange.excerpt(answer.body)
        return f"{words.get(answer.status, 'Alertmanager answered')} ({answer.status}{f': {said}' if said else ''})"

    def told(self, found: Found) -> str:
        if found.value == OVER:
            return "the silence is over: somebody has ended it, or its time has"
        begins = " once Alertmanager's clock has come to its begin" if found.document["state"] == "pending" else ""
        shown = ", ".join(str(matcher) for matcher in self.silence.matchers)
        return f"{{{shown}}} is silenced until {found.document['until']}{begins}"

    def recorded(self) -> dict[str, Any]:
        return {"method": "POST", "url": self._exchange.redact(self.path), "body": self._exchange.recorded(self.body)}


class SilenceAlerts:
    kind: ClassVar[str] = "silence"
    Config: ClassVar[type[BaseModel]] = SilenceSettings
    Target: ClassVar[type[BaseModel] | None] = AlertmanagerTarget
    resumable: ClassVar[bool] = True     # it is looked for by its mark before it is made

    def __init__(self, config: SilenceSettings, target: AlertmanagerTarget | None, wire: ActionWire) -> None:
        """Raises ValueError for a target of another type."""
        if not isinstance(target, AlertmanagerTarget):
            raise ValueError(f"the action {config.name} acts on targets of type alertmanager only")
        self._config, self._target, self._wire = config, target, wire
        self._exchange = Exchange(target, wire, answer_bytes=ANSWER_BYTES)

    async def run(self, call: Call) -> Report:
        """Look for it, make it, and look again."""
        seen = Evidence()
        try:
            await self._do(call, seen)
        except ActionFailed as error:
            return self._report(Outcome.failed, error.detail, seen)
        except ActionUnknown as error:
            return self._report(Outcome.unknown, error.detail, seen)
        return self._report(Outcome.succeeded, seen.verified, seen)

    async def rehearse(self, call: Call, *, ask: bool) -> Report:
        """What would be made; in a dry run, Alertmanager is asked whether it lists silences to us."""
        seen, now = Evidence(), self._wire.clock.now()
        try:
            seen.work = Quiet(self._target, self._exchange, self._wire, self._silence(call, now))
            if ask:
                await seen.work.look(Deadline.of(call, self._config, self._wire.clock).within(ASK_FOR))
        except ActionFailed as error:
            return self._report(Outcome.failed, error.detail, seen)
        shown = ", ".join(str(matcher) for matcher in seen.work.silence.matchers)
        return self._report(Outcome.succeeded, f"silence {{{shown}}} for {spoken(self._config.duration)}", seen)

    async def _do(self, call: Call, seen: Evidence) -> None:
        now, end = self._wire.clock.now(), Deadline.of(call, self._config, self._wire.clock)
        until = end.within(ASK_FOR)
        quiet = seen.work = Quiet(self._target, self._exchange, self._wire, self._silence(call, now))
        before = seen.shown = await quiet.look(until)
        if before.value is not None:
            seen.was_already, seen.verified = True, f"it was made before: {quiet.told(before)}"
            return
        await set_value(quiet, before, self._wire.clock, until, end, seen.attempts)
        await self._verify(quiet, end, seen)

    def _silence(self, call: Call, now: datetime) -> Silence:
        """From now on, not from when it was proposed: people may have taken their time to agree."""
        given = [Matcher(name, EQUAL, str(call.parameters.get(name, ""))) for name in self._config.labels]
        if absent := [matcher.name for matcher in given if not matcher.value]:
            raise ActionFailed(f"refused: the value of the label {absent[0]} is missing")
        matchers = (*(parse_matcher(text) for text in self._config.matchers), *given)
        about = self._config.comment or self._config.summary or "silenced by an action"
        return Silence(call.id, 0, matchers, now, now + self._config.duration, AUTHOR,
                       f"{about}: action {call.action}, incident #{call.number}")

    async def _verify(self, quiet: Quiet, end: Deadline, seen: Evidence) -> None:
        if end.left() <= 0:
            raise ActionUnknown("it was accepted, and there was no time left to read it back")
        try:
            seen.shown = await quiet.look(end)
        except ActionFailed as error:
            raise ActionUnknown(f"it was accepted, and it cannot be read back ({error.detail})") from None
        if seen.shown.value is None:
            raise ActionUnknown("it was accepted, but Alertmanager does not show it")
        seen.verified = quiet.told(seen.shown)

    def _report(self, outcome: Outcome, detail: str, seen: Evidence) -> Report:
        """With what ends it before its time."""
        clean = self._exchange.clean
        request = {**(seen.work.recorded() if seen.work is not None else {}),
                   "was_already": seen.was_already, "requests": seen.attempts.sent}
        ids = seen.shown.document["ids"] if seen.shown is not None else []
        verified = clean(seen.verified)
        ends = [f"DELETE /api/v2/silence/{one}" for one in ids]
        how = {"how": "end the silence in Alertmanager", "requests": ends} if ends else {}
        return Report(outcome, clean(detail), request, {"shown": verified, "silences": ids, "undo": ends}, verified, how)


def narrowing(silence: Silence) -> str:
    """By which Alertmanager need not list all: a matcher that is one of ours. It compares names with one value each, so a
    name that comes twice is no good, and before 0.27 it reads classic names only."""
    names = [matcher.name for matcher in silence.matchers]
    good = (matcher for matcher in silence.matchers if matcher.op == EQUAL and matcher.value
            and CLASSIC_NAME.fullmatch(matcher.name) and names.count(matcher.name) == 1)
    return str(next(good, ""))


def read_list(body: bytes) -> list[Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else None


def is_ours(item: Any, silence: Silence) -> bool:
    if not isinstance(item, dict) or not isinstance(item.get("comment"), str) or marker_of(item["comment"]) != silence.id:
        return False
    if not isinstance(item.get("id"), str) or not REMOTE_ID.fullmatch(item["id"]) or not isinstance(item.get("matchers"), list):
        return False
    try:
        return {read_matcher(one) for one in item["matchers"]} == set(silence.matchers)
    except ValueError:
        return False


def state_of(item: Any) -> str:
    status = item.get("status")
    return str(status.get("state")) if isinstance(status, dict) else ""
