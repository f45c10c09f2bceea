"""What people see: nothing that a stranger wrote can act, and no page grows with the number of incidents."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from alerthub.domain.alert import Alert, AlertStatus
from alerthub.flow import escalate
from alerthub.store.schema import incidents
from alerthub.web.pages import incident as pages
from tests.kit.alerts import batch, firing, resolved
from tests.kit.clock import START, FakeClock
from tests.kit.hub import PLAIN, RunningHub, running_hub
from tests.kit.pages import Reader, read
from tests.sources.cases import HOSTILE

pytestmark = pytest.mark.anyio

EVIL = [
    *HOSTILE, "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "<a href=javascript:alert(1)>x</a>",
    "</title><svg/onload=x>", "' onmouseover='alert(1)", "<!--", "{% raw %}", "&lt;b&gt;", "javascript:alert(1)",
    "<style>*{display:none}</style>", "<base href=//x>",
]
async def page(hub: RunningHub, path: str, status: int = 200) -> Reader:
    answer = await hub.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return read(answer.text)


def evil_alert(text: str, **fields: Any) -> Alert:
    labels = {"alertname": text, "severity": text, text: text, "host": text}
    annotations = {"summary": text, "description": text, text: text, "runbook_url": text}
    return Alert(labels, AlertStatus.firing, annotations, START, **fields)


# -- what strangers write

@pytest.mark.parametrize("text", EVIL, ids=lambda text: ascii(text[:20]))
async def test_what_a_stranger_writes_is_shown_as_it_stands(hub: RunningHub, clock: FakeClock, text: str) -> None:
    await hub.hub.take(batch(evil_alert(text), at=clock.now(), group_labels={"alertname": text}, receiver=text, sender=text))
    await hub.drain()
    first = await page(hub, "/")
    one = await page(hub, "/incidents/1")
    shown = text if len(text) < 200 else text[:100]
    assert shown.split("\n")[0] in first.text
    assert shown in one.text
    assert "49" not in one.text.replace(text, "").split("History")[0]


@pytest.mark.parametrize("address", [
    "javascript:alert(1)", "JaVaScRiPt:x", "data:text/html,x", "//evil.example", "vbscript:x", " http://x",
])
async def test_only_a_web_address_becomes_a_link(hub: RunningHub, clock: FakeClock, address: str) -> None:
    await hub.hub.take(batch(evil_alert("X", generator_url=address), evil_alert("Y", generator_url="https://prom/g?a=1&b=\"2"),
                             at=clock.now()))
    outside = [link for link in (await page(hub, "/incidents/1")).links() if not link.startswith(("/", "#"))]
    outside += [link for link in (await page(hub, "/incidents/2")).links() if not link.startswith(("/", "#"))]
    assert outside == ['https://prom/g?a=1&b="2']


async def test_a_link_to_elsewhere_tells_nothing_about_here(hub: RunningHub, clock: FakeClock) -> None:
    await hub.hub.take(batch(evil_alert("X", generator_url="https://prom/g"), at=clock.now()))
    tags = (await page(hub, "/incidents/1")).tags
    (link,) = [attributes for tag, attributes in tags if attributes.get("href") == "https://prom/g"]
    assert link["rel"] == "noopener noreferrer"


@pytest.mark.parametrize("query", [
    "<script>", "open&before=<b>", "all&before=²", "all&before=" + "9" * 5000, "all&before=-1", "%00", "triggered",
])
async def test_an_odd_question_is_a_page_all_the_same(hub: RunningHub, clock: FakeClock, query: str) -> None:
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    assert "DiskFull" in (await page(hub, f"/?status={query}")).text


@pytest.mark.parametrize("path", ["/incidents/999", "/incidents/<script>", "/incidents/%00", "/incidents/²", "/runbooks/nothing",
                                  "/runbooks/README.md", "/runbooks/<b>"])
async def test_what_is_missing_is_said_on_a_page(hub: RunningHub, path: str) -> None:
    assert "There is no such" in (await page(hub, path, 404)).text


# -- what is shown

async def test_the_first_page_shows_what_is_open(hub: RunningHub, clock: FakeClock) -> None:
    assert "Nothing is burning." in (await page(hub, "/")).text
    await hub.hub.take(batch(firing("DiskFull", severity="critical"), firing("Calm"), at=clock.now()))
    clock.advance(minutes=1)
    await hub.hub.take(batch(resolved("Calm", ends_at=clock.now()), at=clock.now()))
    for query, names in (("", {"DiskFull"}), ("?status=open", {"DiskFull"}), ("?status=all", {"DiskFull", "Calm"}),
                         ("?status=resolved", {"Calm"}), ("?status=triggered", {"DiskFull"}), ("?status=acknowledged", set())):
        text = (await page(hub, f"/{query}")).text
        assert {name for name in ("DiskFull", "Calm") if name in text} == names, query


async def test_an_incident_shows_its_alerts_history_and_messages(hub: RunningHub, clock: FakeClock) -> None:
    alert = firing("DiskFull", severity="critical", annotations={"summary": "95 % full"})
    await hub.hub.take(batch(alert, at=clock.now(), truncated=3))
    await hub.drain()
    text = (await page(hub, "/incidents/1")).text
    for words in ("triggered", "critical", "#1", "95 % full", "1 of 1 alerts firing", "2026-11-21 03:00:00 UTC",
                  "console:stdout: sent", "Incomplete: the sender cut off 3 alerts", "severity=critical"):
        assert words in text


async def test_every_runbook_has_its_page_and_is_linked_from_its_incidents(hub: RunningHub, clock: FakeClock) -> None:
    books = hub.hub.rules.runbooks
    assert books
    for book in books:
        shown = await page(hub, f"/runbooks/{book.name}")
        assert book.title in shown.text
        assert len(shown.text) > 500
    await hub.hub.take(batch(firing("AgentRewardNegative", agent="agent-btc"), at=clock.now()))
    assert "/runbooks/agent-reward-negative" in list((await page(hub, "/incidents/1")).links())


async def test_a_runbook_of_the_user_cannot_act_either(tmp_path: Any) -> None:
    (tmp_path / "evil.md").write_text(
        "---\ntitle: \"<script>alert(1)</script>\"\nmatchers: ['alertname=\"X\"']\n---\n"
        "<script>alert(1)</script>\n\n[here](javascript:alert(1)) <img src=x onerror=alert(1)>\n")
    async with running_hub(f"runbooks: {{folder: '{tmp_path}'}}\n{PLAIN}") as hub:
        shown = await page(hub, "/runbooks/evil")
        assert "<script>alert(1)</script>" in shown.text
        await hub.hub.take(batch(firing("X"), at=hub.hub.clock.now()))
        assert "Runbook: <script>alert(1)</script>" in (await page(hub, "/incidents/1")).text


async def test_the_policy_believes_the_styles_of_the_page_and_no_other(hub: RunningHub) -> None:
    for path, count in {"/": 1, "/oncall": 2, "/audit": 2}.items():
        answer = await hub.get(path)
        sheets = read(answer.text).sheets
        believed = re.search("style-src ([^;]+);", answer.headers["content-security-policy"])[1].split()    # type: ignore[index]
        assert len(sheets) == count, path
        assert {f"'sha256-{b64encode(sha256(sheet.encode()).digest()).decode()}'" for sheet in sheets} <= set(believed)
        assert believed[0] == "'self'"
        assert all(one.startswith("'sha256-") for one in believed[1:])


async def test_a_page_that_a_script_loads_again_comes_without_its_styles(hub: RunningHub) -> None:
    assert read((await hub.get("/", headers={"x-live": "1"})).text).sheets == []


async def test_the_scripts_come_from_here(hub: RunningHub) -> None:
    answer = await hub.get("/static/live.js")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
    assert (await hub.get("/static/hub.css")).status_code == 404


CALLED = """
people:
  - {name: ayse, email: ayse@example.com}
  - {name: mehmet, email: mehmet@example.com}
global: {smtp_smarthost: "127.0.0.1:1", smtp_from: hub@example.com, smtp_require_tls: false}
sources: [{name: alertmanager, type: alertmanager}]
receivers: [{name: console, console_configs: [{}]}]
escalation_policies: [{name: night, steps: [{notify: [ayse], wait: 5m}, {notify: [mehmet], wait: 10m}]}]
route: {receiver: console, group_by: [alertname], escalation_policy: night}
"""


@pytest.fixture
async def called(clock: FakeClock) -> AsyncIterator[RunningHub]:
    """One critical incident, whose escalation has called ayse, by a mail that fails."""
    async with running_hub(CALLED, clock=clock) as hub:
        await hub.hub.take(batch(firing("DiskFull", severity="critical"), at=clock.now()))
        await hub.store.write(lambda tx: escalate.run_due(tx, hub.hub.rules, clock.now()))
        await hub.drain()
        yield hub


async def asked(hub: RunningHub, verb: str, **body: Any) -> None:
    answer = await hub.client.post(f"/api/v1/incidents/1/{verb}", json=body)
    assert answer.status_code == 200, answer.text


async def test_the_list_shows_who_has_it_and_what_is_silenced_or_flaps(called: RunningHub) -> None:
    assert "nobody has it" in (await page(called, "/")).text
    await asked(called, "acknowledge", by="ayse")
    text = (await page(called, "/")).text
    assert "ayse" in text.split("has it")[0]
    assert "nobody" not in text
    await asked(called, "silence", duration="4h")
    await called.store.write(lambda tx: tx.conn.execute(incidents.update().values(flaps=6)))
    text = (await page(called, "/")).text
    for words in ("SILENCED", "FLAPPING (6 times)", "has it"):
        assert words in text


async def test_the_gravest_are_first_whatever_is_newest(hub: RunningHub, clock: FakeClock) -> None:
    for severity in ("info", "critical", "warning", "critical", "error"):
        await hub.hub.take(batch(firing(f"A{clock.now().minute}", severity=severity), at=clock.now()))
        clock.advance(minutes=1)

    async def shown(query: str) -> list[int]:
        return [int(link.rpartition("/")[2]) for link in (await page(hub, f"/{query}")).links() if link.startswith("/incidents/")]

    assert await shown("") == await shown("?status=triggered") == [4, 2, 5, 3, 1]
    assert await shown("?status=open&before=3-2") == [5, 3, 1]
    assert await shown("?status=open&before=1-3") == [1]
    for odd in ("x", "3-", "-1", "4-1", "3-%C2%B2", "3-" + "9" * 16, "2"):
        assert await shown(f"?status=open&before={odd}") == [4, 2, 5, 3, 1]
    assert await shown("?status=all") == [5, 4, 3, 2, 1]


async def test_the_next_call_is_named_only_while_one_comes(called: RunningHub, clock: FakeClock) -> None:
    text = (await page(called, "/incidents/1")).text
    assert "Escalation night: next call 2026-11-21 03:05:00 UTC (step 2 of 2): mehmet." in text
    clock.advance(minutes=5)
    await called.store.write(lambda tx: escalate.run_due(tx, called.hub.rules, clock.now()))
    text = (await page(called, "/incidents/1")).text
    assert "Escalation night: everybody was called; it runs out 2026-11-21 03:15:00 UTC." in text
    await asked(called, "silence", duration="4h", comment="swap the disk")
    text = (await page(called, "/incidents/1")).text
    assert "Escalation night: waits while it is silenced." in text
    assert "until 2026-11-21 07:05:00 UTC: swap the disk." in text
    assert "next call" not in text
    await asked(called, "acknowledge", by="ayse")
    text = (await page(called, "/incidents/1")).text
    assert "Escalation night: stopped." in text
    assert "next call" not in text


async def test_the_api_says_which_silence_holds_it(called: RunningHub) -> None:
    assert (await called.json("/api/v1/incidents/1"))["silence"] is None
    await asked(called, "silence", duration="4h", comment="swap", by="ayse")
    silence = (await called.json("/api/v1/incidents/1"))["silence"]
    assert silence.pop("created_by").startswith("ayse")
    assert silence == {"number": 1, "ends_at": "2026-11-21T07:00:00+00:00", "comment": "swap"}


async def test_a_message_names_the_person_and_the_try_only_after_a_failure(called: RunningHub, clock: FakeClock) -> None:
    for _ in range(2):
        clock.advance(minutes=1)
        await called.drain()
    text = (await page(called, "/incidents/1")).text
    assert "ayse (email:ayse@example.com): failed (" in text
    for number in (1, 2, 3):
        assert f", attempt {number}): unavailable" in text
    assert "console:stdout: sent (opened)" in text


def test_the_tries_are_counted_from_the_last_success() -> None:
    states = ["sent", "sent", "failed", "unknown", "sent", "sent", "failed", "sending"]
    found = {"deliveries": [{"id": number, "lane_id": 1, "state": state} for number, state in enumerate(states)]}
    found["deliveries"].insert(3, {"id": 99, "lane_id": 2, "state": "sent"})
    assert pages.tries_of(found) == {2: 1, 3: 2, 4: 3, 6: 1, 7: 2}


async def test_an_address_of_two_people_names_both(called: RunningHub) -> None:
    contacts = dict.fromkeys(("ayse", "mehmet"), called.hub.rules.contacts["ayse"])
    assert pages.owners_of(replace(called.hub.rules, contacts=contacts)) == {"email:ayse@example.com": "ayse, mehmet"}


async def test_a_long_story_is_folded(hub: RunningHub, clock: FakeClock) -> None:
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    for number in range(30):
        clock.advance(minutes=1)
        await asked(hub, "comment", comment=f"line {number}")
        await hub.drain()
    shown = await page(hub, "/incidents/1")
    assert "23 older entries" in shown.text
    assert "older messages" in shown.text
    first, _, rest = shown.text.partition("23 older entries")
    assert "line 29" in first
    assert "line 2 " not in first
    assert "line 0 " in rest


# -- bounds

@pytest.mark.slow
async def test_of_ten_thousand_incidents_a_page_shows_fifty(hub: RunningHub, clock: FakeClock) -> None:
    for start in range(0, 10_000, 2_000):
        await hub.hub.take(batch(*(firing(f"Disk{number:05}") for number in range(start, start + 2_000)), at=clock.now()))
    seen: list[str] = []
    path = "/"
    for _ in range(3):
        shown = await page(hub, path)
        found = [link for link in shown.links() if link.startswith("/incidents/")]
        assert len(found) == 50
        seen += found
        (path,) = [link for link in shown.links() if "before=" in link]
    assert seen == [f"/incidents/{number}" for number in range(10_000, 9_850, -1)]
    assert len((await hub.get("/")).content) < 100_000


async def test_a_thousand_alerts_of_one_incident_are_a_bounded_page() -> None:
    async with running_hub(PLAIN.replace("[alertname]", "[job]")) as hub:
        alerts = (firing("X", job="etl", host=f"host-{number}", annotations={"summary": "s" * 1000}) for number in range(1_000))
        await hub.hub.take(batch(*alerts, at=hub.hub.clock.now()))
        shown = await page(hub, "/incidents/1")
        assert "1000 of 1000 alerts firing" in shown.text
        assert sum(tag == "article" for tag, _ in shown.tags) == 500
