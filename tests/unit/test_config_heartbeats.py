"""Heartbeats in the configuration file: what they mean, and what is wrong with them."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path

import pytest

from alerthub.config.heartbeats import heartbeats_of
from alerthub.domain.matcher import Matcher
from alerthub.domain.rules import HeartbeatRule
from tests.unit.config_example import example
from tests.unit.config_files import REST, configured, problems

TOKEN = "0123456789abcdef"
MINUTE = timedelta(minutes=1)


def compiled(folder: Path, text: str) -> dict[str, HeartbeatRule]:
    return heartbeats_of(configured(folder, f"heartbeats: [{text}]\n", rest=REST).model)


def test_the_least_is_a_name_an_interval_and_a_receiver(tmp_path: Path) -> None:
    assert compiled(tmp_path, "{name: etl, interval: 1h, receiver: alerts}") == {
        "etl": HeartbeatRule("etl", 60 * MINUTE, "alerts")}


def test_all_that_can_be_said_of_a_job(tmp_path: Path) -> None:
    text = "{name: b, cron: ' 0 3 *  * 1-5', time_zone: Europe/Istanbul, grace: 15m, severity: warning, receiver: alerts}"
    assert compiled(tmp_path, text) == {"b": HeartbeatRule(
        "b", timedelta(0), "alerts", grace=15 * MINUTE, cron="0 3 * * 1-5", time_zone="Europe/Istanbul", severity="warning")}


def test_matchers_are_all_of_their_lines(tmp_path: Path) -> None:
    text = """{name: w, interval: 2m, receiver: alerts, matchers: ['alertname="Watchdog"', 'cluster=~"a|b", env!="dev"']}"""
    assert compiled(tmp_path, text)["w"].matchers == (
        Matcher("alertname", "=", "Watchdog"), Matcher("cluster", "=~", "a|b"), Matcher("env", "!=", "dev"))


def test_a_token_is_kept_as_its_hash_only(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    for text in (f"token: {TOKEN}", f"token_file: {tmp_path}/token", "token_file: token"):
        rule = compiled(tmp_path, f"{{name: e, interval: 1h, receiver: alerts, {text}}}")["e"]
        assert rule.token_sha256 == hashlib.sha256(TOKEN.encode()).hexdigest()
        assert TOKEN not in repr(rule)


def test_the_example_of_the_design_is_a_watchdog_with_an_action(tmp_path: Path) -> None:
    rules = heartbeats_of(configured(tmp_path, example(tmp_path)).model)
    assert rules == {"alertmanager-watchdog": HeartbeatRule(
        "alertmanager-watchdog", 2 * MINUTE, "alerts", matchers=(Matcher("alertname", "=", "Watchdog"),),
        actions=(("safe-mode", ("agent-btc",)),))}


def test_they_stand_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = ", ".join(f"{{name: {name}, interval: 1h, receiver: alerts}}" for name in "cab")
    assert list(compiled(tmp_path, text)) == ["c", "a", "b"]


CRON = "write minute, hour, day, month and weekday, for example 0 3 * * 1-5"
WRONG = [
    ("receiver: alerts", "1:14: interval is missing here; add it, or cron"),
    ("receiver: alerts, interval: 0", "1:52: must be longer than 0; for example 1m"),
    ("receiver: alerts, interval: 1h, cron: 0 3 * * *, grace: 5m",
     "1:62: cron and interval both say when it must come; keep one of them"),
    ("receiver: alerts, interval: 1h, time_zone: UTC", "1:67: time_zone is for cron; take it out"),
    ("receiver: alerts, cron: 0 3 * * *",
     "1:48: cron needs a grace: how long after its time the job may take; add it, for example grace: 15m"),
    ("receiver: alerts, grace: 5m, cron: hourly", f"1:59: not a cron time; {CRON}"),
    ("receiver: alerts, grace: 5m, cron: '@daily'", f"1:59: not a cron time; {CRON}"),
    ("receiver: alerts, grace: 5m, cron: 0 25 * * *", f"1:59: not a cron time (bad hour); {CRON}"),
    ("receiver: alerts, grace: 5m, cron: 0 0 30 2 *", f"1:59: not a cron time (bad day-of-month); {CRON}"),
    ("receiver: alerts, grace: 5m, cron: 0 3 * * *, time_zone: Mars",
     "1:81: Mars is not a time zone; write its IANA name, for example Europe/Istanbul or UTC"),
    ("receiver: alerts, interval: 1h, severity: page", "1:66: this must be critical, error, warning or info"),
    ("receiver: alerts, interval: 1h, token: short",
     "1:63: too short; use at least 8 characters, better 16 random ones"),
    (f"receiver: alerts, interval: 1h, matchers: [a=b], token: {TOKEN}",
     "1:80: token is for pings, but alerts are the beats of a heartbeat with matchers; take one of them out"),
    ("receiver: alerts, interval: 1h, matchers: ['a=']", None),
]


@pytest.mark.parametrize(("text", "problem"), WRONG)
def test_a_mistake_is_said_with_its_place(tmp_path: Path, text: str, problem: str | None) -> None:
    found = problems(tmp_path, f"heartbeats: [{{name: h, {text}}}]\n", rest=REST)
    assert len(found) == 1
    assert problem is None or found == [problem]
    assert TOKEN not in found[0]


def test_a_name_is_part_of_an_address(tmp_path: Path) -> None:
    for name in ("a b", "a/b", "Ä", "..", "x" * 101, "''"):
        assert problems(tmp_path, f"heartbeats: [{{name: {name}, interval: 1h, receiver: alerts}}]\n", rest=REST)


def test_an_action_by_its_name_alone_is_told_how_to_write_it(tmp_path: Path) -> None:
    text = "heartbeats: [{name: h, interval: 1h, receiver: alerts, actions: [safe-mode, 5]}]\n"
    assert problems(tmp_path, text, rest=REST) == [
        "1:66: an action stands in braces here; write {name: safe-mode}",
        "1:77: a block of `key: value` lines is expected here"]
