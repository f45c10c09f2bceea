"""Slack's wire: an HTTP session that trusts nothing, and what every error of Slack means. What is sent is in slack.py."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import aiohttp
from aiohttp import ClientSession, TraceConfig

from alerthub.channels.answers import failure_for_status, retry_after
from alerthub.channels.base import ATTEMPT_SECONDS, RESPONSE_BYTES
from alerthub.channels.http import Answer
from alerthub.errors import Failure, SendFailed

CODE = re.compile(r"[a-z_]{2,60}")              # an error code of Slack; anything else is not repeated
SCOPES = re.compile(r"[a-z:._,]{2,100}")
SLOW = 300.0                                    # seconds after message_limit_exceeded: a limit of the whole workspace

# PROTOCOLS 2.7 and 2.8 (the words of incoming webhooks). What is not here is judged by the HTTP status.
ERRORS: Mapping[str, Failure] = {
    **dict.fromkeys(("ratelimited", "rate_limited", "message_limit_exceeded"), Failure.rate_limited),
    **dict.fromkeys((
        "internal_error", "fatal_error", "service_unavailable", "request_timeout", "update_failed",
        "external_channel_migrating"), Failure.unavailable),
    **dict.fromkeys((
        "invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "no_text",
        "too_many_attachments", "attachment_payload_limit_exceeded", "metadata_too_large", "block_mismatch",
        "markdown_text_conflict", "invalid_payload"), Failure.content),
    **dict.fromkeys((
        "message_not_found", "cant_update_message", "edit_window_closed", "is_inactive", "cannot_reply_to_message",
        "restricted_action_thread_locked", "thread_not_found"), Failure.stale_handle),
    **dict.fromkeys((
        "invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "missing_scope",
        "no_permission", "channel_not_found", "not_in_channel", "is_archived", "team_not_found",
        "messages_tab_disabled", "org_login_required", "access_denied", "accesslimited", "deprecated_endpoint",
        "ekm_access_denied", "enterprise_is_restricted", "not_allowed_token_type", "action_prohibited", "no_service",
        "channel_is_archived"), Failure.configuration),
}
ERROR_PREFIXES: Mapping[str, Failure] = {
    "invalid_metadata_": Failure.content, "restricted_action": Failure.configuration,
}


def classify(code: str, status: int, has_handle: bool) -> Failure:
    """What an error of Slack means. The code counts more than the status. Without a handle none can be stale."""
    reason = ERRORS.get(code)
    if reason is None:
        reason = next((found for prefix, found in ERROR_PREFIXES.items() if code.startswith(prefix)), None)
    if reason is None:
        reason = failure_for_status(status)
    return Failure.bug if reason is Failure.stale_handle and not has_handle else reason


def refusal(status: int, headers: Mapping[str, str], data: Mapping[str, Any], now: datetime, *, has_handle: bool) -> SendFailed:
    """The error for an answer that was not a success. Repeats nothing of it but words of Slack's shape."""
    code = word(data.get("error"), CODE)
    needed = word(data.get("needed"), SCOPES)
    detail = f"{code or f'HTTP {status} without a known error'}{f' (needs {needed})' if needed else ''}"
    after = retry_after(headers.get("Retry-After"), now)
    if code == "message_limit_exceeded" and after is None:
        after = SLOW
    return SendFailed(classify(code, status, has_handle), detail, after=after)


def word(value: object, pattern: re.Pattern[str]) -> str:
    """A provider's word when it has the shape of one, else nothing: it could be anything, our own token included."""
    return value if isinstance(value, str) and pattern.fullmatch(value) else ""


class PlainJson(aiohttp.ClientResponse):
    """An answer is a JSON object of bounded size, whatever it calls itself; anything else is an empty one (R-21)."""

    @property
    def content_type(self) -> str:
        return "application/json"

    async def json(self, **_: Any) -> Any:
        body = bytearray()
        while len(body) < RESPONSE_BYTES and (chunk := await self.content.read(65_536)):
            body += chunk
        return Answer(self.status, {}, bytes(body[:RESPONSE_BYTES])).json()


def new_session() -> ClientSession:
    """R-21: nothing from the environment, no redirect, no unpacking, no cookies, a bounded answer."""
    trace = TraceConfig()
    trace.on_request_redirect.append(refuse_redirect)
    return ClientSession(
        timeout=aiohttp.ClientTimeout(total=ATTEMPT_SECONDS), trust_env=False, auto_decompress=False,
        headers={"Accept-Encoding": "identity"}, response_class=PlainJson, trace_configs=[trace],
        cookie_jar=aiohttp.DummyCookieJar())


async def refuse_redirect(session: ClientSession, context: SimpleNamespace, event: Any) -> None:
    raise SendFailed(Failure.configuration, "the address redirects; slack_base_url is wrong")
