"""The kinds of channels, by name. A kind that no configuration uses is never imported."""

from __future__ import annotations

from typing import Any

from alerthub.registry import named

REGISTRY = {
    "slack": "alerthub.channels.slack:Slack",
    "telegram": "alerthub.channels.telegram:Telegram",
    "email": "alerthub.channels.email:Email",
    "pagerduty": "alerthub.channels.pagerduty:PagerDuty",
    "webhook": "alerthub.channels.webhook:Webhook",
    "console": "alerthub.channels.console:Console",
}


def load(kind: str) -> Any:
    """The channel class (see `base.Channel`) of a kind. KeyError for a kind that does not exist."""
    return named(REGISTRY[kind])


# The kinds at which people answer, and the function that makes their listeners (see `base.Listener`).
LISTENERS = {
    "slack": "alerthub.channels.slack_answers:listeners",
    "telegram": "alerthub.channels.telegram_answers:listeners",
    "pagerduty": "alerthub.channels.pagerduty_answers:listeners",
}


def load_listeners(kind: str) -> Any:
    """The `listeners` function of a kind."""
    return named(LISTENERS[kind])
