"""One update of Telegram's, read: what is asked, by whom, where; and what is not for the hub."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerthub.channels.telegram_updates import COMMANDS, Chats, Heard, NotAnUpdate, heard_in, raw_update
from alerthub.domain.command import Press, Typed
from alerthub.domain.person import Account
from alerthub.domain.words import COMMANDS as WORDS
from tests.kit.messages import HOSTILE
from tests.kit.providers.telegram import person, place, pressed_update, said_update

GROUP = -1001234567890
BOT = "42"
AYSE = Account("telegram", "5", "Ayse Yilmaz")
INACCESSIBLE = {"message_id": 101, "date": 0, "chat": place(GROUP)}


def said(what: str, where: int = GROUP, **changed: Any) -> Heard | None:
    update = said_update(9, what, 5, where)
    update["message"].update(changed)
    return heard_in(update, BOT)


def words(text: str, chat: int = GROUP) -> str | None:
    heard = said(text, chat)
    return heard.ask.words if heard is not None and isinstance(heard.ask, Typed) else None


def pressed(**changed: Any) -> Heard | None:
    update = pressed_update(9, "a.1.1..mac", 5, GROUP, 101)
    update["callback_query"].update(changed)
    return heard_in(update, BOT)


# --- commands -----------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("text", "understood"), [
    ("/list", "list"), ("/ack 17", "ack 17"), ("/ack   #17 ", "ack #17"), ("/ack\n17", "ack 17"), ("  /list", "list"),
    ("/ack@AlertHubBot 17", "ack 17"), ("/silence 17 4h because\nof rain", "silence 17 4h because of rain"),
    ("/resolve 17 force", "resolve 17 force"), ("/link ABCD-1234", "link ABCD-1234"), ("/LIST", "LIST"), ("/start", "start"),
    ("/comment 17 /ack 18", "comment 17 /ack 18"), ("/comment 17 a\x00b\ud800", "comment 17 a b?"),
    ("/weather", None), ("list", None), ("/", None), ("", None), ("hello /list", None), ("/ list", None), ("//list", None),
])
def test_a_command_is_the_words_after_the_slash(text: str, understood: str | None) -> None:
    assert words(text) == understood


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_is_heard_in_a_group(command: str) -> None:
    assert words(f"/{command}") == command


def test_every_word_of_the_hub_is_a_command_here() -> None:
    assert set(WORDS) <= COMMANDS


def test_in_private_also_a_wrong_word_is_answered() -> None:
    assert words("/lst", chat=5) == "lst"


def test_what_was_typed_says_by_whom_and_where() -> None:
    heard = said("/ack@AlertHubBot 17", is_topic_message=True, message_thread_id=7)
    assert heard == Heard(Typed("ack 17", AYSE, "telegram:42:9", str(GROUP)), GROUP, "", False, -5991, 7, addressed="alerthubbot")


def test_a_thread_outside_a_forum_is_no_topic() -> None:
    heard = said("/list", message_thread_id=7)
    assert heard is not None
    assert heard.topic is None


@pytest.mark.parametrize("rest", [
    {"from": person(5, is_bot=True)}, {"from": None}, {"sender_chat": place(-7, title="anonymous")},
    {"forward_origin": {"type": "hidden_user", "date": 1, "sender_user_name": "Mallory"}},
    {"text": None}, {"text": 5}, {"text": ["/list"]}, {"from": person(5, is_bot="no")}, {"from": {**person(5), "id": "5"}},
    {"chat": {"id": "x", "type": "group"}}, {"chat": None}, {"message_id": "1"}, {"date": 10**18},
])
def test_what_no_person_said_here_is_not_heard(rest: dict[str, Any]) -> None:
    assert said("/list", **rest) is None


# --- presses ------------------------------------------------------------------------------------------------------------------

def test_a_press_says_which_button_of_which_message() -> None:
    assert pressed() == Heard(Press("a.1.1..mac", AYSE, "telegram:42:9", str(GROUP), "101"), GROUP, "", False, 101, None,
                              query="q9")


@pytest.mark.parametrize(("changed", "place_and_message"), [
    ({"message": INACCESSIBLE}, (str(GROUP), "101")),
    ({"message": None, "inline_message_id": "abc"}, ("", "")),
])
def test_a_message_that_telegram_does_not_show_is_no_obstacle(
        changed: dict[str, Any], place_and_message: tuple[str, str]) -> None:
    heard = pressed(**changed)
    assert heard is not None
    assert isinstance(heard.ask, Press)
    assert (heard.ask.place, heard.ask.message, heard.ask.token) == (*place_and_message, "a.1.1..mac")


@pytest.mark.parametrize("changed", [
    {"from": person(5, is_bot=True)}, {"from": None}, {"from": 5}, {"id": 7}, {"data": 7}, {"message": 5},
    {"message": {"message_id": 1}}, {"message": {**INACCESSIBLE, "chat": place(GROUP), "message_id": []}},
])
def test_a_press_that_cannot_be_read_is_passed_over(changed: dict[str, Any]) -> None:
    assert pressed(**changed) is None


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name[:12]))
def test_a_name_is_one_short_line(name: str) -> None:
    heard = pressed(**{"from": person(5, first_name=name, last_name=None)})
    assert heard is not None
    assert len(heard.ask.by.name) <= 80
    assert "\n" not in heard.ask.by.name
    assert heard.ask.by.key == "telegram:5"


def test_two_bots_never_have_one_key() -> None:
    update = said_update(9, "/list", 5, GROUP)
    one, other = heard_in(update, "1"), heard_in(update, "2")
    assert one is not None
    assert other is not None
    assert one.ask.key != other.ask.key


@pytest.mark.parametrize("kind", ["edited_message", "channel_post", "my_chat_member", "inline_query", "something_new"])
def test_other_updates_are_not_for_the_hub(kind: str) -> None:
    assert heard_in({"update_id": 9, kind: said_update(9, "/list", 5, GROUP)["message"] if "post" in kind else {}}, BOT) is None


# --- chats --------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("configured", "is_known"), [
    ([GROUP], True), ([str(GROUP)], True), ([5], False), (["@alerts"], False), ([], False),
])
def test_a_chat_is_known_by_its_number(configured: list[int | str], is_known: bool) -> None:
    heard = said("/list")
    assert heard is not None
    assert Chats.of(configured).know(heard) is is_known


def test_a_chat_without_a_name_is_not_an_empty_name() -> None:
    heard = pressed(message=None)
    assert heard is not None
    assert not Chats.of(["@alerts"]).know(heard)
    assert not Chats.of([]).know(heard)


# --- bytes ----------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("body", [
    b"", b"\xff", b"null", b"[]", b"{}", b'{"update_id": "1"}', b'{"update_id": true}', b'{"update_id": 1.0}', b"[" * 100_000,
    b'{"update_id": ' + b"9" * 5_000 + b"}",
])
def test_what_is_no_update_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(NotAnUpdate):
        raw_update(body)


@given(st.binary() | st.dictionaries(st.sampled_from(["update_id", "message"]), st.integers()).map(json.dumps).map(str.encode))
def test_bytes_are_an_update_or_none(body: bytes) -> None:
    try:
        assert isinstance(raw_update(body)["update_id"], int)
    except NotAnUpdate:
        return
