"""PagerDuty: the contract, the three events of an episode, every documented limit, and what its refusals mean."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from pydantic import ValidationError

from alerthub.channels.base import Budget, Channel, Wire
from alerthub.channels.pagerduty import (
    BODY_BYTES,
    PagerDuty,
    PagerdutyConfig,
    PagerdutyGlobal,
)
from alerthub.channels.pagerduty_event import dedup_key
from alerthub.domain.alert import Severity
from alerthub.domain.message import IncidentStatus, Link, Receipt, Why
from alerthub.errors import Failure, SendFailed
from tests.channels.contract import FORMS, FixedClock, HttpChannelContract
from tests.kit.messages import (
    HOSTILE,
    NOW,
    acknowledged_message,
    firing_line,
    giant_message,
    hostile_message,
    message,
    resolved_message,
)
from tests.kit.providers.http import Answer, FakeProvider, Request

pytestmark = pytest.mark.anyio
KEY = "R0123456789ABCDEF0123456789abcde"
EVENT_KEYS = {"routing_key", "event_action", "dedup_key", "payload", "client", "client_url", "links"}
PAYLOAD_KEYS = {"summary", "source", "severity", "timestamp", "component", "group", "class", "custom_details"}


def accepted(request: Request) -> Answer:
    return Answer(202, body={"status": "success", "message": "Event processed", "dedup_key": request.json()["dedup_key"]})


def strings(value: Any) -> Iterator[str]:
    """Every text of a JSON value, as a person sees it there."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for inner in value:
            yield from strings(inner)
    else:
        yield str(value)


def assert_valid(request: Request) -> None:
    """What the documentation of the Events API asks for (PROTOCOLS 4.1), and nothing that it does not know."""
    event = request.json()
    payload = event["payload"]
    assert set(event) <= EVENT_KEYS
    assert set(payload) <= PAYLOAD_KEYS
    assert event["event_action"] in ("trigger", "acknowledge", "resolve")
    assert event["routing_key"] == KEY
    assert 0 < len(event["dedup_key"]) <= 255
    assert 0 < len(payload["summary"]) <= 1_024
    assert "\n" not in payload["summary"]
    assert payload["source"]
    assert payload["severity"] in ("critical", "error", "warning", "info")
    assert len(request.body) <= 512_000
    assert all(link["href"].startswith("http") and link["text"] for link in event.get("links", []))
    if "timestamp" in payload:
        assert datetime.fromisoformat(payload["timestamp"]).tzinfo is not None


class TestContract(HttpChannelContract):
    secrets: ClassVar[list[str]] = [KEY]
    reads_answer = False        # the status alone says that it was taken; the dedup_key is ours
    forms = {name: form for name, form in FORMS.items() if name != "digest"}    # noqa: RUF012  (as the base has it)

    def channel(self, provider: FakeProvider) -> Channel:
        config = PagerdutyConfig(routing_key=KEY, description="{{ title }}", details={"run": "{{ labels.agent }}"})
        return PagerDuty(config, PagerdutyGlobal(pagerduty_url=f"{provider.url}/v2/enqueue"), self.wire)

    def answer_ok(self, provider: FakeProvider) -> None:
        provider.answer = accepted

    def texts(self, provider: FakeProvider) -> str:
        return "\n".join(text for request in provider.requests for text in strings(request.json()))

    def assert_within_limits(self, provider: FakeProvider) -> None:
        for request in provider.requests:
            assert_valid(request)

    def assert_edited(self, provider: FakeProvider) -> None:
        assert len({request.json()["dedup_key"] for request in provider.requests}) == 1
        assert [request.json()["event_action"] for request in provider.requests] == ["trigger", "acknowledge"]

    # Without a usable word PagerDuty asks for "a backoff of a few minutes", so here, unlike elsewhere, there is a default.
    @pytest.mark.parametrize(("word", "wanted"), [
        ("0", 0), ("1", 1), ("30", 30), ("86400", 3600), ("abc", 120), ("-5", 120), ("", 120), ("1e999", 120), ("nan", 120),
        ("9" * 5_000, 3600), (None, 120),
    ])
    async def test_retry_after_is_seconds_capped_at_an_hour_or_nothing(self, word: str | None, wanted: float | None) -> None:
        async with self.opened() as (provider, channel):
            self.rate_limit(provider, word)
            error = await self.failure(channel)
        assert error.reason is Failure.rate_limited
        assert error.after == wanted


@asynccontextmanager
async def opened(**config: Any) -> AsyncIterator[tuple[FakeProvider, PagerDuty]]:
    async with httpx.AsyncClient(trust_env=False, verify=False) as http, FakeProvider(accepted) as provider:
        settings = PagerdutyConfig.model_validate({"routing_key": KEY, **config})
        yield provider, PagerDuty(settings, PagerdutyGlobal(pagerduty_url=provider.url), Wire(http, FixedClock()))


async def event_of(sent: Any, **config: Any) -> dict[str, Any]:
    async with opened(**config) as (provider, channel):
        await channel.send(sent, None)
        assert_valid(provider.last)
        event: dict[str, Any] = provider.last.json()
        return event


# --- the three events ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sent", "action"), [
    (message(), "trigger"), (acknowledged_message(), "acknowledge"), (resolved_message(), "resolve"),
    (message(why=Why.changed), "trigger"), (message(why=Why.stale, is_stale=True), "trigger"),
    (acknowledged_message(why=Why.changed), "acknowledge"), (acknowledged_message(why=Why.action), "acknowledge"),
])
async def test_the_state_decides_the_event(sent: Any, action: str) -> None:
    assert (await event_of(sent))["event_action"] == action


async def test_an_episode_is_one_alert_there_and_the_next_episode_another() -> None:
    first = await event_of(message())
    assert first["dedup_key"] == f"alerthub/{message().incident_id}/1"
    assert (await event_of(resolved_message()))["dedup_key"] == first["dedup_key"]
    assert (await event_of(message(episode=2)))["dedup_key"] != first["dedup_key"]


@pytest.mark.parametrize("length", [254, 255, 256, 10_000])
def test_a_dedup_key_keeps_its_limit_and_tells_incidents_apart(length: int) -> None:
    prefix = len("alerthub//1")
    one, other = (dedup_key(message(incident_id="x" * (length - prefix - 1) + end)) for end in "ab")
    assert len(one) <= 255
    assert one != other
    assert (len(one) == length) is (length <= 255)


async def test_a_reminder_of_what_is_open_there_is_not_sent() -> None:
    async with opened() as (provider, channel):
        receipt = await channel.send(message(), None)
        assert await channel.send(message(why=Why.repeat), receipt) == receipt
        assert len(provider.requests) == 1


@pytest.mark.parametrize("previous", [None, Receipt({"dedup_key": "alerthub/x/0"}), Receipt({})])
async def test_a_reminder_of_what_was_never_told_is_sent(previous: Receipt | None) -> None:
    async with opened() as (provider, channel):
        receipt = await channel.send(message(why=Why.repeat), previous)
        assert provider.last.json()["event_action"] == "trigger"
    assert receipt.handle == {"dedup_key": f"alerthub/{message().incident_id}/1", "action": "trigger"}


LATER = NOW + timedelta(hours=1)


@pytest.mark.parametrize(("told", "said"), [
    ([acknowledged_message(), message(asks_again=True)], ["acknowledge", "resolve", "trigger"]),
    ([message(), message(why=Why.escalated, asks_again=True)], ["trigger", "resolve", "trigger"]),      # acknowledged there
    ([message(), message(silenced_until=LATER), message(asks_again=True)], ["trigger", "acknowledge", "resolve", "trigger"]),
    ([acknowledged_message(why=Why.opened, calls=True)], ["trigger"]),       # somebody there is called for what another has
    ([acknowledged_message(), acknowledged_message(calls=True), acknowledged_message(why=Why.changed),
      acknowledged_message(taken=True)], ["acknowledge", "resolve", "trigger", "acknowledge"]),
    ([acknowledged_message(calls=True), acknowledged_message(why=Why.unacknowledged, taken=True)], ["trigger", "acknowledge"]),
    ([message(silenced_until=LATER, calls=True)], ["trigger"]),
    ([message(silenced_until=LATER, calls=True), message(silenced_until=LATER, why=Why.changed),
      message(silenced_until=LATER, why=Why.comment)], ["trigger"]),         # it is not quiet because something else happened
    ([message(silenced_until=LATER, calls=True), message(silenced_until=LATER, taken=True)], ["trigger", "acknowledge"]),
    ([message(), acknowledged_message(), acknowledged_message(why=Why.changed)], ["trigger", "acknowledge", "acknowledge"]),
])
async def test_it_rings_there_when_somebody_is_wanted_and_not_otherwise(told: list[Any], said: list[str]) -> None:
    async with opened() as (provider, channel):
        receipt = None
        for one in told:
            receipt = await channel.send(one, receipt)
        assert [request.json()["event_action"] for request in provider.requests] == said


async def test_the_receipt_remembers_when_it_was_closed_there_to_ring_anew() -> None:
    async with opened() as (_, channel):
        receipt = await channel.send(acknowledged_message(), None)
        assert "closed_at" not in receipt.handle
        receipt = await channel.send(message(asks_again=True), receipt)
        assert receipt.handle["closed_at"] == NOW.isoformat()
        for one in (message(why=Why.changed), acknowledged_message(), message(silenced_until=LATER)):
            receipt = await channel.send(one, receipt)
            assert receipt.handle["closed_at"] == NOW.isoformat()
        assert "closed_at" not in (await channel.send(message(episode=2), receipt)).handle


@pytest.mark.parametrize(("sent", "actions"), [
    (message(only_edit=True), []), (acknowledged_message(only_edit=True), ["acknowledge"]),
    (resolved_message(only_edit=True), ["resolve"]), (message(only_edit=True, episode=2), ["resolve", "trigger"]),
])
async def test_an_edit_is_sent_when_it_is_another_state_there(sent: Any, actions: list[str]) -> None:
    async with opened() as (provider, channel):
        receipt = await channel.send(message(), None)
        assert (await channel.send(sent, receipt)).handle["dedup_key"] == dedup_key(sent)
        assert [request.json()["event_action"] for request in provider.requests[1:]] == actions


async def test_an_alert_line_in_a_reminder_does_not_stop_a_resolve() -> None:
    async with opened() as (provider, channel):
        receipt = await channel.send(message(), None)
        await channel.send(resolved_message(), receipt)
        assert [request.json()["event_action"] for request in provider.requests] == ["trigger", "resolve"]


def test_what_it_can_and_how_fast() -> None:
    channel = PagerDuty(PagerdutyConfig(routing_key=KEY), PagerdutyGlobal(), Wire(httpx.AsyncClient(verify=False), FixedClock()))
    assert (channel.edits, channel.digests, channel.tells_untold_resolved) == (True, False, False)
    assert channel.budget == Budget(0.5, 10)
    assert channel.address == hashlib.sha256(KEY.encode()).hexdigest()[:8]


# --- what it says -------------------------------------------------------------------------------------------------------


async def test_a_trigger_says_what_who_and_where_to_look() -> None:
    event = await event_of(message())
    assert event["payload"]["summary"] == "AgentRewardNegative (agent=btc): The rolling reward of btc is -12.5"
    assert event["payload"]["source"] == "alertmanager"
    assert event["payload"]["severity"] == "critical"
    assert event["payload"]["timestamp"] == "2026-11-21T11:55:00+00:00"
    assert event["client"] == "AlertHub"
    assert event["client_url"] == "https://hub.example.com/incidents/17"
    assert event["links"] == [{"href": "https://hub.example.com/incidents/17", "text": "Incident"},
                              {"href": "https://hub.example.com/runbooks/agent-reward", "text": "Runbook"}]
    details = event["payload"]["custom_details"]
    assert details["alerts"] == ["The rolling reward of btc is -12.5"]
    assert details["labels"] == dict(message().common_labels)
    assert details["alerts_left_out"] == 0


async def test_what_is_left_out_is_counted() -> None:
    details = (await event_of(message(alerts=(firing_line(),) * 60, firing=1_000)))["payload"]["custom_details"]
    assert len(details["alerts"]) == 50
    assert details["alerts_left_out"] == 950


@pytest.mark.parametrize("severity", list(Severity))
async def test_the_four_severities_are_pagerdutys(severity: Severity) -> None:
    assert (await event_of(message(severity=severity)))["payload"]["severity"] == severity.value


@pytest.mark.parametrize(("template", "wanted"), [
    ("info", "info"), ("WARN", "warning"), ("{{ severity }}", "critical"), ("{{ labels.severity }}", "critical"), ("p2", "error"),
    ("{{ labels.nothing }}", "critical"), ("purple", "critical"), ("error\n", "error"),
])
async def test_a_severity_of_ones_own_becomes_one_of_the_four(template: str, wanted: str) -> None:
    assert (await event_of(message(), severity=template))["payload"]["severity"] == wanted


async def test_every_template_reaches_its_place() -> None:
    event = await event_of(
        message(), description="{{ title }}!", source="{{ labels.agent }}", client="Desk {{ number }}",
        component="{{ labels.agent }}", group="g", details={"who": "{{ labels.agent }}", "status": "mine"}, client_url="https://desk.example.com/",
        **{"class": "c"})
    payload = event["payload"]
    assert (payload["summary"], payload["source"]) == ("AgentRewardNegative (agent=btc)!", "btc")
    assert (payload["component"], payload["group"], payload["class"]) == ("btc", "g", "c")
    assert (event["client"], event["client_url"]) == ("Desk 17", "https://desk.example.com/")
    assert payload["custom_details"]["who"] == "btc"
    assert payload["custom_details"]["status"] == "mine", "what is configured wins"


async def test_a_template_that_fails_or_says_nothing_loses_no_page() -> None:
    breaks = "{% if source == 'alertmanager-2' %}{{ 1 // 0 }}{% endif %}"
    config = {"description": breaks, "source": breaks, "severity": breaks, "client": breaks, "details": {"x": breaks}}
    payload = (await event_of(message(source="alertmanager-2"), **config))["payload"]
    assert payload["summary"].startswith("AgentRewardNegative")
    assert payload["source"] == "alertmanager-2"
    assert payload["severity"] == "critical"
    empty = (await event_of(message(), **config))["payload"]
    assert empty["summary"].startswith("AgentRewardNegative")
    assert empty["source"] == "alertmanager"


@pytest.mark.parametrize("overrides", [{"title": ""}, {"title": "\n\t"}, {"source": ""}, {"title": "", "source": "\x00"}])
async def test_what_is_required_is_never_empty(overrides: dict[str, Any]) -> None:
    payload = (await event_of(message(**overrides, common_annotations={})))["payload"]
    assert payload["summary"] in ("Incident #17", "AgentRewardNegative (agent=btc)")
    assert payload["source"] in ("alerthub", "alertmanager")


async def test_a_test_says_so() -> None:
    assert (await event_of(message(why=Why.test)))["payload"]["summary"].startswith("[TEST] ")


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: ascii(value[:12]))
async def test_a_hostile_value_is_data_in_every_place(value: str) -> None:
    templates = {"description": "{{ title }} {{ labels.agent }}", "details": {"a": "{{ labels.agent }}"}}
    event = await event_of(hostile_message(value), **templates)
    assert event["payload"]["custom_details"]["labels"]["agent"] == (value if len(value) <= 1_000 else value[:999] + "…")
    assert "49" not in event["payload"]["summary"]


async def test_lone_surrogates_and_nul_do_not_stop_a_page() -> None:
    event = await event_of(message(title="bad \ud800 \x00 title", common_labels={"a\ud800": "\udfff"}))
    assert "title" in event["payload"]["summary"]


# --- limits: at, one below, one above -----------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", ["x", "ü", "🔥", "<"])
@pytest.mark.parametrize("length", [1_023, 1_024, 1_025, 20_000])
async def test_a_summary_has_at_most_1024_characters(length: int, sign: str) -> None:
    for event in (await event_of(message(title=sign * length, common_annotations={})),
                  await event_of(message(), description=sign * min(length, 2_000))):
        summary = event["payload"]["summary"]
        assert len(summary) == min(length, 1_024)
        assert summary.endswith("…") is (length > 1_024)


def letters(count: int) -> str:
    """A short template that makes that many."""
    return "{{ '" + "x" * 1_000 + f"' * {count // 1_000} }}}}" + "x" * (count % 1_000)


async def body_with(last: int, others: int = 8) -> tuple[int, dict[str, Any]]:
    """Size of the body, and the details in it, with so many letters in the user's own details, which nobody cuts."""
    config = {f"d{n}": letters(60_000) for n in range(others)} | {"last": letters(last)}
    async with opened(details=config) as (provider, channel):
        await channel.send(message(), None)
        assert_valid(provider.last)
        return len(provider.last.body), provider.last.json()["payload"]["custom_details"]


async def test_a_body_of_512000_bytes_is_kept_whole_and_one_more_is_not() -> None:
    size, _ = await body_with(1_000)
    room = BODY_BYTES - size
    for more, is_whole in ((-1, True), (0, True), (1, False)):
        size, details = await body_with(1_000 + room + more)
        assert (details.get("labels") is not None) is is_whole
        if is_whole:
            assert size == BODY_BYTES + more
        else:
            assert "d0" in details, "what the user asked for stays longer than what we add"
            assert "too large" in details["left_out"]


async def test_details_that_cannot_fit_are_dropped_last_and_said_to_be() -> None:
    _, details = await body_with(1_000, others=12)
    assert details == {"left_out": "all details: too large for PagerDuty"}


async def test_links_that_no_one_could_follow_are_left_out() -> None:
    links = tuple(Link(f"L{n}" + "x" * 400, f"https://h/{n}") for n in range(30))
    event = await event_of(message(links=(Link("long", "https://h/" + "a" * 1_991), *links)))
    assert len(event["links"]) == 10
    assert all(len(link["href"]) <= 2_000 and len(link["text"]) <= 255 for link in event["links"])
    assert event["client_url"] == "https://h/0"
    assert (await event_of(message(links=())))["links"] == []
    assert len((await event_of(message(links=(Link("l", "https://h/" + "a" * 1_990),))))["links"]) == 1


async def test_degraded_is_the_least_that_pagerduty_takes() -> None:
    event = await event_of(giant_message(is_degraded=True), description="{{ title }}", details={"a": "b"})
    assert set(event) == {"routing_key", "event_action", "dedup_key", "payload"}
    assert set(event["payload"]) == {"summary", "source", "severity"}
    assert len(event["payload"]["summary"]) <= 200


# --- refusals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "body", "reason"), [
    (400, {"status": "invalid event", "message": "Event object is invalid", "errors": ["'payload.severity' is invalid"]},
     Failure.content),
    (400, {"message": "Event object is invalid", "errors": ["Length of 'routing_key' is incorrect (should be 32 characters)"]},
     Failure.configuration),
    (400, {"message": "Invalid routing key"}, Failure.configuration),
    (400, "no JSON", Failure.content), (400, [], Failure.content),
    (400, {"errors": "routing"}, Failure.content), (400, {"errors": [3, None]}, Failure.content),
    (403, {}, Failure.configuration), (404, {}, Failure.configuration), (401, {}, Failure.configuration),
    (413, {}, Failure.content), (429, {}, Failure.rate_limited), (500, {}, Failure.unavailable), (502, {}, Failure.unavailable),
    (503, {}, Failure.unavailable), (504, {}, Failure.timeout), (200, {"status": "success"}, Failure.bug),
    (302, {}, Failure.configuration),
])
async def test_a_refusal_has_its_reason(status: int, body: Any, reason: Failure) -> None:
    async with opened() as (provider, channel):
        provider.script(status, body=body)
        with pytest.raises(SendFailed) as caught:
            await channel.send(message(), None)
        assert len(provider.requests) == 1
    assert caught.value.reason is reason
    assert f"HTTP {status}" in caught.value.detail
    assert (caught.value.after == 120) is (status == 429)


async def test_what_pagerduty_says_is_told_in_one_line_without_the_key() -> None:
    async with opened() as (provider, channel):
        provider.script(400, body={"message": f"Event\nobject {KEY}", "errors": [f"'{KEY}' is \x1b[31mwrong", "x" * 500]})
        with pytest.raises(SendFailed) as caught:
            await channel.send(message(), None)
    assert caught.value.detail.startswith("HTTP 400 Event object [secret]: '[secret]' is [31mwrong: xxx")
    assert len(caught.value.detail) <= 220
    assert caught.value.detail.isprintable()


# --- configuration ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wrong", "word"), [
    ({}, "routing_key"), ({"routing_key": KEY, "service_key": KEY}, "not both"), ({"routing_key": ""}, "integration key"),
    ({"routing_key": "with space"}, "integration key"), ({"routing_key": "two\nlines"}, "integration key"),
    ({"routing_key": "ü"}, "integration key"), ({"routing_key": KEY, "unknown": 1}, "unknown"),
    ({"routing_key": KEY, "url": "ftp://h/"}, "https://"), ({"routing_key": KEY, "client_url": "javascript:alert(1)"}, "https://"),
    ({"routing_key": KEY, "routing_key_file": "/no/such"}, "not both"), ({"routing_key_file": "/no/such"}, "cannot read"),
])
def test_settings_that_cannot_be_are_refused_without_the_key(wrong: dict[str, Any], word: str) -> None:
    with pytest.raises(ValidationError) as caught:
        PagerdutyConfig.model_validate(wrong)
    assert word in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("name", ["routing_key", "service_key"])
def test_a_key_may_stand_in_a_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY + "\n")
    config = PagerdutyConfig.model_validate({f"{name}_file": str(tmp_path / "key")})
    assert config.key == KEY
    assert KEY not in repr(config)


async def test_the_old_name_works_and_warns() -> None:
    config = PagerdutyConfig(service_key=KEY)
    assert "routing_key" in config.deprecations()[0]
    assert KEY not in config.deprecations()[0]
    assert PagerdutyConfig(routing_key=KEY).deprecations() == []
    async with opened(routing_key=None, service_key=KEY) as (provider, channel):
        await channel.send(message(), None)
        assert provider.last.json()["routing_key"] == KEY
        assert "service_key" not in provider.last.json()


@pytest.mark.parametrize("name", ["description", "severity", "source", "client", "component", "group", "class"])
def test_a_template_that_cannot_be_is_named(name: str) -> None:
    config = PagerdutyConfig.model_validate({"routing_key": KEY, name: "{{ title"})
    with pytest.raises(ValueError, match=f"^{name}: "):
        PagerDuty(config, PagerdutyGlobal(), Wire(httpx.AsyncClient(verify=False), FixedClock()))


def test_a_template_of_a_detail_is_named_too() -> None:
    with pytest.raises(ValueError, match=r"^details\.why: "):
        PagerDuty(PagerdutyConfig(routing_key=KEY, details={"why": "{% for %}"}), PagerdutyGlobal(),
                  Wire(httpx.AsyncClient(verify=False), FixedClock()))


async def test_the_address_of_an_entry_wins_over_the_shared_one() -> None:
    async with FakeProvider(accepted) as europe, opened(url=f"{europe.url}/eu") as (provider, channel):
        await channel.send(message(), None)
        assert provider.requests == []
        assert europe.last.path == "/eu"


async def test_an_old_state_is_stamped_with_its_own_time() -> None:
    old = firing_line(starts_at=NOW - timedelta(days=3))
    event = await event_of(message(alerts=(firing_line(), old), status=IncidentStatus.triggered))
    assert event["payload"]["timestamp"] == "2026-11-18T12:00:00+00:00"
