"""What Slack knows of an account and does not write into a press or a command: guests, bots, who has left, who is elsewhere.

Asked of users.info (PROTOCOLS 2.1, scope users:read), and only for ids that no configuration names. What cannot be learned in
time is no reason to refuse: then the request's own words stand.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from alerthub.channels.base import Wire
from alerthub.channels.http import post
from alerthub.channels.slack_client import refusal
from alerthub.channels.slack_inbound import BOT, GUEST, OTHER_WORKSPACE
from alerthub.errors import Failure, SendFailed

log = logging.getLogger(__name__)

LOOKUP_SECONDS = 1.0        # of the two that the hub takes before Slack is answered (slack_answers.TAKE_SECONDS)
KNOWN_SECONDS = 3_600.0
UNKNOWN_SECONDS = 60.0      # an account that Slack would not tell of
PAUSE_SECONDS = 30.0        # nobody is asked for after Slack was not reached, or has no time
REMEMBERED = 1_000
FORM = "application/x-www-form-urlencoded"

LEFT = "Your Slack account is deactivated, so it cannot answer here. Nothing was changed."


class Users:
    """One workspace's accounts. `accounts`: those that are a person's by configuration, which is proof enough."""

    def __init__(self, base_url: str, token: str | None, team: str | None, accounts: frozenset[str], wire: Wire,
                 patience: float = LOOKUP_SECONDS) -> None:
        self._url, self._token, self._team, self._accounts = f"{base_url}users.info", token, team, accounts
        self._wire, self._patience = wire, patience
        self._known: dict[str, tuple[float, str]] = {}
        self._silent_until = 0.0

    def __repr__(self) -> str:
        return "Users()"

    async def objection(self, account: str) -> str:
        """Why this account may not answer; empty where nothing is known against it. Takes at most the patience."""
        now = self._wire.clock.monotonic()
        until, why = self._known.get(account, (0.0, ""))
        if self._token is None or account in self._accounts or now < until:
            return why
        if now < self._silent_until:
            return ""
        try:
            async with asyncio.timeout(self._patience):
                user = await self._asked(account, self._token)
        except TimeoutError:
            self._be_silent(PAUSE_SECONDS, "no answer in time")
            return ""
        except SendFailed as error:
            self._failed(account, error)
            return ""
        why = judged(user, self._team)
        self._remember(account, why, KNOWN_SECONDS)
        return why

    async def _asked(self, account: str, token: str) -> Mapping[str, Any]:
        """Raises SendFailed."""
        headers = {"Content-Type": FORM, "Authorization": f"Bearer {token}"}
        answer = await post(self._wire.http, self._url, urlencode({"user": account}).encode(), headers)
        said = answer.json()
        user = said.get("user")
        if answer.status != 200 or said.get("ok") is not True or not isinstance(user, dict):
            raise refusal(answer.status, answer.headers, said, self._wire.clock.now(), has_handle=False)
        return user

    def _failed(self, account: str, error: SendFailed) -> None:
        """About this account alone, or about all: then nobody is asked for a while, and that is logged once."""
        if error.reason is Failure.configuration:       # missing_scope: it stays so until somebody changes the app
            self._be_silent(KNOWN_SECONDS, error.detail)
        elif error.reason in (Failure.rate_limited, Failure.unavailable, Failure.timeout):
            self._be_silent(max(error.after or 0.0, PAUSE_SECONDS), error.detail)
        else:
            self._remember(account, "", UNKNOWN_SECONDS)

    def _be_silent(self, seconds: float, reason: str) -> None:
        now = self._wire.clock.monotonic()
        if now >= self._silent_until:
            log.warning("Slack does not say who is a guest or a bot, so only what a request says of it counts; add the bot "
                        "scope users:read if it is missing.", extra={"event": "slack.users_unknown", "reason": reason})
        self._silent_until = max(self._silent_until, now + seconds)

    def _remember(self, account: str, why: str, seconds: float) -> None:
        self._known.pop(account, None)
        self._known[account] = self._wire.clock.monotonic() + seconds, why
        if len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]


def judged(user: Mapping[str, Any], team: str | None) -> str:
    """What speaks against an account; empty if nothing does. In an organisation with several workspaces its home may be
    another one than ours, and it a member of both."""
    if user.get("deleted") is True:
        return LEFT
    if user.get("is_bot") is True or user.get("is_workflow_bot") is True:
        return BOT
    if user.get("is_restricted") is True or user.get("is_ultra_restricted") is True:
        return GUEST
    organisation = user.get("enterprise_user")
    teams = organisation.get("teams") if isinstance(organisation, dict) else None
    homes = [user.get("team_id"), *(teams if isinstance(teams, list) else [])]
    is_elsewhere = team is not None and isinstance(homes[0], str) and team not in homes
    return OTHER_WORKSPACE if is_elsewhere or user.get("is_stranger") is True else ""
