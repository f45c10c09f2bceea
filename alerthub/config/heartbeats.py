"""The heartbeats of the file as the domain's rules."""

from __future__ import annotations

from datetime import timedelta

from alerthub.config.model import ConfigModel, Heartbeat
from alerthub.domain.matcher import parse_matchers
from alerthub.domain.rules import HeartbeatRule
from alerthub.hashing import hashed
from alerthub.settings import revealed


def heartbeats_of(model: ConfigModel) -> dict[str, HeartbeatRule]:
    """By name, in the order of the file."""
    return {settings.name: heartbeat_rule(settings) for settings in model.heartbeats}


def heartbeat_rule(settings: Heartbeat) -> HeartbeatRule:
    token = revealed(settings.token)
    return HeartbeatRule(
        name=settings.name, interval=settings.interval or timedelta(0), receiver=settings.receiver, grace=settings.grace,
        cron=settings.cron or "", time_zone=settings.time_zone, severity=settings.severity,
        matchers=tuple(matcher for text in settings.matchers for matcher in parse_matchers(text)),
        actions=tuple((action.name, action.targets) for action in settings.actions),
        token_sha256=hashed(token) if token else "")
