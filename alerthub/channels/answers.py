"""What a provider's answer means, where it documents nothing else: a status, a Retry-After, no connection at all. Pure."""

from __future__ import annotations

from datetime import datetime

from alerthub import outbound
from alerthub.errors import Failure

RETRY_AFTER_CAP = 3600.0    # PROTOCOLS 7.4


def not_reached(error: Exception) -> str:
    """Why there is no connection, in words for people; the foreign text is not passed on."""
    name = type(error).__name__
    if "SSL" in name or "Certificate" in name:
        return "no connection (TLS failed)"
    return "no connection (no answer in time)" if "Timeout" in name else "no connection (refused or unreachable)"


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds that a `Retry-After` (number or HTTP date) asks for, at most an hour; None for nonsense."""
    asked = outbound.retry_after(value, now)
    return None if asked is None else min(asked, RETRY_AFTER_CAP)


STATUS = {
    400: Failure.content, 408: Failure.unavailable, 413: Failure.content, 422: Failure.content,
    425: Failure.unavailable, 429: Failure.rate_limited,
    504: Failure.timeout,       # a gateway waited in vain: the provider behind it may have taken it
}


def failure_for_status(status: int) -> Failure:
    """What a status means where the provider documents nothing else. Redirects (never followed) and refusals need
    a person; 5xx is tried again; a success that is asked about here was not one, and may have delivered."""
    if status in STATUS:
        return STATUS[status]
    if 300 <= status < 500:
        return Failure.configuration
    return Failure.unavailable if status >= 500 else Failure.bug
