"""What the demo shows of a message is what the hub's own channel code put into it; strangers' text stays literal."""

from __future__ import annotations

from email.headerregistry import Address
from email.message import EmailMessage
from typing import Any

import pytest

from alerthub.channels.email_body import POLICY, Custom, Letterhead, compose
from alerthub.channels.slack_blocks import blocks_of, fallback_text
from alerthub.channels.telegram_html import live
from alerthub.demo import looks
from alerthub.demo.screen import Line, Tone
from alerthub.domain.message import Message
from alerthub.domain.wording import one_line
from tests.kit.messages import HOSTILE, hostile_message, message, resolved_message

HEAD = Letterhead(Address("Hub", "hub", "example.com"), (Address("", "risk", "example.com"),), "example.com")
# What every channel makes one line of, or cuts.
LITERAL = [value for value in HOSTILE if "\n" not in value and len(value) < 100]


def text_of(lines: list[Line]) -> str:
    return "\n".join(line.text for line in lines)


def toned(lines: list[Line], tone: Tone) -> list[str]:
    return [line.text for line in lines if line.tone is tone]


def slack(told: Message) -> list[Line]:
    return looks.slack_lines({"text": fallback_text(told), "blocks": blocks_of(told)})


def telegram(told: Message) -> list[Line]:
    return looks.telegram_lines({"text": live(told, first=True), "parse_mode": "HTML"})


def mail(told: Message) -> list[Line]:
    return looks.mail_lines(compose(told, HEAD, None, Custom()).as_bytes(policy=POLICY))


CHANNELS = [pytest.param(channel, id=channel.__name__) for channel in (slack, telegram, mail)]


@pytest.mark.parametrize("channel", CHANNELS)
class TestEveryChannel:
    def test_shows_what_a_person_needs(self, channel: Any) -> None:
        shown = text_of(channel(message()))
        for text in ("FIRING", "AgentRewardNegative (agent=btc)", "#17", "critical", "The rolling reward of btc is -12.5",
                     "Incident", "Runbook"):
            assert text in shown

    def test_the_state_has_its_colour(self, channel: Any) -> None:
        (bad,) = toned(channel(message()), Tone.bad)
        (good,) = toned(channel(resolved_message()), Tone.good)
        assert "FIRING" in bad
        assert "RESOLVED" in good
        assert toned(channel(message()), Tone.good) == []

    @pytest.mark.parametrize("value", LITERAL)
    def test_a_strangers_text_is_literal(self, channel: Any, value: str) -> None:
        assert one_line(value) in text_of(channel(hostile_message(value)))      # without marks that turn its direction

    def test_a_strangers_text_does_not_choose_the_colour(self, channel: Any) -> None:
        lines = channel(message(title="RESOLVED", alerts=()))
        assert not any("FIRING" in text for text in toned(lines, Tone.good))
        assert any("FIRING" in text for text in toned(lines, Tone.bad))


@pytest.mark.parametrize(("text", "tone"), [
    ("FIRING: DiskFull", Tone.bad), ("🔴 FIRING · #2", Tone.bad), ("✅ RESOLVED: DiskFull", Tone.good), ("RESOLVED", Tone.good),
    ("DiskFull is FIRING", Tone.bold), ("ACKNOWLEDGED by ayse", Tone.bold), ("FIRINGS", Tone.bold), ("", Tone.bold),
])
def test_only_the_first_word_of_a_heading_is_its_state(text: str, tone: Tone) -> None:
    assert looks.told(text) == Line(text, tone)


class TestAnEdit:
    def test_shows_what_was_not_there_before(self) -> None:
        old = [Line("FIRING"), Line("open for 1 s"), Line("[Incident]")]
        new = [Line("RESOLVED"), Line("resolved after 2 s"), Line("[Incident]")]
        assert looks.changes(old, new) == new[:2]

    def test_that_changes_nothing_says_so(self) -> None:
        assert text_of(looks.changes([Line("a")], [Line("a")])) == "(nothing that can be seen)"

    def test_of_nothing_shows_all(self) -> None:
        assert looks.changes((), [Line("a"), Line("b")]) == [Line("a"), Line("b")]


class TestSlack:
    def test_buttons_stand_in_brackets_on_one_line(self) -> None:
        assert slack(message())[-1].text == "[Incident]  [Runbook]"

    def test_without_blocks_the_text_is_shown_with_its_escapes_undone(self) -> None:
        assert looks.slack_lines({"text": "a &lt;b&gt; &amp;amp; c"}) == [Line("a <b> &amp; c")]

    def test_mrkdwn_has_its_escapes_undone_and_plain_text_has_none(self) -> None:
        assert looks.slack_text({"type": "mrkdwn", "text": "&lt;b&gt;"}) == "<b>"
        assert looks.slack_text({"type": "plain_text", "text": "&lt;b&gt;"}) == "&lt;b&gt;"

    def test_fields_are_pairs_on_one_line(self) -> None:
        fields = [{"type": "plain_text", "text": "agent\nbtc"}, {"type": "plain_text", "text": "team\ntrading"}]
        assert looks.slack_lines({"blocks": [{"type": "section", "fields": fields}]}) == [
            Line("agent: btc · team: trading", Tone.dim)]

    def test_a_block_that_it_does_not_know_shows_nothing(self) -> None:
        header = {"type": "header", "text": {"type": "plain_text", "text": "FIRING"}}
        assert [line.text for line in looks.slack_lines({"blocks": [{"type": "divider"}, header]})] == ["FIRING"]


class TestTelegram:
    @pytest.mark.parametrize(("html", "shown"), [
        ("a <b>x</b>\nb", [Line("a x", Tone.bold), Line("b")]),
        ('<a href="https://example.com/?a=1&amp;b=2">Incident</a> · <a href="https://example.com">Runbook</a>',
         [Line("[Incident] · [Runbook]")]),
        ("&lt;b&gt; &amp;amp;", [Line("<b> &amp;")]),
        ("", [Line("")]),
    ])
    def test_its_html_is_read_as_telegram_reads_it(self, html: str, shown: list[Line]) -> None:
        assert looks.telegram_lines({"text": html, "parse_mode": "HTML"}) == shown

    def test_text_without_a_parse_mode_is_literal(self) -> None:
        assert looks.telegram_lines({"text": "<b>x</b> &amp;"}) == [Line("<b>x</b> &amp;")]


class TestMail:
    def test_the_subject_comes_first(self) -> None:
        first, second, *_ = mail(message())
        assert first == Line("Subject: [#17] AgentRewardNegative (agent=btc)", Tone.bold)
        assert second == Line("FIRING: AgentRewardNegative (agent=btc)", Tone.bad)

    def test_the_text_part_is_shown_and_never_the_html(self) -> None:
        assert "<" not in text_of(mail(message()))

    @pytest.mark.parametrize("content", [
        b"", b"Subject: x\r\n\r\n", b"Content-Type: text/plain; charset=nonsense\r\n\r\nabc", b"\xff\xfe\x00",
        b"Content-Type: text/html\r\n\r\n<b>x</b>", b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n",
    ])
    def test_what_is_hardly_a_mail_breaks_nothing(self, content: bytes) -> None:
        assert looks.mail_lines(content)[0].text.startswith("Subject:")

    def test_a_folded_and_encoded_subject_is_one_text(self) -> None:
        content = EmailMessage()
        content["Subject"] = subject = " ".join(["Müller"] * 30)
        content.set_content("text")
        assert looks.mail_lines(bytes(content))[0].text == f"Subject: {subject}"


EVENT = {
    "event_action": "trigger", "links": [{"href": "https://hub.example.com/incidents/17", "text": "Incident #17"}],
    "payload": {"summary": "DiskFull: 95 %", "severity": "critical", "custom_details": {
        "incident": "#17 · critical · 1 firing", "news": ["Opened: 1 alert firing", "Action ran"]}},
}


class TestPagerDuty:
    def test_an_alert_shows_summary_facts_news_and_the_way_back(self) -> None:
        assert looks.pagerduty_lines(EVENT) == [
            Line("FIRING: DiskFull: 95 %", Tone.bad), Line("#17 · critical · 1 firing", Tone.dim),
            Line("▸ Opened: 1 alert firing"), Line("▸ Action ran"), Line("[Incident #17]")]

    def test_its_end_is_told_from_its_beginning(self) -> None:
        assert looks.pagerduty_lines({**EVENT, "event_action": "resolve"})[0].text == "RESOLVED: DiskFull: 95 %"

    @pytest.mark.parametrize("payload", [None, {}, {"summary": "x"}, {"summary": "x", "custom_details": None}])
    def test_a_minimal_event_is_shown_too(self, payload: Any) -> None:
        assert looks.pagerduty_lines({"event_action": "trigger", "payload": payload})[0].text.startswith("FIRING: ")


@pytest.mark.parametrize(("asked", "shown"), [
    ({"reason": "DiskFull", "parameters": {"flow": "etl", "agent": "btc"}}, ["because: DiskFull", "agent: btc, flow: etl"]),
    ({"reason": "DiskFull"}, ["because: DiskFull", ""]),
    ({}, ["because: ", ""]),
])
def test_an_action_shows_its_reason_and_its_parameters(asked: dict[str, Any], shown: list[str]) -> None:
    assert [line.text for line in looks.action_lines(asked)] == shown
