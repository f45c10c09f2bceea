"""Telegram's HTML: what it says, that it always parses, and that it keeps every limit at the edge."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerthub.channels import telegram_html as html
from alerthub.channels.telegram_html import REPLIED
from alerthub.domain.alert import Severity
from alerthub.domain.message import ActionLine, IncidentStatus, Link, Message, Why
from alerthub.domain.wording import one_line
from tests.kit.messages import (
    HOSTILE,
    NOW,
    acknowledged_message,
    digest_message,
    firing_line,
    giant_message,
    hostile_message,
    message,
    resolved_line,
    resolved_message,
)
from tests.kit.providers.telegram import ENTITIES, UNITS, parsed, units

LIVE = {
    "first": lambda told: html.live(told, first=True),
    "edit": lambda told: html.live(told, first=False),
    "reply": html.reply,
}
PLAIN = {
    "first": lambda told: html.live(told, first=True, html=False),
    "edit": lambda told: html.live(told, first=False, html=False),
    "reply": lambda told: html.reply(told, html=False),
    "degraded": html.degraded,
}


def text(told: Message, *, first: bool = True) -> str:
    return parsed(html.live(told, first=first)).text


# --- what it says -----------------------------------------------------------------------------------------------------------

def test_the_live_message_reads_from_state_to_links() -> None:
    assert html.live(message(), first=True) == (
        "🔴 <b>FIRING</b> · #17 · critical · 1 firing · since 11:55 UTC (5 min)\n"
        "<b>AgentRewardNegative (agent=btc)</b>\n"
        "\n"
        "• The rolling reward of btc is -12.5\n"
        '<a href="https://hub.example.com/incidents/17">Incident</a> · '
        '<a href="https://hub.example.com/runbooks/agent-reward">Runbook</a>'
    )


@pytest.mark.parametrize(("told", "mark"), [
    (message(), "🔴"), (message(severity=Severity.error), "🟠"), (message(severity=Severity.warning), "🟡"),
    (message(severity=Severity.info), "🔵"), (acknowledged_message(), "👀"), (resolved_message(), "✅"),
    (message(why=Why.test), "🧪"), (resolved_message(why=Why.test), "🧪"),
])
def test_the_state_shows_in_mark_and_word(told: Message, mark: str) -> None:
    first = html.live(told, first=True).split("\n")[0]
    assert first.startswith(f"{mark} <b>")
    assert first[4:].strip()


@pytest.mark.parametrize(("told", "word"), [
    (message(is_stale=True), "STALE"), (message(incomplete=3), "3 more alerts"), (message(is_silenced=True), "Silenced"),
    (message(possible_duplicate=True), "duplicate"), (acknowledged_message("ayse"), "ACKNOWLEDGED by ayse"),
    (resolved_message(), "RESOLVED"), (message(alerts=(resolved_line(),)), "resolved: The rolling"),
])
def test_what_a_reader_must_know_is_said(told: Message, word: str) -> None:
    assert word in text(told)


@pytest.mark.parametrize(("told", "line"), [
    (acknowledged_message(acknowledged_at=NOW - timedelta(minutes=3)), "Acknowledged at 11:57 UTC."),
    (acknowledged_message(acknowledged_at=NOW - timedelta(days=1)), "Acknowledged at 2026-11-20 12:00 UTC."),
    (message(silenced_until=NOW + timedelta(hours=4)), "Silenced until 16:00 UTC."),
    (message(silenced_until=(NOW + timedelta(hours=21)).astimezone(timezone(timedelta(hours=3)))),
     "Silenced until 2026-11-22 09:00 UTC."),
    (message(silenced_until=NOW + timedelta(hours=10), time_zone="Europe/Istanbul"), "Silenced until 2026-11-22 01:00 +03."),
])
def test_since_when_and_until_when_are_said(told: Message, line: str) -> None:
    assert line in text(told).split("\n")


@pytest.mark.parametrize("told", [
    message(acknowledged_at=NOW), resolved_message(acknowledged_at=NOW, silenced_until=NOW), acknowledged_message(),
])
def test_what_is_over_is_not_said(told: Message) -> None:
    assert "Acknowledged at" not in text(told)
    assert "Silenced until" not in text(told)


def test_news_that_no_reply_tells_stand_in_the_first_message_only() -> None:
    told = message(news=("Opened: 1 alert firing", "Action safe-mode: verified"))
    assert "▸ Action safe-mode: verified" in text(told)
    assert "▸" not in text(told, first=False)
    assert "▸" not in text(message()), "the first event of an incident is the message itself"
    assert "▸ Resolved" in text(resolved_message()), "opened and closed before it could be told"


def test_only_the_latest_news_are_told_and_the_rest_counted() -> None:
    told = parsed(html.reply(message(why=Why.changed, news=tuple(f"event {n}" for n in range(20))))).text
    assert "15 earlier" in told
    assert "event 19" in told
    assert "event 14" not in told


def test_a_repeat_says_what_still_is_and_for_how_long() -> None:
    old = firing_line(starts_at=NOW - timedelta(hours=4))
    told = parsed(html.reply(message(why=Why.repeat, news=(), alerts=(old,), firing=3))).text
    assert told == "🔴 Still firing after 4 h: AgentRewardNegative (agent=btc), 3 firing"


@pytest.mark.parametrize("why", sorted(REPLIED))
def test_every_reply_names_the_title(why: Why) -> None:
    assert "AgentRewardNegative (agent=btc)" in parsed(html.reply(message(why=why))).text


def test_the_description_stands_below_the_title_and_actions_under_the_remarks() -> None:
    told = message(common_annotations={"description": "Look at the agent."}, is_stale=True,
                   actions=(ActionLine("safe-mode succeeded", is_bad=False), ActionLine("restart <b>", is_bad=True)))
    lines = text(told).split("\n")
    assert lines[1:3] == ["AgentRewardNegative (agent=btc)", "Look at the agent."]
    assert lines[3].startswith("STALE")
    assert lines[4:6] == ["✔ safe-mode succeeded", "✖ restart <b>"]


def test_that_it_is_silenced_is_said_once() -> None:
    told = message(is_silenced=True, why=Why.changed, news=("Silenced or inhibited at the source",))
    assert text(told).count("Silenced or") == 1
    assert parsed(html.reply(told)).text.count("Silenced or") == 1
    assert text(told).startswith("🔕 SILENCED")


def test_a_test_has_no_facts() -> None:
    assert text(message(why=Why.test, number=0)).split("\n")[0] == (
        "🧪 TEST · Test of AlertHub. Nothing is wrong; messages of incidents look like this one.")


def test_a_title_of_nothing_is_replaced_by_the_number() -> None:
    assert "Incident #17" in text(message(title=" \n\t "))


def test_a_storm_names_every_incident() -> None:
    for count in (12, 60, 1_000):
        shown = text(digest_message(count))
        assert units(shown) <= UNITS
        assert "#101" in shown
        assert f"#{100 + count}" in shown


def test_a_storm_of_wide_characters_still_names_every_incident() -> None:
    told = digest_message(40)
    wide = tuple(replace(line, title="🔥" * 200) for line in told.digest)
    shown = text(replace(told, digest=wide))
    assert units(shown) <= UNITS
    assert all(f"#{line.number}" in shown for line in wide)


@pytest.mark.parametrize(("url", "followed"), [
    ("https://example.com/a", True), ("http://example.com/a", True), ("javascript:alert(1)", False),
    ("tg://resolve?domain=x", False), ("HTTPS://example.com", False), ("", False), ("//example.com", False),
])
def test_only_web_addresses_become_links(url: str, followed: bool) -> None:
    assert [bool(html.link_lines((Link("x", url),), html=form)) for form in (True, False)] == [followed, followed]


def test_an_address_cannot_leave_its_attribute() -> None:
    link = Link('"><b>', 'https://example.com/?a="><a href=javascript:alert(1)>&b=\'')
    shown = parsed(html.live(message(links=(link,)), first=True))
    assert shown.links == [link.url]


# --- limits, at the edge -----------------------------------------------------------------------------------------------------

def at(limit: int) -> list[tuple[int, int]]:
    return [(limit - 1, limit - 1), (limit, limit), (limit + 1, limit)]


@pytest.mark.parametrize(("length", "kept"), at(html.TITLE_LIMIT))
@pytest.mark.parametrize("letter", ["x", "&", "🔥"])
def test_a_title_is_cut(length: int, kept: int, letter: str) -> None:
    width = units(letter)
    line = html.heading(message(title=letter * (length // width) + "x" * (length % width)))[1]
    assert kept - width < units(line[0].text) <= kept
    assert line[0].text.endswith("…") is (length > html.TITLE_LIMIT)


@pytest.mark.parametrize(("length", "kept"), at(html.LABEL_LIMIT))
def test_a_links_name_is_cut(length: int, kept: int) -> None:
    ((piece,),) = html.link_lines((Link("x" * length, "https://example.com"),), html=True)
    assert len(piece.text) == kept


@pytest.mark.parametrize(("length", "links"), [(html.LINK_LIMIT - 1, 1), (html.LINK_LIMIT, 1), (html.LINK_LIMIT + 1, 0)])
def test_a_long_address_is_left_out_whole(length: int, links: int) -> None:
    assert len(html.link_lines((Link("x", "https://example.com/".ljust(length, "a")),), html=True)) == links


@pytest.mark.parametrize(("count", "kept"), at(html.LINKS))
def test_links_are_counted(count: int, kept: int) -> None:
    links = (Link("x", "https://example.com"),) * count
    assert sum(1 for piece in html.link_lines(links, html=True)[0] if piece.link) == kept
    assert len(html.link_lines(links, html=False)) == kept


@pytest.mark.parametrize(("length", "lines"), [(html.PLAIN_LINKS - 1, 2), (html.PLAIN_LINKS, 2), (html.PLAIN_LINKS + 1, 1)])
def test_addresses_in_plain_text_leave_room_for_the_rest(length: int, lines: int) -> None:
    own = len("x: \n")
    links = (Link("x", "https://example.com/".ljust(1_000, "a")),
             Link("x", "https://example.com/".ljust(length - 1_000 - 2 * own, "a")))
    assert len(html.link_lines(links, html=False)) == lines


@pytest.mark.parametrize(("count", "told"), at(html.NEWS))
def test_news_are_counted(count: int, told: int) -> None:
    lines = html.news_lines(("x",) * count)
    assert len(lines) == told + (count > html.NEWS)


@pytest.mark.parametrize(("length", "kept"), at(html.NEWS_LIMIT))
def test_a_line_of_news_is_cut(length: int, kept: int) -> None:
    assert len(html.news_lines(("x" * length,))[0][0].text) == kept + len("▸ ")


@pytest.mark.parametrize(("count", "told"), at(html.ALERTS))
def test_alerts_are_counted_and_the_rest_named_as_a_number(count: int, told: int) -> None:
    lines = html.alert_lines(message(alerts=(firing_line(annotations={}, labels={}),) * count, firing=count), UNITS)
    assert len(lines) == told + (count > html.ALERTS)
    assert lines[-1][0].text == ("… +1 more" if count > html.ALERTS else "• alert")


@pytest.mark.parametrize(("length", "kept"), at(html.TEXT_LIMIT))
@pytest.mark.parametrize("letter", ["x", "<", "🔥"])
def test_the_result_of_a_template_is_cut_before_it_is_escaped(length: int, kept: int, letter: str) -> None:
    width = units(letter)
    source = letter * (length // width) + "y" * (length % width)
    for shown in (parsed(html.templated_html(source)).text, html.templated_plain(source)):
        assert kept - width < units(shown) <= kept
        assert shown.endswith("…") is (length > html.TEXT_LIMIT)


@pytest.mark.parametrize("room", range(60))
def test_lines_fit_into_any_room(room: int) -> None:
    lines = [(html.Piece("alert " + "x" * n),) for n in range(5)]
    kept = html.fitting(lines, 9, room)
    assert html.measure(kept) <= room
    whole = [line for line in kept if not line[0].text.startswith("…")]
    assert whole == lines[: len(whole)]
    if kept:
        assert kept[-1][0].text == f"… +{9 - len(whole)} more"


@pytest.mark.parametrize("form", LIVE)
@pytest.mark.parametrize("overrides", [{}, {"is_stale": True, "incomplete": 10**9, "is_silenced": True, "episode": 10**9,
                                            "possible_duplicate": True, "status": IncidentStatus.acknowledged},
                                       {"why": Why.changed}, {"links": (Link("x" * 99, "https://example.com"),) * 99}])
def test_a_giant_message_keeps_every_limit_and_says_how_much_is_missing(form: str, overrides: dict[str, object]) -> None:
    shown = parsed(LIVE[form](giant_message(**overrides)))
    assert units(shown.text) <= (html.REPLY_LIMIT if form == "reply" else UNITS)
    assert shown.entities <= ENTITIES
    if form == "edit":
        assert " more" in shown.text


@pytest.mark.parametrize("form", PLAIN)
def test_plain_text_keeps_the_limits_in_utf16(form: str) -> None:
    wide = firing_line(annotations={"summary": "🔥" * 999})
    for told in (giant_message(), giant_message(title="🔥" * 9_000, alerts=(wide,) * 99), digest_message(1_000)):
        shown = PLAIN[form](told)
        assert 0 < units(shown) <= (html.REPLY_LIMIT if form == "reply" else UNITS)


# --- whatever a label holds ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: ascii(value[:12]))
@pytest.mark.parametrize("form", LIVE)
def test_hostile_text_is_text(form: str, value: str) -> None:
    shown = parsed(LIVE[form](hostile_message(value, links=())))
    assert shown.links == []
    assert one_line(value)[:40] in shown.text
    assert "\u202e" not in shown.text


ANY = st.text(alphabet=st.one_of(st.characters(), st.sampled_from("<>&\"'/\n\r\t\x00\u2028\u202e🔥abi= ")), max_size=600)


@settings(max_examples=150, deadline=None)
@given(value=ANY, url=ANY, count=st.integers(0, 40), form=st.sampled_from(sorted(LIVE)))
def test_any_text_gives_html_that_parses_within_the_limits(value: str, url: str, count: int, form: str) -> None:
    told = hostile_message(value, acknowledged_by=value, status=IncidentStatus.acknowledged, firing=count, news=(value,) * count,
                           links=(Link(value, url), Link(value, "https://" + url)))
    told = replace(told, alerts=told.alerts * count)
    made = LIVE[form](told)
    made.encode()
    shown = parsed(made)
    assert 0 < units(shown.text) <= UNITS
    assert shown.entities <= ENTITIES
    assert all(link.startswith("https://") for link in shown.links)
    assert "<!" not in made
    assert "<@" not in made


@settings(max_examples=100, deadline=None)
@given(value=ANY)
def test_any_result_of_a_template_is_told_literally(value: str) -> None:
    made = html.templated_html(value)
    assert parsed(made).text == value.strip().encode("utf-8", "replace").decode()


@settings(max_examples=60, deadline=None)
@given(value=ANY)
def test_any_text_gives_plain_text_that_can_be_sent(value: str) -> None:
    for form in PLAIN.values():
        assert units(form(hostile_message(value))) <= UNITS
