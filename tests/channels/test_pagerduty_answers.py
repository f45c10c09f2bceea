"""PagerDuty's webhooks: what proves them, which event asks for what, and that everything genuine is answered 2xx."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from alerthub.channels import load_listeners
from alerthub.channels.base import Forged, Hearing, Inbound, Reply, Unreadable, Wire
from alerthub.channels.pagerduty import PagerDuty, PagerdutyConfig, PagerdutyGlobal
from alerthub.channels.pagerduty_answers import REMEMBERED, PagerDutyAnswers, listeners
from alerthub.channels.pagerduty_event import dedup_key
from alerthub.domain.command import Answer, Ask, Command, Outcome, Verb
from alerthub.domain.person import Account
from tests.channels.contract import FixedClock
from tests.kit.messages import NOW, message
from tests.kit.providers.pagerduty import AYSE, OUR_INTEGRATION, WEBHOOK_SECRET, note, signed, webhook

pytestmark = pytest.mark.anyio
KEY = "R0123456789ABCDEF0123456789abcde"
INCIDENT = message().incident_id
OURS = dedup_key(message(episode=3))


@dataclass
class Ear:
    """The hub, as a listener sees it."""

    outcome: Outcome = Outcome.done
    asked: list[Any] = field(default_factory=list)

    async def __call__(self, ask: Ask) -> Answer:
        self.asked.append(ask)
        return Answer(self.outcome, "a sentence for a person")


def wire() -> Wire:
    return Wire(httpx.AsyncClient(transport=httpx.MockTransport(lambda request: httpx.Response(500))), FixedClock())


def subscription(**changes: Any) -> PagerDutyAnswers:
    return PagerDutyAnswers(WEBHOOK_SECRET.encode(), **changes)


def inbound(body: bytes, headers: dict[str, str] | None = None) -> Inbound:
    return Inbound("", signed(body) if headers is None else headers, body, NOW)


async def heard(body: bytes, listener: PagerDutyAnswers | None = None, **headers: str) -> tuple[Reply, list[Command]]:
    ear = Ear()
    reply = await (listener or subscription()).receive(inbound(body, {**signed(body), **headers}), ear)
    return reply, ear.asked


# --- what is configured -------------------------------------------------------------------------------------------------------

def test_there_is_one_listener_when_there_is_a_secret_and_none_otherwise() -> None:
    made = list(load_listeners("pagerduty")(PagerdutyGlobal(pagerduty_webhook_secret=WEBHOOK_SECRET), Hearing(), wire()))
    assert [(one.kind, one.name, one.is_exclusive) for one in made] == [("pagerduty", "pagerduty", False)]
    assert list(listeners(PagerdutyGlobal(), Hearing(), wire())) == []


def test_the_secret_is_not_shown() -> None:
    assert WEBHOOK_SECRET not in repr(subscription()) + str(subscription())


@pytest.mark.parametrize(("keys", "known"), [([], False), ([KEY], True), ([KEY, KEY], True), ([KEY, KEY[::-1]], False)])
async def test_it_comes_from_the_only_service_or_from_none_in_particular(keys: list[str], known: bool) -> None:
    entries = tuple(PagerdutyConfig(routing_key=key) for key in keys)
    shared = PagerdutyGlobal(pagerduty_webhook_secret=WEBHOOK_SECRET)
    (listener,) = listeners(shared, Hearing(entries), wire())
    address = PagerDuty(PagerdutyConfig(routing_key=KEY), shared, wire()).address
    ear = Ear()
    await listener.receive(inbound(webhook("incident.acknowledged", OURS)), ear)
    assert [command.via for command in ear.asked] == [f"pagerduty:{address}" if known else ""]


@pytest.mark.parametrize(("data", "service"), [
    ({}, "PF9KMXH"), ({"service": {"id": "PB\n\ud800"}}, "PB ?"), ({"service": 7}, "")])
async def test_it_says_of_which_service_it_is(data: Any, service: str) -> None:
    _, (command,) = await heard(webhook("incident.resolved", OURS, **data))
    assert command.service == service


@pytest.mark.parametrize(("length", "fits"), [(0, False), (15, False), (16, True), (64, True)])
def test_a_secret_that_could_be_guessed_is_refused(length: int, fits: bool) -> None:
    secret = "c4nary-secret-of-pagerduty-0123456789-0123456789-0123456789-0123"[:length]
    if fits:
        assert PagerdutyGlobal(pagerduty_webhook_secret=secret).pagerduty_webhook_secret is not None
        return
    with pytest.raises(ValidationError, match="pagerduty_webhook_secret is too short") as caught:
        PagerdutyGlobal(pagerduty_webhook_secret=secret)
    assert not secret or secret not in str(caught.value)


async def test_nothing_is_asked_of_pagerduty() -> None:
    listener, ear = subscription(), Ear()
    await asyncio.wait_for(listener.listen(ear), 5)
    await listener.aclose()
    assert ear.asked == []


# --- what proves it -----------------------------------------------------------------------------------------------------------

BODY = webhook("incident.acknowledged", OURS)
RIGHT = signed(BODY)["x-pagerduty-signature"]
HEX = RIGHT.removeprefix("v1=")
OTHER = signed(BODY, "another-secret-0123")["x-pagerduty-signature"]
GENUINE = [RIGHT, f"{OTHER},{RIGHT}", f"{RIGHT},{OTHER}", f" {OTHER} , {RIGHT} ", f"v2=ff,{RIGHT}", f",,{RIGHT}",
           f"{OTHER}," * 50 + RIGHT]
WRONG = ["", " ", ",", "v1=", "v1", "=", OTHER, f"{OTHER},{OTHER}", HEX, f"v0={HEX}", f"v2={HEX}", f"v1={HEX[:-1]}", f"v1={HEX}0",
         f"v1={HEX[:-1]}{'1' if HEX[-1] == '0' else '0'}", f"v1={HEX};{RIGHT}", f"v1 = {HEX}", "v1=" + "0" * 64, "v1=ü", "\x00",
         "v1=\ud800", "v1=" + "é" * 64, "v1=" * 10_000, f"v1={hashlib.sha256(BODY).hexdigest()}", f"sha256={HEX}",
         signed(BODY + b" ")["x-pagerduty-signature"], signed(b"")["x-pagerduty-signature"]]


@pytest.mark.parametrize("header", GENUINE, ids=range(len(GENUINE)))
async def test_one_signature_that_fits_is_enough(header: str) -> None:
    reply, asked = await heard(BODY, **{"x-pagerduty-signature": header})
    assert (reply.status, len(asked)) == (200, 1)


@pytest.mark.parametrize("header", [*WRONG, None], ids=range(len(WRONG) + 1))
async def test_what_does_not_prove_itself_is_refused_and_changes_nothing(header: str | None) -> None:
    ear = Ear()
    headers = {} if header is None else {"x-pagerduty-signature": header}
    with pytest.raises(Forged) as caught:
        await subscription().receive(inbound(BODY, headers), ear)
    assert caught.value.status == 401
    assert ear.asked == []
    assert WEBHOOK_SECRET not in str(caught.value)
    assert HEX not in str(caught.value)


async def test_a_body_changed_by_one_byte_is_refused() -> None:
    ear = Ear()
    for index in range(0, len(BODY), 7):
        changed = BODY[:index] + bytes([BODY[index] ^ 1]) + BODY[index + 1:]
        with pytest.raises(Forged):
            await subscription().receive(inbound(changed, signed(BODY)), ear)
    assert ear.asked == []


ANY_HEADER = st.one_of(st.text(max_size=200), st.text("v1=,0123456789abcdef ", max_size=200))


@settings(max_examples=200, deadline=None)
@given(body=st.binary(max_size=300), headers=st.dictionaries(
    st.sampled_from(["x-pagerduty-signature", "x-webhook-id", "content-type"]), ANY_HEADER))
async def test_whatever_a_stranger_sends_is_refused(body: bytes, headers: dict[str, str]) -> None:
    ear = Ear()
    with pytest.raises(Forged):
        await subscription().receive(inbound(body, headers), ear)
    assert ear.asked == []


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
                        st.sampled_from(["event", "id", "event_type", "agent", "data", "incident", "content", "type"]),
                        inner, max_size=5), max_leaves=20)
FIELDS = st.fixed_dictionaries({}, optional={
    "id": JSON, "event_type": st.sampled_from(["incident.acknowledged", "incident.annotated"]) | JSON, "agent": JSON,
    "data": JSON | st.fixed_dictionaries({}, optional={
        "id": JSON, "incident_key": st.just(OURS) | JSON, "content": JSON, "incident": JSON})})


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(event=FIELDS | JSON, webhook_id=st.text(max_size=20))
async def test_whatever_is_genuine_is_answered_and_what_is_asked_can_be_stored(event: Any, webhook_id: str) -> None:
    reply, asked = await heard(json.dumps({"event": event}).encode(), **{"x-webhook-id": webhook_id})
    assert reply.status == 200
    for command in asked:
        assert (command.incident, command.episode) == (INCIDENT, 3)
        said = "".join((command.text, command.by.id, command.by.name, command.key))
        assert said.encode()
        assert "\x00" not in said
        assert command.by.id


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe\x00", b"not json", b"[" * 100_000, b"1" * 10_000])
async def test_what_is_genuine_and_no_json_is_unreadable(body: bytes) -> None:
    ear = Ear()
    with pytest.raises(Unreadable):
        await subscription().receive(inbound(body), ear)
    assert ear.asked == []


# --- what it asks for ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("kind", "verb"), [
    ("incident.acknowledged", Verb.acknowledge), ("incident.unacknowledged", Verb.unacknowledge),
    ("incident.resolved", Verb.resolve),
])
async def test_an_event_is_asked_of_the_incident_and_the_episode_that_it_is_about(kind: str, verb: Verb) -> None:
    reply, (command,) = await heard(webhook(kind, OURS))
    assert reply.status == 200
    assert (command.verb, command.incident, command.episode) == (verb, INCIDENT, 3)
    assert command.by == Account("pagerduty", "PLH1HKV", "Ayse")
    assert (command.text, command.until, command.forced) == ("", None, False)


@pytest.mark.parametrize("kind", [
    "incident.triggered", "incident.reopened", "incident.escalated", "incident.reassigned", "incident.priority_updated",
    "incident.responder.added", "service.updated", "pagey.ping", "incident.something_new", "", "INCIDENT.ACKNOWLEDGED",
])
async def test_another_kind_of_event_is_answered_and_asks_for_nothing(kind: str) -> None:
    reply, asked = await heard(webhook(kind, OURS))
    assert (reply.status, asked) == (200, [])


FOREIGN = [None, "", "d3640fbd41094207a1c11e58e46b1662", "alerthub", "alerthub/17/1", f"alerthub/{INCIDENT}", f"{OURS}/1",
           f" {OURS}", f"{OURS}\n", f"alerthub/{INCIDENT}/-1", f"alerthub/{INCIDENT}/", f"alerthub/{INCIDENT}/{'9' * 10}",
           OURS.upper(), f"alerthub/{INCIDENT}/١", "alerthub/" + "0" * 64, 17, ["x"], {"a": 1}, True]


@pytest.mark.parametrize("key", FOREIGN, ids=ascii)
async def test_an_incident_that_the_hub_did_not_open_is_left_alone(key: Any) -> None:
    reply, asked = await heard(webhook("incident.acknowledged", key))
    assert (reply.status, asked) == (200, [])


@pytest.mark.parametrize(("occurred", "said_at"), [
    ((NOW - timedelta(hours=47)).isoformat(), NOW - timedelta(hours=47)),
    ("2020-05-05T05:05:05.169Z", datetime(2020, 5, 5, 5, 5, 5, 169_000, tzinfo=UTC)),
    ("0001-01-01T00:00:00+23:59", datetime.fromisoformat("0001-01-01T00:00:00+23:59")),
    ((NOW + timedelta(days=9)).isoformat(), NOW), ("9999-12-31T23:59:59-23:59", NOW), ("2020-05-05T05:05:05", NOW),
    ("", NOW), ("soon", NOW), (None, NOW), (17, NOW), ({}, NOW),
])
async def test_it_says_when_it_was_done_there(occurred: Any, said_at: datetime) -> None:
    body = json.loads(webhook("incident.resolved", OURS))
    body["event"]["occurred_at"] = occurred
    _, (command,) = await heard(json.dumps(body).encode())
    assert command.said_at == said_at


@pytest.mark.parametrize("agent", [
    None, {}, [], "x", {"id": None}, OUR_INTEGRATION, {"id": "P1", "type": "inbound_integration_reference"},
    {"id": "\x00", "type": "user_reference"}])
async def test_what_no_person_did_is_done_by_automation(agent: Any) -> None:
    reply, (command,) = await heard(webhook("incident.resolved", OURS, agent=agent))
    assert reply.status == 200
    assert (command.by.kind, command.by.id) == ("pagerduty", "automation")
    assert command.by.name in ("PagerDuty", "AlertHub")


async def test_a_name_is_one_short_line() -> None:
    _, (command,) = await heard(webhook("incident.resolved", OURS, agent={**AYSE, "summary": "A\nB\x00\ud800" + "x" * 500}))
    assert command.by.name.startswith("A B ?xxx")
    assert len(command.by.name) == 100


# --- notes --------------------------------------------------------------------------------------------------------------------

async def test_a_note_is_a_comment_on_the_incident_that_was_spoken_of_before() -> None:
    listener = subscription()
    await heard(webhook("incident.triggered", OURS), listener)
    reply, (command,) = await heard(note("I look\ninto it"), listener)
    assert reply.status == 200
    assert (command.verb, command.incident, command.episode, command.text) == (Verb.comment, INCIDENT, 3, "I look into it")
    assert command.by == Account("pagerduty", "PLH1HKV", "Ayse")


async def test_a_note_that_brings_the_key_needs_no_memory() -> None:
    _, (command,) = await heard(webhook("incident.annotated", OURS, content="Seen"))
    assert (command.verb, command.text) == (Verb.comment, "Seen")


@pytest.mark.parametrize("body", [note("Seen", on="PANOTHER"), note(""), note(" \n"), note(None), note(["x"])])
async def test_a_note_without_a_text_or_on_an_unknown_incident_is_passed_over(body: bytes) -> None:
    listener = subscription()
    await heard(webhook("incident.triggered", OURS), listener)
    reply, asked = await heard(body, listener)
    assert (reply.status, asked) == (200, [])


async def test_a_long_note_is_cut() -> None:
    for length, kept in ((1_999, 1_999), (2_000, 2_000), (2_001, 2_000)):
        _, (command,) = await heard(webhook("incident.annotated", OURS, content="x" * length))
        assert len(command.text) == kept


async def test_the_memory_of_incidents_is_bounded_and_keeps_the_latest() -> None:
    listener = subscription()
    for number in range(REMEMBERED + 1):
        listener.dedup_key({"data": {"id": f"P{number}", "incident_key": OURS}})
    assert len(listener._known) == REMEMBERED
    assert listener.dedup_key({"data": {"incident": {"id": "P0"}}}) == ""
    assert listener.dedup_key({"data": {"incident": {"id": f"P{REMEMBERED}"}}}) == OURS


async def test_what_was_not_proved_is_not_remembered() -> None:
    listener = subscription()
    with pytest.raises(Forged):
        await listener.receive(inbound(webhook("incident.triggered", OURS), {}), Ear())
    _, asked = await heard(note("x"), listener)
    assert asked == []


# --- said twice ---------------------------------------------------------------------------------------------------------------

async def key_of(body: bytes, webhook_id: str = "whid-1") -> str:
    headers = {"x-webhook-id": webhook_id} if webhook_id else {}
    signature = {"x-pagerduty-signature": signed(body)["x-pagerduty-signature"]}
    ear = Ear()
    await subscription().receive(inbound(body, {**signature, **headers}), ear)
    return str(ear.asked[0].key)


async def test_a_repetition_goes_through_under_the_same_key() -> None:
    assert await key_of(BODY) == await key_of(BODY)
    assert (await key_of(BODY)).startswith("pagerduty:")


async def test_a_copy_under_another_unsigned_header_has_the_same_key() -> None:
    assert await key_of(BODY, "whid-1") == await key_of(BODY, "whid-2") == await key_of(BODY, "")


async def test_what_differs_has_another_key() -> None:
    bodies = [BODY, webhook("incident.resolved", OURS), webhook("incident.acknowledged", dedup_key(message(episode=4))),
              webhook("incident.acknowledged", OURS, event_id="01OTHER")]
    assert len({await key_of(body) for body in bodies}) == len(bodies)


async def test_without_an_id_in_the_event_the_header_or_the_body_is_the_key() -> None:
    body, other = (webhook("incident.acknowledged", OURS, event_id="", title=title) for title in ("one", "two"))
    assert await key_of(body, "whid-1") == await key_of(other, "whid-1") != await key_of(body, "whid-2")
    assert await key_of(body, "") == await key_of(body, "") != await key_of(other, "")


@pytest.mark.parametrize("webhook_id", ["\x00", "\ud800", "x" * 10_000, "'; drop table heard"])
async def test_an_odd_id_makes_a_key_that_can_be_stored(webhook_id: str) -> None:
    key = await key_of(webhook("incident.acknowledged", OURS, event_id=""), webhook_id)
    assert key.isascii()
    assert len(key) == len("pagerduty:") + 32


# --- what it is told ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("outcome", "status"), [
    (outcome, 503 if outcome is Outcome.busy else 200) for outcome in Outcome
])
async def test_only_what_was_not_stored_is_asked_for_again(outcome: Outcome, status: int) -> None:
    reply = await subscription().receive(inbound(BODY), Ear(outcome))
    assert reply.status == status


async def test_pagerduty_does_not_wait_longer_than_it_would() -> None:
    cut = []

    async def never(ask: Ask) -> Answer:
        try:
            await asyncio.Event().wait()
        finally:
            cut.append(ask)
        raise AssertionError

    assert (await subscription(patience=0.0).receive(inbound(BODY), never)).status == 503
    assert len(cut) <= 1
    assert subscription().patience < 5
