"""Slack hears people: buttons and `/alerthub`, posted to us by HTTP or read from a web socket (Socket Mode, no inbound port).

What a request means is read in slack_inbound.py; the web socket is kept in slack_socket.py; how an answer looks is in
slack_said.py. Here the ask is given to the hub, and the person alone is told how it ended.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Coroutine
from typing import Any, ClassVar, TypeVar

import httpx

from alerthub.channels.base import ATTEMPT_SECONDS, Forged, Hearing, Inbound, Reply, Take, Unreadable, Wire
from alerthub.channels.http import checked_url, post
from alerthub.channels.slack import SlackGlobal
from alerthub.channels.slack_inbound import Heard, hear_command, hear_interaction, read_form, read_payload, verify
from alerthub.channels.slack_said import Said, ending_of, refused, spoken
from alerthub.channels.slack_socket import Sockets
from alerthub.channels.slack_users import Users
from alerthub.domain.command import Answer, Ask, Outcome
from alerthub.errors import SendFailed
from alerthub.settings import revealed

log = logging.getLogger(__name__)

TAKE_SECONDS = 2.0              # of the three that Slack waits (PROTOCOLS 2.4)
GRACE_SECONDS = 3.0             # for answers on their way when the hub stops
HOOKS = ("https", "hooks.slack.com", None)      # where a response_url of Slack leads
JSON = "application/json"

T = TypeVar("T")


def listeners(shared: SlackGlobal, hearing: Hearing, wire: Wire) -> list[SlackListener]:
    """One, when a signing secret (HTTP) or an app token (Socket Mode) is there to hear with."""
    is_heard = shared.slack_signing_secret or shared.slack_app_token
    return [SlackListener(shared, wire, accounts=hearing.accounts)] if is_heard else []


class SlackListener:
    """One workspace. `patience`: how many seconds the hub may take before Slack is answered without knowing the end; then
    the person is told later. `grace`: how long closing waits for that. `accounts`: ids that are a person's."""

    kind: ClassVar[str] = "slack"
    name: str = "slack"
    is_exclusive: bool = False          # Slack gives each press to one of our connections

    def __init__(self, shared: SlackGlobal, wire: Wire, patience: float = TAKE_SECONDS, grace: float = GRACE_SECONDS,
                 accounts: frozenset[str] = frozenset()) -> None:
        self._wire, self._patience, self._grace, self._team = wire, patience, grace, shared.slack_team_id
        self._secret, self._app_token = revealed(shared.slack_signing_secret), revealed(shared.slack_app_token)
        self._base_url = checked_url(shared.slack_base_url, "slack_base_url").rstrip("/") + "/"
        self._users = Users(self._base_url, revealed(shared.slack_bot_token), self._team, accounts, wire)
        self._tasks: set[asyncio.Task[Any]] = set()

    def __repr__(self) -> str:
        return "SlackListener()"

    async def receive(self, inbound: Inbound, take: Take) -> Reply:
        """A press is answered with nothing, and the person through its response_url; a command in the answer itself."""
        if self._secret is None:
            raise Forged("slack_signing_secret is not configured, so nothing can be proved")
        verify(self._secret, inbound)
        if inbound.rest not in ("", "/command"):
            return Reply(404)
        form = read_form(inbound.body)
        if inbound.rest == "":
            await self._hear_interaction(read_payload(form), take)
            return Reply()
        said = await self._hear_command(form, take)
        return Reply(200, json.dumps(said).encode(), JSON) if said else Reply()

    async def listen(self, take: Take) -> None:
        """Socket Mode until cancelled, where there is an app token."""
        async def answer(kind: str, payload: dict[str, Any]) -> Said | None:
            return await self._hear_envelope(kind, payload, take)

        if self._app_token is not None:
            await Sockets(self._base_url, self._app_token, self._wire.clock, answer).run()

    async def aclose(self) -> None:
        """Lets what is on its way arrive, for a moment."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=self._grace)
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _hear_envelope(self, kind: str, payload: dict[str, Any], take: Take) -> Said | None:
        """What the acknowledgement carries. Stored, then acknowledged (R-31), as over HTTP."""
        try:
            if kind == "slash_commands":
                return await self._hear_command(payload, take)
            if kind == "interactive":
                await self._hear_interaction(payload, take)
        except Unreadable as error:
            log.warning("An envelope of Slack was not understood.", extra={"event": "slack.unreadable", "reason": str(error)})
        return None

    async def _hear_interaction(self, payload: dict[str, Any], take: Take) -> None:
        heard = hear_interaction(payload, self._team)
        if heard.ask is not None:
            ending = await self._asked(heard.ask, take)
            self._start(self._tell_ending(heard, ending))
        elif heard.refusal:
            self._start(self._tell(heard.response_url, refused(heard.refusal)))

    async def _hear_command(self, fields: dict[str, Any], take: Take) -> Said | None:
        """What to answer at once; None when there is nothing yet."""
        heard = hear_command(fields, self._team)
        if heard.ask is None:
            return refused(heard.refusal) if heard.refusal else None
        ending = await self._asked(heard.ask, take)
        if ending.done():
            return spoken(ending.result())
        self._start(self._tell_ending(heard, ending))
        return None

    async def _asked(self, ask: Ask, take: Take) -> asyncio.Task[Answer]:
        """The hub's answer, if it came within the patience; it comes also when whoever waits here has gone. Slack is answered
        in time, however long Slack itself takes to say whose account that is."""
        async def ended() -> Answer:
            why = await self._users.objection(ask.by.id)
            return Answer(Outcome.refused, why) if why else await take(ask)

        ending = self._start(ended())
        await asyncio.wait((ending,), timeout=self._patience)
        return ending

    async def _tell_ending(self, heard: Heard, ending: asyncio.Task[Answer]) -> None:
        if said := ending_of(await ending, heard):
            await self._tell(heard.response_url, said)

    async def _tell(self, url: str, said: Said) -> None:
        """To the person alone. The address came with a proved request, and is used only where it leads to Slack."""
        if not self._is_slack(url):
            log.warning("A person in Slack could not be told: no usable response_url.", extra={"event": "slack.untold"})
            return
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                answer = await post(self._wire.http, url, json.dumps(said).encode(), {"Content-Type": JSON})
            reason = "" if answer.status == 200 else f"HTTP {answer.status}"
        except (SendFailed, TimeoutError) as error:
            reason = str(error) or "no answer in time"
        if reason:
            log.warning("A person in Slack could not be told.", extra={"event": "slack.untold", "reason": reason})

    def _is_slack(self, url: str) -> bool:
        try:
            asked, api = httpx.URL(url), httpx.URL(self._base_url)
        except (httpx.InvalidURL, ValueError):
            return False
        return not asked.userinfo and origin(asked) in (HOOKS, origin(api))

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
