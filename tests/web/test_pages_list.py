"""The list of incidents: what is looked for is found, what is wrong with a question is said, and several are taken at once."""

from __future__ import annotations

import re
from urllib.parse import urlencode

import pytest

from alerthub.domain.command import Answer, Outcome
from alerthub.web.pages import incidents as pages
from alerthub.web.pages.filters import Filters, read_filters
from alerthub.web.pages.render import ago
from tests.kit.alerts import batch, firing
from tests.kit.clock import START, FakeClock
from tests.kit.hub import RunningHub
from tests.kit.pages import Reader
from tests.web.test_pages import EVIL, evil_alert, page

pytestmark = pytest.mark.anyio
ROW = re.compile(r"/incidents/([0-9]+)")


def numbers(shown: Reader) -> list[int]:
    return [int(match[1]) for link in shown.links() if (match := ROW.fullmatch(link))]


def field(shown: Reader, name: str) -> dict[str, str]:
    (found,) = [attributes for tag, attributes in shown.tags if tag == "input" and attributes.get("name") == name]
    return found


async def some(hub: RunningHub, clock: FakeClock) -> None:
    """#1 critical of trading, #2 warning of ml, #3 error of trading, #4 info of nobody."""
    for name, labels in (("RewardNegative", {"severity": "critical", "team": "trading", "agent": "btc"}),
                         ("ModelDrift", {"severity": "warning", "team": "ml", "model": "drl"}),
                         ("OrderRejected", {"severity": "error", "team": "trading", "agent": "eth"}),
                         ("Calm", {"severity": "info"})):
        await hub.hub.take(batch(firing(name, **labels), at=clock.now()))


async def posted(hub: RunningHub, path: str, **fields: str) -> Reader:
    """The page that a form leads back to."""
    answer = await hub.fill(path, fields)
    assert answer.status_code == 303, answer.text
    return await page(hub, answer.headers["location"])


# -- looking for something

@pytest.mark.parametrize(("query", "expected"), [
    ({}, [1, 3, 2, 4]), ({"severity": "critical"}, [1]), ({"team": "trading"}, [1, 3]), ({"team": "nobody"}, []),
    ({"matcher": 'agent="eth"'}, [3]), ({"matcher": "agent=~\"btc|eth\""}, [1, 3]), ({"matcher": '{team!="trading"}'}, [2, 4]),
    ({"matcher": 'team="trading",agent="btc"'}, [1]), ({"q": "drift"}, [2]), ({"q": "DRL ml"}, [2]), ({"q": "drl nothing"}, []),
    ({"team": "trading", "severity": "error"}, [3]), ({"status": "all", "team": "trading"}, [3, 1]),
    ({"status": "acknowledged"}, []), ({"severity": "<b>"}, [1, 3, 2, 4]), ({"status": "<b>"}, [4, 3, 2, 1]),
    ({"matcher": "  "}, [1, 3, 2, 4]), ({"q": "a b c d e f g h i j k l m n o p q r s t u v w x y z"}, []),
])
async def test_what_is_looked_for_is_found(hub: RunningHub, clock: FakeClock, query: dict[str, str],
                                           expected: list[int]) -> None:
    await some(hub, clock)
    assert numbers(await page(hub, f"/?{urlencode(query)}")) == expected


@pytest.mark.parametrize(("text", "words"), [
    ("a==", 'at character 3: expected a value (for an empty one write "")'), ("{a=b", "expected } for the {"),
    ('a="b', "the quote is not closed"), ("a=~\"(\"", "at character 4"), ("a", "expected one of = != =~ !~"),
    ("!", "is not an operator"), (",".join(f"a{number}=b" for number in range(21)), "at most 20"),
])
async def test_a_question_that_is_not_understood_is_answered_with_what_would_be_right(
        hub: RunningHub, clock: FakeClock, text: str, words: str) -> None:
    await some(hub, clock)
    shown = await page(hub, f"/?{urlencode({'matcher': text, 'team': 'trading'})}")
    assert words in shown.text
    assert 'Write it like severity="critical"' in shown.text
    assert field(shown, "matcher")["value"] == text
    assert field(shown, "matcher")["aria-invalid"] == "true"
    assert numbers(shown) == [1, 3]     # what was understood counts


async def test_the_form_says_what_is_shown(hub: RunningHub, clock: FakeClock) -> None:
    await some(hub, clock)
    shown = await page(hub, "/?" + urlencode({"status": "all", "severity": "error", "team": "trading", "matcher": 'agent="eth"',
                                              "q": "order"}))
    chosen = {attributes["value"] for tag, attributes in shown.tags if tag == "option" and "selected" in attributes}
    assert chosen == {"all", "error"}
    assert (field(shown, "team")["value"], field(shown, "q")["value"]) == ("trading", "order")
    assert "aria-invalid" not in field(shown, "matcher")
    assert "4 open" in shown.text
    assert "1 critical" in shown.text


async def test_more_keeps_what_is_looked_for(hub: RunningHub, clock: FakeClock) -> None:
    await hub.hub.take(batch(*(firing(f"Disk{number:02}", team="a&b=<c>", severity="info") for number in range(60)),
                             at=clock.now()))
    first = await page(hub, "/?" + urlencode({"team": "a&b=<c>", "severity": "info", "status": "triggered"}))
    (more,) = [link for link in first.links() if "before=" in link]
    second = await page(hub, more)
    assert numbers(first) + numbers(second) == list(range(60, 0, -1))
    assert field(second, "team")["value"] == "a&b=<c>"
    assert "More" not in second.text


@pytest.mark.parametrize("before", ["x", "3-", "9" * 60, "3-%C2%B2", "<script>", "%00"])
async def test_a_cursor_that_is_none_is_the_first_page(hub: RunningHub, clock: FakeClock, before: str) -> None:
    await some(hub, clock)
    assert numbers(await page(hub, f"/?team=trading&before={before}")) == [1, 3]


@pytest.mark.parametrize("text", EVIL, ids=lambda text: ascii(text[:20]))
async def test_what_stands_in_labels_and_filters_is_only_text(hub: RunningHub, clock: FakeClock, text: str) -> None:
    await hub.hub.take(batch(evil_alert(text, generator_url=text), at=clock.now()))
    assert numbers(await page(hub, "/?status=all")) == [1]
    for name in ("status", "team", "matcher", "q"):
        await page(hub, f"/?{urlencode({name: text.encode('utf-8', 'replace')})}")


async def test_a_row_says_in_short_what_its_alerts_share(hub: RunningHub, clock: FakeClock) -> None:
    await hub.hub.take(batch(*(firing("DiskFull", team="ml", severity="critical", host=f"h{number}", zone="z" * 100, a="1", b="2",
                                      c="3") for number in range(3)), at=clock.now()))
    shown = await page(hub, "/")
    text = shown.text
    assert "3 of 3 firing" in text
    assert "a=1 b=2 c=3 team=ml" in " ".join(text.split())
    assert "host=" not in text
    assert "severity=critical" not in text
    assert "z" * 100 not in text


def test_a_label_that_the_title_says_is_not_said_again() -> None:
    labels = [{"alertname": "X", "agent": "btc", "team": "ml"}]
    assert pages.short_labels("X (agent=btc)", labels) == ["team=ml"]
    assert pages.short_labels("X", []) == []


async def test_a_row_says_since_when_at_a_glance_and_exactly(hub: RunningHub, clock: FakeClock) -> None:
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    clock.advance(minutes=90)
    shown = await page(hub, "/")
    (time,) = [attributes for tag, attributes in shown.tags if tag == "time"]
    assert time == {"datetime": "2026-11-21T03:00:00+00:00", "title": "2026-11-21 03:00:00 UTC"}
    assert "90 min" not in shown.text
    assert "1 h" in shown.text


@pytest.mark.parametrize(("seconds", "expected"), [
    (-5, "0 s"), (0, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (172_799, "47 h"), (172_800, "2 d"),
    (86_400 * 400, "400 d"),
])
def test_how_long_ago(seconds: int, expected: str) -> None:
    clock = FakeClock()
    now = clock.advance(seconds=seconds)
    assert ago(START, now) == ago(START.isoformat(), now) == expected


@pytest.mark.parametrize(("filters", "changes", "expected"), [
    (Filters(), {}, "/"), (Filters(team="a b"), {}, "/?team=a+b"),
    (Filters(status="all"), {"before": "7"}, "/?status=all&before=7"),
    (Filters(severity="info"), {"severity": "error"}, "/?severity=error"),
    (Filters(status="all", q="<"), {"status": "open"}, "/?q=%3C"),
])
def test_an_address_says_only_what_is_not_usual(filters: Filters, changes: dict[str, str], expected: str) -> None:
    assert filters.address(**changes) == expected


def test_an_address_is_read_as_it_is_written() -> None:
    wanted = {"status": "all", "severity": "error", "team": "t", "matcher": 'a="b"', "q": "x y"}
    filters = read_filters(wanted)
    assert (filters.status, filters.wanted.status, filters.wanted.words) == ("all", "", ("x", "y"))
    assert filters.query == urlencode(wanted)


# -- several at once

async def test_those_that_are_ticked_are_acknowledged(hub: RunningHub, clock: FakeClock) -> None:
    await some(hub, clock)
    boxes = {"incident-1": "on", "incident-3": "on"}
    shown = await posted(hub, "/incidents/acknowledge", filters="team=trading", key="k", **boxes)
    assert "You have #1, #3 now." in shown.text
    assert numbers(shown) == [1, 3]
    assert shown.text.count("has it") == 2
    assert {one["number"] for one in await hub.incidents(status="acknowledged")} == {1, 3}


async def test_one_is_told_as_its_own_button_tells_it(hub: RunningHub, clock: FakeClock) -> None:
    await some(hub, clock)
    assert "You have #2 now." in (await posted(hub, "/incidents/acknowledge", **{"incident-2": "on"})).text


async def test_the_same_form_sent_twice_is_done_once(hub: RunningHub, clock: FakeClock) -> None:
    await some(hub, clock)
    for _ in range(2):
        assert "You have #2 now." in (await posted(hub, "/incidents/acknowledge", key="once", **{"incident-2": "on"})).text
    events = (await hub.json("/api/v1/incidents/2"))["events"]
    assert [event["kind"] for event in events].count("acknowledged") == 1


async def test_nothing_ticked_is_said(hub: RunningHub, clock: FakeClock) -> None:
    await some(hub, clock)
    assert "tick the incidents first" in (await posted(hub, "/incidents/acknowledge", filters="<b>")).text
    assert not await hub.incidents(status="acknowledged")


@pytest.mark.parametrize("name", ["incident-", "incident-²", "incident-x", "incident-1;2", "incident--1", "other-1",
                                  "incident-" + "9" * 20])
async def test_a_name_that_is_no_row_is_nothing(hub: RunningHub, clock: FakeClock, name: str) -> None:
    await some(hub, clock)
    assert "tick the incidents first" in (await posted(hub, "/incidents/acknowledge", **{name: "on"})).text


@pytest.mark.parametrize("filters", ["//evil.example", "http://evil.example/", "before=1&to=//x", "\\evil", "q=//evil"])
async def test_the_way_back_is_always_the_list(hub: RunningHub, clock: FakeClock, filters: str) -> None:
    answer = await hub.fill("/incidents/acknowledge", {"filters": filters})
    assert re.fullmatch(r"/(\?[a-zA-Z0-9%=&+.-]*)?", answer.headers["location"])


@pytest.mark.parametrize(("answers", "text", "is_good"), [
    ([Answer(Outcome.done, "You have #1 now.", 1)], "You have #1 now.", True),
    ([Answer(Outcome.refused, "No.", 1)], "No.", False),
    ([Answer(Outcome.done, "", 1), Answer(Outcome.done, "", 2)], "You have #1, #2 now.", True),
    ([Answer(Outcome.done, "", 1), Answer(Outcome.already, "ayse has #2.", 2)], "You have #1 now. ayse has #2.", True),
    ([Answer(Outcome.refused, f"{number}!", number) for number in range(5)], "0! 1! 2! 2 more were not taken.", False),
])
def test_what_became_of_several_is_said_in_few_words(answers: list[Answer], text: str, is_good: bool) -> None:
    assert pages.summary(answers) == (text, is_good)


async def test_only_what_nobody_has_can_be_ticked(hub: RunningHub, clock: FakeClock) -> None:
    await some(hub, clock)
    await posted(hub, "/incidents/acknowledge", **{"incident-2": "on"})
    boxes = {attributes["name"] for tag, attributes in (await page(hub, "/?status=all")).tags
             if tag == "input" and attributes.get("type") == "checkbox"}
    assert boxes == {"incident-1", "incident-3", "incident-4"}
