"""What a mail holds: threads, headers that cannot be broken, parts that say the same, and every limit at its edge."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from email import message_from_bytes, policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerthub.channels import email_body as body
from alerthub.channels.email_body import Custom, Letterhead, Thread, compose
from alerthub.domain.alert import Severity
from alerthub.domain.message import ActionLine, Button, IncidentStatus, Link, Message, Why
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
    resolved_message,
)

HEAD = Letterhead(Address("AlertHub", "hub", "example.com"), (Address("", "risk", "example.com"),), "example.com")
THREAD = Thread("<inc-1@example.com>", "[#17] AgentRewardNegative (agent=btc)")


class Shown(HTMLParser):
    """What a person sees of HTML, and which addresses and tags it holds."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.links, self.tags, self.attributes = "", [], [], []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self.links += [value for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data


def shown(html: str) -> Shown:
    parser = Shown()
    parser.feed(html)
    parser.close()
    return parser


def wired(told: Message, thread: Thread | None = None, custom: Custom | None = None, head: Letterhead = HEAD) -> EmailMessage:
    """The mail as it arrives: written and read again."""
    raw = compose(told, head, thread, custom or Custom()).as_bytes(policy=body.POLICY)
    assert raw.isascii(), "no address needs SMTPUTF8, so nothing may need 8 bits"
    assert all(len(line) <= 998 for line in raw.split(b"\r\n")), "RFC 5322, 2.1.1"
    parsed = message_from_bytes(raw, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    assert parsed.defects == []
    return parsed


def part(mail: EmailMessage, kind: str) -> str:
    return next((str(found.get_content()).replace("\r\n", "\n") for found in mail.walk() if found.get_content_type() == kind), "")


# --- headers and threads ------------------------------------------------------------------------------------------------------

def test_the_first_mail_is_the_root_of_the_thread() -> None:
    mail = wired(message())
    assert mail["Message-ID"] == f"<inc-{message().incident_id}@example.com>"
    assert mail["In-Reply-To"] is None
    assert mail["Subject"] == "[#17] AgentRewardNegative (agent=btc)"
    assert parsedate_to_datetime(mail["Date"]) == NOW


@pytest.mark.parametrize("told", [acknowledged_message(), resolved_message(title="Another title by now")])
def test_a_later_mail_answers_the_first_under_its_subject(told: Message) -> None:
    mail = wired(told, THREAD)
    assert (mail["In-Reply-To"], mail["References"]) == (THREAD.root, THREAD.root)
    assert mail["Subject"] == f"Re: {THREAD.subject}"
    assert mail["Message-ID"] == f"<{told.delivery_id}@example.com>"


def test_an_attempt_that_is_repeated_has_the_same_message_id() -> None:
    for thread in (None, THREAD):
        first, second = (compose(message(), HEAD, thread, Custom())["Message-ID"] for _ in range(2))
        assert first == second
    assert wired(message(delivery_id="a"), THREAD)["Message-ID"] != wired(message(delivery_id="b"), THREAD)["Message-ID"]


@pytest.mark.parametrize("told", [digest_message(3), message(why=Why.test)])
def test_a_summary_and_a_test_are_the_root_of_no_incident(told: Message) -> None:
    assert wired(told)["Message-ID"] == f"<{told.delivery_id}@example.com>"


def test_a_mail_says_that_a_machine_wrote_it() -> None:
    mail = wired(message())
    assert (mail["Auto-Submitted"], mail["X-Auto-Response-Suppress"]) == ("auto-generated", "All")
    assert mail["List-Id"] == "AlertHub <alerthub.example.com>"
    assert "List-Unsubscribe" not in mail
    assert "Precedence" not in mail


def test_the_ids_of_a_long_domain_stay_whole() -> None:
    domain = ".".join(["department-with-a-long-name"] * 8) + ".example"
    root = f"<inc-{message().incident_id}@{domain}>"
    raw = compose(message(), replace(HEAD, domain=domain), Thread(root, "x"), Custom()).as_bytes(policy=body.POLICY)
    for line in (f"In-Reply-To: {root}", f"References: {root}", f"List-Id: AlertHub <alerthub.{domain}>"):
        assert line.encode() in raw.split(b"\r\n")


@pytest.mark.parametrize("odd", ["a b", "a\r\nBcc: x@y", "../../x", "ü", "", "a" * 300, "<>@"])
def test_an_odd_id_makes_a_message_id_all_the_same(odd: str) -> None:
    told = message(incident_id=odd, delivery_id=odd)
    for thread in (None, THREAD):
        assert re.fullmatch(r"<[A-Za-z0-9._-]{0,68}@example\.com>", compose(told, HEAD, thread, Custom())["Message-ID"])


@pytest.mark.parametrize(("text", "wanted"), [
    ("plain", "plain"), ("a\r\nBcc: evil@x", "a Bcc: evil@x"), ("a\x00b\x0bc\x0cd\x1be\x7ff", "a b c d e f"),
    ("a\x85b\x9fc\u2028d\u2029e", "a b c d e"), ("\n\n", ""), ("  a \t b  ", "a b"), ("\ud800", "?"), ("日本語 🔥", "日本語 🔥"),
])
def test_a_header_is_one_clean_line(text: str, wanted: str) -> None:
    assert body.header(text) == wanted


@pytest.mark.parametrize(("length", "kept"), [(199, 199), (200, 200), (201, 200)])
def test_a_header_is_cut(length: int, kept: int) -> None:
    cut = body.header("x" * length)
    assert len(cut) == kept
    assert cut.endswith("…") is (length > body.HEADER_LIMIT)


def test_own_headers_are_cleaned_too() -> None:
    head = replace(HEAD, headers={"X-Team": "risk\r\nBcc: evil@x"})
    mail = wired(message(), custom=Custom(headers={"X-Agent": "btc\nx"}), head=head)
    assert (mail["X-Team"], mail["X-Agent"], mail["Bcc"]) == ("risk Bcc: evil@x", "btc x", None)


def test_a_configured_subject_is_said_every_time() -> None:
    assert wired(message(), None, Custom(subject="one"))["Subject"] == "one"
    assert wired(message(), THREAD, Custom(subject="two\r\nX: y"))["Subject"] == "two X: y"


# --- what it says -------------------------------------------------------------------------------------------------------------

def test_the_text_reads_from_state_to_links() -> None:
    assert body.text_body(message(), is_first=True) == (
        "FIRING: AgentRewardNegative (agent=btc)\n"
        "#17 · critical · 1 firing · since 11:55 UTC (5 min)\n\n"
        "- The rolling reward of btc is -12.5\n\n"
        "Incident: https://hub.example.com/incidents/17\n"
        "Runbook: https://hub.example.com/runbooks/agent-reward\n"
    )


def test_a_test_mail_says_that_nothing_is_wrong() -> None:
    told = message(why=Why.test, number=0)
    assert wired(told)["Subject"] == "[AlertHub] Test message"
    for kind in ("text/plain", "text/html"):
        assert "Test of AlertHub. Nothing is wrong; messages of incidents look like this one." in part(wired(told), kind)
        assert "#0" not in part(wired(told), kind)
        assert "since" not in part(wired(told), kind)


def test_a_repeat_says_what_it_is_first() -> None:
    told = message(why=Why.repeat, news=(), firing=3)
    line = "Still firing after 5 min: AgentRewardNegative (agent=btc), 3 firing"
    assert body.text_body(told, is_first=False).split("\n")[0] == line
    assert line in shown(body.html_body(told, is_first=False)).text


def test_the_description_stands_below_the_title_and_actions_under_the_remarks() -> None:
    told = message(common_annotations={"description": "Look <there>."}, is_stale=True,
                   actions=(ActionLine("safe-mode succeeded", is_bad=False), ActionLine("restart <b>", is_bad=True)))
    for text in (body.text_body(told, is_first=True), shown(body.html_body(told, is_first=True)).text):
        order = [text.index(part) for part in ("AgentRewardNegative", "Look <there>.", "#17", "STALE: the source",
                                               "✔ safe-mode succeeded", "✖ restart <b>", "The rolling")]
        assert order == sorted(order)


def test_that_it_is_silenced_is_said_once() -> None:
    told = message(is_silenced=True, why=Why.changed, news=("Silenced or inhibited at the source",))
    for text in (body.text_body(told, is_first=False), body.html_body(told, is_first=False)):
        assert text.count("Silenced or inhibited") == 1
        assert "SILENCED" in text


def test_a_later_mail_begins_with_what_is_new() -> None:
    told = resolved_message(news=("Action safe-mode: verified", "Resolved: 1 alert cleared"))
    text = body.text_body(told, is_first=False)
    assert text.index("Action safe-mode") < text.index("- resolved: The rolling")
    html = shown(body.html_body(told, is_first=False)).text
    assert html.index("Action safe-mode") < html.index("resolved: The rolling")


def test_the_first_mail_does_not_tell_its_own_opening_as_news() -> None:
    assert "Opened" not in body.text_body(message(), is_first=True)
    assert "Opened" in body.text_body(message(news=("Opened: 1 alert", "Changed: 1 alert")), is_first=True)


FORMS = [(message(), "FIRING"), (acknowledged_message("ayse"), "ACKNOWLEDGED by ayse"), (resolved_message(), "RESOLVED"),
         (message(is_stale=True), "STALE"), (message(incomplete=4711), "4711"), (message(is_silenced=True), "Silenced"),
         (message(possible_duplicate=True), "duplicate"), (message(why=Why.test), "TEST"), (digest_message(3), "SUMMARY")]


@pytest.mark.parametrize(("told", "word"), FORMS, ids=[word for _, word in FORMS])
def test_both_parts_say_the_state_in_words(told: Message, word: str) -> None:
    mail = wired(told)
    assert word in part(mail, "text/plain")
    assert word in shown(part(mail, "text/html")).text


def test_colours_differ_but_are_never_the_only_sign() -> None:
    tellings = [message(severity=severity) for severity in Severity] + [acknowledged_message(), resolved_message()]
    assert len({body.colour(told) for told in tellings}) == len(tellings)
    for told in tellings:
        assert told.severity.value in shown(body.html_body(told, is_first=True)).text


def test_the_parts_stand_in_the_order_that_mail_programs_want() -> None:
    mail = wired(message())
    assert [found.get_content_type() for found in mail.walk()] == ["multipart/alternative", "text/plain", "text/html"]


def test_degraded_is_the_minimal_text_alone() -> None:
    mail = wired(message(is_degraded=True), custom=Custom(text="x", html="<p>x</p>"))
    assert mail.get_content_type() == "text/plain"
    assert "AgentRewardNegative" in part(mail, "text/plain")


def test_nothing_is_fetched_by_reading_a_mail() -> None:
    for told in (message(), giant_message(), digest_message(9)):
        html = part(wired(told), "text/html")
        assert set(shown(html).tags) <= {"html", "head", "meta", "body", "div", "h1", "h2", "p", "ul", "li", "a"}
        assert set(shown(html).attributes) <= {"style", "href", "charset", "name", "content"}
        assert "url(" not in html


@pytest.mark.parametrize("count", [1, 12, 1_000])
def test_a_storm_names_every_incident_in_both_parts(count: int) -> None:
    mail = wired(digest_message(count))
    for text in (part(mail, "text/plain"), shown(part(mail, "text/html")).text):
        assert "#101" in text
        assert f"#{100 + count}" in text


# --- answers ------------------------------------------------------------------------------------------------------------------

RESPOND = "https://hub.example.com/respond/"
BUTTONS = (
    Button("acknowledge", "Acknowledge", "token-a", f"{RESPOND}a"), Button("resolve", "Resolve", "token-r", f"{RESPOND}r"),
    Button("silence", "Silence 1 h", "token-s1", f"{RESPOND}s1"), Button("silence", "Silence 4 h", "token-s4", f"{RESPOND}s4"),
)


def test_a_mail_can_be_answered_by_links_in_both_parts() -> None:
    mail = wired(message(buttons=BUTTONS))
    assert (f"\n\nAcknowledge: {RESPOND}a\nResolve: {RESPOND}r\nSilence 1 h: {RESPOND}s1\nSilence 4 h: {RESPOND}s4\n"
            f"{body.ASKS_AGAIN}\n\nIncident: https://") in part(mail, "text/plain")
    html = shown(part(mail, "text/html"))
    assert html.links[:4] == [button.url for button in BUTTONS]
    assert all(button.label in html.text for button in BUTTONS)
    assert body.ASKS_AGAIN in html.text


@pytest.mark.parametrize("buttons", [
    (), (Button("acknowledge", "Acknowledge", "token-a"),), (Button("override", "Override", "token-p", f"{RESPOND}p"),),
    (Button("acknowledge", "Acknowledge", "token-a", "javascript:alert(1)"),), (Button("", "Odd", "token-o", f"{RESPOND}o"),),
])
def test_what_has_no_page_or_is_not_asked_by_mail_is_no_link(buttons: tuple[Button, ...]) -> None:
    mail = wired(message(buttons=buttons))
    for kind in ("text/plain", "text/html"):
        assert "once more" not in part(mail, kind)
        assert part(mail, kind) == part(wired(message()), kind)


def test_a_token_is_in_no_mail_but_in_its_address() -> None:
    mail = wired(message(buttons=BUTTONS))
    assert "token-" not in part(mail, "text/plain") + part(mail, "text/html")


def test_a_hostile_button_is_text() -> None:
    for value in HOSTILE:
        mail = wired(message(buttons=(Button("acknowledge", value, "t", f'{RESPOND}"><script>{value}'[:900]),)))
        html = shown(part(mail, "text/html"))
        assert "script" not in html.tags
        assert html.links[0].startswith(f'{RESPOND}"><script>')
        assert [name for name in html.attributes if name.startswith("on")] == []
        assert one_line(value)[:40] in " ".join(html.text.split())
        assert one_line(value)[:40] in " ".join(part(mail, "text/plain").split())


def test_many_buttons_leave_a_giant_mail_within_its_limits() -> None:
    wide = tuple(Button("silence", "🔥<&>" * 99, "t", RESPOND.ljust(1_000, "&")) for _ in range(99))
    mail = wired(giant_message(buttons=wide))
    assert len(part(mail, "text/plain")) <= body.TEXT_LIMIT + 1
    assert len(part(mail, "text/html").encode()) <= 102_000
    assert len([link for link in shown(part(mail, "text/html")).links if link.startswith(RESPOND)]) == body.LINKS


# --- templates ----------------------------------------------------------------------------------------------------------------

def test_a_text_of_ones_own_is_both_parts_and_escaped_in_one() -> None:
    mail = wired(message(), custom=Custom(text="<b>own</b>\nsecond"))
    assert part(mail, "text/plain").strip() == "<b>own</b>\nsecond"
    assert shown(part(mail, "text/html")).text.strip() == "<b>own</b>\nsecond"


@pytest.mark.parametrize(("source", "wanted"), [
    ("<p style='color:red'>x</p>", '<p style="color:red">x</p>'),
    ("<p style='color:red;background:url(https://evil/x)'>x</p>", '<p style="color:red">x</p>'),
    ("<img src=https://evil/x><p>x</p>", "<p>x</p>"),
    ("<script>alert(1)</script><p onclick=x>x</p>", "<p>x</p>"),
    ("<a href='javascript:alert(1)'>x</a>", '<a rel="noopener noreferrer">x</a>'),
    ("<a href='https://x/?a=1&amp;b=2'>x</a>", '<a href="https://x/?a=1&amp;b=2" rel="noopener noreferrer">x</a>'),
    ("<iframe src=x></iframe><form action=x><input></form><p>x", "<p>x</p>"),
    ("<style>@import 'x'</style><link rel=stylesheet href=x><p>x</p>", "<p>x</p>"),
])
def test_of_ones_own_html_only_harmless_markup_is_kept(source: str, wanted: str) -> None:
    assert wanted in part(wired(message(), custom=Custom(html=source)), "text/html")
    assert "evil" not in part(wired(message(), custom=Custom(html=source)), "text/html")


# --- limits, at the edge --------------------------------------------------------------------------------------------------------

def at(limit: int) -> list[tuple[int, int]]:
    return [(limit - 1, limit - 1), (limit, limit), (limit + 1, limit)]


@pytest.mark.parametrize(("count", "kept"), at(body.ALERTS))
def test_alerts_are_counted(count: int, kept: int) -> None:
    told = message(alerts=(firing_line(),) * count, firing=count)
    assert body.alerts_of(told) == ([body.alerts_of(told)[0][0]] * kept, count)
    for text in (body.text_body(told, is_first=True), body.html_body(told, is_first=True)):
        assert ("… +1 more" in text) is (count > body.ALERTS)


@pytest.mark.parametrize(("length", "kept"), at(body.ALERT_LIMIT))
def test_an_alert_is_cut(length: int, kept: int) -> None:
    (line,), _ = body.alerts_of(message(alerts=(firing_line(annotations={"summary": "x" * length}),)))
    assert len(line) == kept


@pytest.mark.parametrize(("count", "kept"), at(body.NEWS))
def test_news_are_counted(count: int, kept: int) -> None:
    lines = body.news(message(news=tuple(map(str, range(count)))), is_first=False)
    assert len(lines) == kept + (count > body.NEWS)
    assert lines[-1] == str(count - 1)


@pytest.mark.parametrize(("length", "kept"), at(body.NEWS_LIMIT))
def test_a_line_of_news_is_cut(length: int, kept: int) -> None:
    assert len(body.news(message(news=("x" * length,)), is_first=False)[0]) == kept


@pytest.mark.parametrize(("count", "kept"), at(body.LINKS))
def test_links_are_counted(count: int, kept: int) -> None:
    assert len(body.safe_links((Link("x", "https://example.com"),) * count)) == kept


@pytest.mark.parametrize(("length", "kept"), [(body.LINK_LIMIT - 1, 1), (body.LINK_LIMIT, 1), (body.LINK_LIMIT + 1, 0)])
def test_a_long_address_is_left_out_whole(length: int, kept: int) -> None:
    assert len(body.safe_links((Link("x", "https://example.com/".ljust(length, "a")),))) == kept


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "", "//x", "HTTPS://x", " https://x"])
def test_only_web_addresses_become_links(url: str) -> None:
    assert body.safe_links((Link("x", url),)) == []


@pytest.mark.parametrize("missing", [-1, 0, 1])
def test_html_shows_one_alert_less_when_a_byte_is_missing(missing: int) -> None:
    told = message(alerts=tuple(firing_line(annotations={"summary": f"alert {n}"}) for n in range(5)), firing=5)
    whole = body.html_alerts(told, 10**6)
    made = body.html_alerts(told, body.weight(whole) - missing)
    assert ("alert 4" in made) is (missing <= 0)
    assert (" more" in made) is (missing > 0)
    assert body.html_alerts(told, 10) == ""


GIANTS = [giant_message(), giant_message(news=("🔥<&>" * 2_500,) * 200), digest_message(2_000),
          giant_message(links=(Link("🔥<&>" * 99, "https://example.com/".ljust(1_000, "&")),) * 99, is_stale=True,
                        incomplete=10**9, status=IncidentStatus.acknowledged, is_silenced=True, possible_duplicate=True),
          digest_message(400, digest=tuple(replace(line, title="🔥<&>" * 99) for line in digest_message(400).digest))]


@pytest.mark.parametrize("told", GIANTS, ids=["alerts", "news", "storm", "links", "wide storm"])
@pytest.mark.parametrize("thread", [None, THREAD])
def test_a_giant_mail_keeps_its_limits(told: Message, thread: Thread | None) -> None:
    mail = wired(told, thread)
    assert len(part(mail, "text/plain")) <= body.TEXT_LIMIT + 1
    assert len(part(mail, "text/html").encode()) <= 102_000
    assert len(mail["Subject"]) <= body.HEADER_LIMIT + len("Re: ")
    assert "https://hub.example.com/incidents/17" in part(mail, "text/html") or told.links == GIANTS[3].links


# --- whatever a label holds ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: ascii(value[:12]))
def test_hostile_text_is_text_in_every_part(value: str) -> None:
    mail = wired(hostile_message(value, links=(Link(value, "https://example.com/?q=" + value),)))
    seen = one_line(value)[:40]
    html = shown(part(mail, "text/html"))
    assert seen in str(mail["Subject"])
    assert "\u202e" not in str(mail["Subject"]) + html.text + part(mail, "text/plain")
    assert seen in " ".join(part(mail, "text/plain").split())
    assert seen in " ".join(html.text.split())
    assert all(link.startswith("https://example.com/?q=") for link in html.links)
    assert [name for name in html.attributes if name.startswith("on")] == []


ANY = st.text(alphabet=st.one_of(st.characters(), st.sampled_from("<>&\"'=?\n\r\t\x00\x0b\x85\u2028\u202e🔥 .-_@")), max_size=400)


@settings(max_examples=70, deadline=None)
@given(value=ANY, count=st.integers(0, 30), threaded=st.booleans())
def test_any_text_makes_a_mail_that_can_be_read_again(value: str, count: int, threaded: bool) -> None:
    told = hostile_message(value, acknowledged_by=value, status=IncidentStatus.acknowledged, news=(value,) * count, firing=count,
                           links=(Link(value, "https://" + value), Link(value, value)))
    thread = Thread("<a@example.com>", body.header(value) or "x") if threaded else None
    mail = wired(told, thread, Custom(headers={"X-Own": value}))
    assert len(mail.keys()) == len(set(map(str.lower, mail.keys())))
    assert set(shown(part(mail, "text/html")).tags) <= {"html", "head", "meta", "body", "div", "h1", "h2", "p", "ul", "li", "a"}
    assert "Bcc" not in mail


@settings(max_examples=70, deadline=None)
@given(value=ANY)
def test_any_subject_survives_its_encoding(value: str) -> None:
    subject = body.header(f"[#1] {value}")
    found = str(wired(message(title=value, number=1))["Subject"])
    # Breaking a long line may double a space or lose it between encoded words; nothing else changes.
    assert "".join(found.split()) == "".join(subject.split())


@pytest.mark.parametrize("text", [
    "prices puan: eşik 90)", "İ" * 190, "a" * 150 + "ı", "ş " * 90, " é", "\U0001f3f7" * 60, "cafe\u0301 « été » " * 9])
@pytest.mark.parametrize("name", ["Subject", "X-" + "A" * 74])
def test_a_header_says_to_every_reader_what_was_meant(text: str, name: str) -> None:
    """By RFC 2047, not by the one that wrote it: words of at most 75 characters, each text by itself, nothing beside them."""
    mail = EmailMessage(policy=body.POLICY)
    mail[name] = text
    _, _, raw = mail.as_bytes().partition(b"\n\n")[0].decode("ascii").partition(": ")
    words = raw.split()
    assert all(len(word) <= 75 and word.startswith("=?utf-8?b?") and word.endswith("?=") for word in words)
    assert "".join(base64.b64decode(word[10:-2]).decode() for word in words) == text
