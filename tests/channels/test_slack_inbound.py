"""Slack's requests: what is proved, what is refused, and what is read of it. No bytes of a stranger make anything but 401."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerthub.channels.base import Forged, Inbound, Unreadable
from alerthub.channels.slack_inbound import (
    BOT,
    GUEST,
    ID_LENGTH,
    NOTHING,
    OTHER_WORKSPACE,
    hear_command,
    hear_interaction,
    read_form,
    read_payload,
    unescaped,
    verify,
)
from alerthub.domain.command import Press, Typed
from alerthub.domain.person import Account
from tests.kit.messages import NOW
from tests.kit.providers.slack import CHANNEL
from tests.kit.providers.slack_people import (
    SECRET,
    TEAM,
    TS,
    USER,
    choice,
    interaction,
    interactivity,
    press,
    signed,
    typed,
)

AYSE = Account("slack", USER, "ayse")
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=5), max_leaves=12)

# https://docs.slack.dev/authentication/verifying-requests-from-slack, "a recipe for security"
PUBLISHED = Inbound("/command", {
    "x-slack-request-timestamp": "1531420618",
    "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
}, b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
   b"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com"
   b"%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
   b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c", datetime.fromtimestamp(1531420618, UTC))


def test_the_example_that_slack_publishes_is_genuine():
    verify("8f742231b10e8888abcd99yyyzzz85a5", PUBLISHED)
    heard = hear_command(read_form(PUBLISHED.body), "T1DC2JH3J")
    assert heard.ask == Typed("", Account("slack", "U2CERLKJA", "roadrunner"),
                              "slack:398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c", "G8PSS9T3V")


@pytest.mark.parametrize("changed", [
    {"body": PUBLISHED.body + b" "}, {"body": PUBLISHED.body.replace(b"roadrunner", b"coyote")}, {"body": b""},
    {"headers": {**PUBLISHED.headers, "x-slack-request-timestamp": "1531420619"}},
])
def test_what_was_changed_on_the_way_is_forged(changed):
    with pytest.raises(Forged) as caught:
        verify(SECRET, replace(PUBLISHED, **changed))
    assert caught.value.status == 401


def test_another_secret_is_forged():
    with pytest.raises(Forged):
        verify("another", PUBLISHED)


@pytest.mark.parametrize("name", ["x-slack-request-timestamp", "x-slack-signature"])
@pytest.mark.parametrize("value", [
    None, "", " ", "0", "-1", "abc", "1531420618.0", "1531420618 ", " 1531420618", "+1531420618", "1_531_420_618", "0x5b4",
    "٣١٤", "9" * 15, "9" * 5_000, "nan", "inf", "1e9", "\x00", "\ud800", "é", "v0=", "v0=é", "v1=" + "a" * 64, "v0=" + "a" * 64,
    "v0=" + "a" * 5_000, "V0=A2114D57B48EAC39B9AD189DD8316235A7B4A8D21A10BD27519666489C69B503", "v0=\x00", "\r\n",
])
def test_a_malformed_header_is_forged_and_nothing_worse(name, value):
    headers = {key: given for key, given in {**PUBLISHED.headers, name: value}.items() if given is not None}
    with pytest.raises(Forged):
        verify(SECRET, replace(PUBLISHED, headers=headers))


@pytest.mark.parametrize("stamp", ["abc", "1e9", "-5", "9" * 16])
def test_a_timestamp_that_is_none_is_forged_even_when_it_is_signed(stamp):
    with pytest.raises(Forged):
        verify(SECRET, signed(b"text=", NOW, stamp=stamp))


@pytest.mark.parametrize(("seconds", "is_taken"), [
    (-301, False), (-300, True), (0, True), (300, True), (301, False), (10**9, False),
])
def test_a_signature_is_good_for_five_minutes_both_ways(seconds, is_taken):
    inbound = replace(signed(b"text=", NOW), now=NOW + timedelta(seconds=seconds))
    if is_taken:
        verify(SECRET, inbound)
        return
    with pytest.raises(Forged, match="too old"):
        verify(SECRET, inbound)


def test_bytes_that_are_no_text_can_be_genuine_and_are_unreadable():
    inbound = signed(b"\xff\xfe=\x80", NOW)
    verify(SECRET, inbound)
    with pytest.raises(Unreadable):
        read_form(inbound.body)


@pytest.mark.parametrize("body", [
    b"", b"payload=", b"payload=x", b"payload=[]", b"payload=1", b"payload=null", b"payload=" + b"[" * 100_000,
    b"payload=" + b"9" * 5_000, b"&" * 200, b"a=1&" * 200, b"{}", b"payload=%ff",
])
def test_a_genuine_body_that_slack_does_not_document_is_unreadable(body):
    with pytest.raises(Unreadable):
        read_payload(read_form(body))


def test_a_press_becomes_an_ask():
    heard = hear_interaction(press("a.1.1..mac", response_url="https://hooks.slack.com/actions/T/1/x"), TEAM)
    assert heard.ask == Press("a.1.1..mac", AYSE, "slack:13345224609.738474920.8088930838d88f008e0", CHANNEL, TS)
    assert (heard.response_url, heard.refusal, heard.in_private) == ("https://hooks.slack.com/actions/T/1/x", "", False)


def test_a_chosen_silence_is_a_press_of_its_token():
    assert hear_interaction(choice("s4.1.1..mac"), TEAM).ask.token == "s4.1.1..mac"


def test_a_press_without_trigger_is_known_by_message_moment_and_person():
    first = hear_interaction(press("t", trigger_id=None), None).ask.key
    assert first == f"slack:{TS}/1763726401.000100/{USER}"
    assert hear_interaction(press("t", trigger_id=None, user={"id": "U999"}), None).ask.key != first


def test_the_same_request_has_the_same_key_so_that_the_hub_knows_a_replay():
    inbound = interactivity(press("t"), NOW)
    keys = {hear_interaction(read_payload(read_form(inbound.body)), None).ask.key for _ in range(2)}
    assert len(keys) == 1


def test_a_press_in_a_private_answer_names_no_live_message():
    container = {"message_ts": "1763726499.000001", "channel_id": CHANNEL, "is_ephemeral": True}
    heard = hear_interaction(press("t", container=container, message=None, channel=None), None)
    assert (heard.ask.place, heard.ask.message, heard.in_private) == (CHANNEL, "", True)


@pytest.mark.parametrize("payload", [
    {"type": "view_submission"}, {"type": "message_action", "actions": []}, {"type": "block_actions", "actions": "x"},
    {"type": "block_actions", "actions": [1, None, {}]}, interaction({"type": "button", "action_id": "link_0"}),
    interaction({"value": 7}), interaction({"value": "x" * (ID_LENGTH + 1)}), interaction({"value": "t"}, type="shortcut"), {},
])
def test_other_interactions_are_nothing_to_us(payload):
    assert hear_interaction(payload, TEAM) is NOTHING


@pytest.mark.parametrize("user", [None, 7, [], "U1", {}, {"id": 7}, {"id": ""}])
def test_a_press_by_nobody_is_unreadable(user):
    with pytest.raises(Unreadable):
        hear_interaction({**press("t"), "user": user}, None)


STRANGERS = [
    ({"team_id": "T999"}, {}, OTHER_WORKSPACE), ({"is_stranger": True}, {}, OTHER_WORKSPACE),
    ({"enterprise_id": "E1"}, {"enterprise": {"id": "E2"}}, OTHER_WORKSPACE), ({"is_bot": True}, {}, BOT),
    ({"id": "USLACKBOT"}, {}, BOT), ({"is_restricted": True}, {}, GUEST), ({"is_ultra_restricted": True}, {}, GUEST),
]


@pytest.mark.parametrize("ours", [None, TEAM])
@pytest.mark.parametrize(("user", "rest", "why"), STRANGERS)
def test_who_is_no_member_of_the_workspace_asks_nothing(user, rest, why, ours):
    heard = hear_interaction(press("t", user=user, **rest), ours)
    assert (heard.ask, heard.refusal) == (None, why)
    assert heard.response_url


@pytest.mark.parametrize(("user_team", "team", "ours", "is_member"), [
    (TEAM, TEAM, None, True), (TEAM, TEAM, TEAM, True), (TEAM, TEAM, "T999", False), (None, TEAM, TEAM, True),
    (None, "T999", TEAM, False), (TEAM, None, TEAM, True), ("T999", None, TEAM, False), ("T999", None, None, True),
    (None, None, None, True), (None, None, TEAM, False), ("T999", TEAM, None, False), ([], {}, TEAM, False),
])
def test_teams_are_compared_as_far_as_slack_names_them(user_team, team, ours, is_member):
    heard = hear_interaction(press("t", user={"team_id": user_team}, team={"id": team}), ours)
    assert (heard.ask is not None) == is_member


def test_a_member_of_a_workspace_in_an_organisation_is_no_stranger():
    assert hear_interaction(press("t", user={"enterprise_id": "E1"}, enterprise={"id": "E1"}), TEAM).ask is not None


def test_a_command_becomes_a_line_of_words():
    heard = hear_command(typed("ack 17"), TEAM)
    assert heard.ask == Typed("ack 17", AYSE, "slack:13345224609.738474920.8088930838d88f008e1", CHANNEL)


def test_a_command_from_another_workspace_asks_nothing():
    assert hear_command(typed("ack 17", team_id="T999"), TEAM).refusal == OTHER_WORKSPACE


@pytest.mark.parametrize("missing", ["user_id", "trigger_id"])
def test_a_command_by_nobody_or_without_trigger_is_unreadable(missing):
    with pytest.raises(Unreadable):
        hear_command(typed("ack 17", **{missing: ""}), TEAM)


def test_slacks_own_check_of_the_certificate_is_nothing():
    assert hear_command({"ssl_check": "1", "token": "x"}, TEAM) is NOTHING


@pytest.mark.parametrize(("text", "words"), [
    ("comment 17 a &lt; b &amp;&amp; c &gt; d", "comment 17 a < b && c > d"), ("&amp;lt;", "&lt;"),
    ("who <@U012AB3CD|ayse>", "who @ayse"), ("who <@U012AB3CD>", "who @U012AB3CD"), ("<#C1|general>", "#general"),
    ("<!here>", "here"), ("<!subteam^S1|@ops>", "@ops"), ("<https://example.com|example>", "example"),
    ("<https://example.com>", "https://example.com"), ("&lt;@U1&gt;", "<@U1>"), ("<<>", "<"),
])
def test_what_was_typed_is_read_without_slacks_markup(text, words):
    assert unescaped(text) == words


def test_text_that_no_database_can_store_is_cleaned():
    ask = hear_interaction(press("t", user={"username": "a\x00b\ud800\n" + "x" * 500}, trigger_id="1\x00\udfff"), None).ask
    assert ask.by.name.startswith("ab? x")
    assert len(ask.by.name) == 80
    assert ask.key == "slack:1?"
    assert "\n" not in hear_command(typed("list\nack 17"), None).ask.words


def test_an_id_of_any_length_becomes_a_short_key():
    one, other = (hear_interaction(press("t", trigger_id=letter * 100_000), None).ask.key for letter in "ab")
    assert len(one) < 100
    assert one != other


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.dictionaries(
    st.sampled_from(["x-slack-signature", "x-slack-request-timestamp", "host"]), st.text(max_size=30)), st.datetimes())
def test_whatever_a_stranger_sends_is_forged(body, headers, moment):
    with pytest.raises(Forged):
        verify(SECRET, Inbound("", headers, body, moment.replace(tzinfo=UTC)))


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(ANY_JSON, st.dictionaries(st.sampled_from([
    "type", "user", "team", "enterprise", "container", "message", "channel", "actions", "trigger_id", "response_url"]), ANY_JSON))
def test_whatever_slack_may_send_is_heard_or_unreadable(anything, parts):
    for payload in (anything, {**press("t"), **parts}):
        body = urlencode({"payload": json.dumps(payload)}).encode()
        try:
            heard = hear_interaction(read_payload(read_form(body)), TEAM)
        except Unreadable:
            continue
        assert heard.ask is None or len(heard.ask.key.encode()) < 800


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(list(typed(""))), ANY_JSON))
def test_whatever_a_command_holds_it_is_heard_or_unreadable(parts):
    try:
        heard = hear_command({**typed("list"), **parts}, TEAM)
    except Unreadable:
        return
    assert heard.ask is None or heard.ask.words.encode() is not None
