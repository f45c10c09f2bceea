"""The draft of a report: what it says of a history, and that nothing of it can act."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerthub.domain import report
from alerthub.domain.report import draft, escaped, times_of
from alerthub.domain.wording import one_line
from alerthub.markdown import render

START = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
TAG = re.compile(r"<[^>]*>")
ZONE = "Europe/Istanbul"


def at(minutes: float) -> str:
    return (START + timedelta(minutes=minutes)).isoformat()


def event(seq: int, kind: str, minutes: float, actor: str = "source:alertmanager", text: str = "",
          **data: Any) -> dict[str, Any]:
    who, _, name = actor.partition(":")
    return {"seq": seq, "at": at(minutes), "kind": kind, "actor_kind": who, "actor_name": name, "text": text or kind.capitalize(),
            "data": data, "hash": f"{seq:064x}"}


def run(**fields: Any) -> dict[str, Any]:
    return {"id": "run-1", "action": "retrain", "target": "drl", "direction": "neutral", "state": "succeeded",
            "reason": "allowed", "report": {"detail": "done"}, "votes": [], "mode": "live", **fields}


def delivery(destination: str, state: str = "sent", *, is_dead: bool = False) -> dict[str, Any]:
    return {"destination": destination, "state": state, "is_dead_letter": is_dead}


HISTORY = [
    event(1, "opened", 0, text="Opened: 1 alert firing: DiskFull on db-1"),
    event(2, "acknowledged", 4, "person:ayse", "Acknowledged by ayse"),
    event(3, "comment", 5, "person:ayse", "ayse: looking"), event(4, "comment", 6, "person:ayse", "ayse: found it"),
    event(5, "silenced", 7, "person:mehmet", "Silenced by mehmet until 16:00"),
    event(6, "action", 8, "person:deniz", "deniz agreed", run="run-1", vote="run:run-1", verdict="approve"),
    event(7, "action", 9, "hub:actions", "Action retrain on drl: done", run="run-1"),
    event(8, "resolved", 23, text="Resolved: 1 alert cleared"),
]


def told(events: list[dict[str, Any]] | None = None, **fields: Any) -> dict[str, Any]:
    incident = {"number": 17, "title": "DiskFull (host=db-1)", "severity": "critical", "source": "alertmanager",
                "status": "resolved", "opened_at": at(0), "resolved_at": at(23), "alerts": 1, "firing": 0}
    alert = {"labels": {"alertname": "DiskFull", "host": "db-1", "team": "platform"}, "annotations": {"summary": "95 % full"}}
    mail = "email:a@example.com"
    sent = [delivery("slack:#alerts"), delivery(mail, "failed"), delivery(mail, "failed", is_dead=True)]
    return {"incident": {**incident, **fields.pop("incident", {})}, "alerts": [alert], "runs": [run()], "requests": [],
            "events": HISTORY if events is None else events, "deliveries": sent, **fields}


def text_of(found: dict[str, Any] | None = None, zone: str = ZONE) -> str:
    return draft(found or told(), zone, {"email:a@example.com": ["ayse"]}, START + timedelta(hours=1))


def section(text: str, heading: str) -> str:
    return text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]


# -- what it says

@pytest.mark.parametrize(("heading", "words"), [
    ("Summary", ["Critical: DiskFull (host=db-1), from alertmanager.", "It lasted 23 min",
                 "ayse acknowledged it after 4 min."]),
    ("Impact", ["Severity: critical", "Duration: 23 min", "Opened: once", "Alerts: 1", "Touched, by host: db-1",
                "Touched, by team: platform", "DiskFull: 95 % full (host=db-1, team=platform)"]),
    ("Times", ["Opened: 2026-11-21 06:00 +03 (2026-11-21 03:00 UTC)",
               "First acknowledged by a person: 2026-11-21 06:04 +03 (2026-11-21 03:04 UTC), after 4 min",
               "Resolved: 2026-11-21 06:23 +03 (2026-11-21 03:23 UTC), after 23 min"]),
    ("Timeline", ["| Local (Europe/Istanbul) | UTC | Who | What |",
                  "| 2026-11-21 06:04:00 | 03:04:00 | ayse | Acknowledged by ayse |"]),
    ("People", ["- ayse: acknowledged, commented 2 times", "- mehmet: silenced", "- deniz: agreed"]),
    ("Actions", ["retrain on drl was done.", "How it went: done.", f"event 7, hash {7:064x}"]),
    ("Messages", ["| slack:#alerts |  | 1 | 0 | 0 | 0 |", "| email:a@example.com | ayse | 0 | 1 | 1 | 0 |"]),
    ("Silences", ["2026-11-21 03:07 UTC: Silenced by mehmet until 16:00"]),
    ("The record", [f"ends with event 8, hash {8:064x}"]),
    ("What went well", ["*Not written yet.*"]),
    ("What went badly", ["*Not written yet.*"]), ("Follow-up", ["*Not written yet.*"]),
])
def test_each_section_tells_its_part(heading: str, words: list[str]) -> None:
    found = section(text_of(), heading)
    for one in words:
        assert one in found, found


def test_where_little_is_known_it_says_so_in_calm_words() -> None:
    still = {"status": "triggered", "resolved_at": None, "firing": 1}
    found = text_of(told([], incident=still, alerts=[], runs=[], deliveries=[]))
    for words in ("It is not over yet; nobody acknowledged it.", "1 still firing", "No alert is kept.", "Resolved: not yet",
                  "First acknowledged by a person: never", "Nobody did anything by hand.", "No action was called for.",
                  "Nobody was told.", "It was not silenced.", "Its events are not chained.", "Nothing is kept."):
        assert words in found, words


def test_in_utc_no_time_is_written_twice() -> None:
    assert "Opened: 2026-11-21 03:00 UTC\n" in text_of(zone="UTC")


def test_times_count_from_the_first_opening_to_the_last_closing() -> None:
    """An incident that came back is one: what its row says of the second episode does not shorten it."""
    events = [event(1, "opened", 0), event(2, "acknowledged", 3, "person:ayse"), event(3, "resolved", 5),
              event(4, "reopened", 10), event(5, "acknowledged", 11, "person:mehmet"), event(6, "resolved", 20)]
    found = times_of({"status": "resolved", "opened_at": at(10), "resolved_at": at(20)}, events)
    assert (found.to_acknowledge, found.to_resolve) == (timedelta(minutes=3), timedelta(minutes=20))
    assert "Opened: 2 times" in text_of(told(events, incident={"resolved_at": at(20)}))


def test_what_opened_again_is_not_over() -> None:
    assert times_of({"status": "triggered", "opened_at": at(10), "resolved_at": None}, HISTORY).resolved is None


def test_a_long_history_is_cut_and_counted() -> None:
    events = [event(seq, "changed", seq) for seq in range(1, report.MOST_LINES + 31)]
    found = section(text_of(told(events)), "Timeline")
    assert found.count("\n| 2026") == report.MOST_LINES
    assert "And 30 more, in the record" in found


def test_however_much_there_is_it_stays_within_its_length() -> None:
    alerts = [{"labels": {"alertname": "x" * 5000, "host": "*" * 5000}, "annotations": {}}] * 500
    events = [event(seq, "comment", seq, f"person:{'*' * 300}{seq}", "<" * 5000) for seq in range(1, 1000)]
    assert len(text_of(told(events, alerts=alerts))) <= report.LONGEST


# -- what strangers write

EVIL = [
    "<script>alert(1)</script>", "[x](javascript:alert(1))", "![x](http://evil/x.png)", "<http://evil>", "`code`", "**bold**",
    "_it_", "a_b_c", "# head", "- item", "+ item", "1. item", "1) item", "> quote", "---", "===", "|a|b|", "a|b", "\\",
    "\\\\`x`", "&lt;b&gt;", "&#x3c;", "~~x~~", "~~~", "```", "line\nbreak", "\n# head", "[x]: http://evil", "| --- |",
    "<!-- -->", "*", "_", "a\\", "x  \ny", "\u202eevil", "\t\tcode", "    code", "http://x", "__x__", "_ a _", "100. x",
    "2026-11-21", "[[x]]", "a *b* c", "\\|",
]


def shown(markdown: str) -> str:
    """What a reader sees, on one line."""
    return one_line(html.unescape(TAG.sub(" ", render(markdown))))


@pytest.mark.parametrize("text", EVIL, ids=ascii)
def test_a_strangers_text_reads_as_it_stands(text: str) -> None:
    assert shown(escaped(text)) == one_line(text)
    assert set(TAG.findall(render(f"- {escaped(text)}"))) <= {"<ul>", "<li>", "</li>", "</ul>"}
    cells = render(f"| a | b |\n| --- | --- |\n| {escaped(text)} | end |")
    assert cells.count("<td>") == 2
    assert one_line(html.unescape(TAG.sub(" ", cells))) == one_line(f"a b {one_line(text)} end")


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Co", "Cn"]), max_size=60) | st.text(
    "\\`*_{}[]<>()#+-.!|&;~=:'\"$%^/ a1\n", max_size=30))
def test_whatever_it_is_it_reads_as_it_stands(text: str) -> None:
    assert shown(f"x {escaped(text)}") == one_line(f"x {text}")
    assert set(TAG.findall(render(f"- {escaped(text)}"))) <= {"<ul>", "<li>", "</li>", "</ul>"}


@pytest.mark.parametrize("text", EVIL, ids=ascii)
def test_nothing_of_a_history_makes_a_section_or_a_link(text: str) -> None:
    alert = {"labels": {"alertname": text, text or "x": text, "host": text}, "annotations": {"summary": text}}
    events = [event(1, "opened", 0, f"person:{text}", text), event(2, "acknowledged", 1, f"account:{text}", text),
              event(3, "silenced", 2, f"person:{text}", text)]
    found = text_of(told(events, incident={"title": text, "severity": text, "source": text}, alerts=[alert],
                         runs=[run(action=text, target=text, report={"detail": text})], deliveries=[delivery(text)]))
    made = render(found)
    assert re.findall("<h[12]>", made).count("<h1>") == 1
    assert made.count("<h2>") == text_of().count("\n## ")
    assert "<a " not in made
    assert "<img" not in made
    assert "<code" not in made
    assert "<script" not in made
