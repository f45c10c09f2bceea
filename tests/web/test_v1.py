"""`/api/v1`: one of each kind, long lists in pages, what the rules say of an alert, who is on call, and the record."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from alerthub.domain.event import Actor, Event, EventKind
from alerthub.store import events as event_store
from alerthub.store.schema import events
from tests.kit.alerts import batch, firing
from tests.kit.clock import FakeClock
from tests.kit.hub import RunningHub
from tests.kit.lived_api import lived_hub
from tests.web.test_api import ODD_REFERENCES, problem_of

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def lived() -> AsyncIterator[RunningHub]:
    """Of this one the tests ask, and change nothing."""
    async with lived_hub(FakeClock()) as hub:
        yield hub


@pytest.fixture
async def changed(clock: FakeClock) -> AsyncIterator[RunningHub]:
    """For one test alone."""
    async with lived_hub(clock) as hub:
        yield hub


async def pages(hub: RunningHub, path: str, cursor: str = "before", **query: Any) -> list[Any]:
    """All items, one to a page."""
    found: list[Any] = []
    following: Any = None
    for _ in range(100):
        more = {cursor: following} if following is not None else {}
        page = await hub.json(path, params={**query, "limit": 1, **more})
        assert len(page["items"]) <= 1
        found += page["items"]
        following = page["next"]
        if following is None:
            return found
    raise AssertionError(f"{path} has no end")


# -- lists

@pytest.mark.parametrize(("path", "cursor"), [
    ("/api/v1/incidents", "before"), ("/api/v1/incidents?status=open&sort=gravest", "before"),
    ("/api/v1/incidents?severity=critical", "before"), ("/api/v1/deliveries", "before"), ("/api/v1/lanes", "before"),
    ("/api/v1/actions/runs", "before"), ("/api/v1/silences?state=all", "before"), ("/api/v1/quarantine", "before"),
    ("/api/v1/latches", "after"), ("/api/v1/heartbeats", "after"), ("/api/v1/escalation-policies", "after"),
    ("/api/v1/schedules/primary/overrides", "after"), ("/api/v1/audit", "before"),
    ("/api/v1/incidents/2/events", "after"), ("/api/v1/incidents/2/alerts", "before"),
    ("/api/v1/incidents/2/deliveries", "before"),
])
async def test_a_list_in_pages_is_the_list(lived: RunningHub, path: str, cursor: str) -> None:
    address, _, query = path.partition("?")
    asked = dict(pair.split("=") for pair in query.split("&") if pair)
    whole = await lived.json(address, params={**asked, "limit": 200})
    assert whole["items"]
    assert whole["next"] is None
    assert await pages(lived, address, cursor, **asked) == whole["items"]


@pytest.mark.parametrize(("query", "titles"), [
    ("matcher=agent%3D%22agent-btc%22", ["AgentRewardNegative"]), ("q=DRIFT", ["Drift"]), ("q=team%3Dml", ["Drift"]),
    ("team=ml&status=open", ["Drift"]), ("severity=info", ["Over"]), ("severity=info&status=open", []), ("q=%25", []),
    ("source=nobody", []), ("sort=gravest&status=open&matcher=alertname%3D~%22Drift%7CDead%22", ["Drift", "Dead"]),
    ("opened_since=2030-01-01T00:00:00Z", []), ("opened_until=2030-01-01T00:00:00Z&q=over", ["Over"]),
])
async def test_incidents_are_found_by_what_people_look_for(lived: RunningHub, query: str, titles: list[str]) -> None:
    found = (await lived.json(f"/api/v1/incidents?{query}"))["items"]
    assert [one["title"].split()[0] for one in found] == titles


@pytest.mark.parametrize(("query", "told"), [
    ("matcher=agent", "matcher 'agent': at character 6"), ("severity=loud", "severity must be one of"),
    ("sort=loud", "sort must be"),
    ("status=open&sort=gravest&before=17", "before: the cursor is not a `next` of this list"),
    ("q=a&before=x", "before must be a number"), ("opened_since=yesterday", "must be RFC 3339"),
])
async def test_a_search_that_cannot_be_understood_is_400(lived: RunningHub, query: str, told: str) -> None:
    assert told in problem_of(await lived.get(f"/api/v1/incidents?{query}"), 400)


@pytest.mark.parametrize("path", ["/api/v1/actions/runs?before=x", "/api/v1/latches?limit=0", "/api/v1/heartbeats?limit=201",
                                  "/api/v1/schedules/primary/overrides?after=-1", "/api/v1/audit?kind=banana",
                                  "/api/v1/audit?actor=%00", "/api/v1/lanes?dead=perhaps"])
async def test_a_page_that_cannot_be_understood_is_400(lived: RunningHub, path: str) -> None:
    assert problem_of(await lived.get(path), 400)


# -- one of a kind

@pytest.mark.parametrize(("listed", "one", "key"), [
    ("/api/v1/silences?state=all", "/api/v1/silences/{}", "number"), ("/api/v1/actions/runs", "/api/v1/actions/runs/{}", "id"),
    ("/api/v1/latches", "/api/v1/latches/{}", "target"), ("/api/v1/heartbeats", "/api/v1/heartbeats/{}", "name"),
])
async def test_one_of_a_list_is_as_in_the_list(lived: RunningHub, listed: str, one: str, key: str) -> None:
    items = (await lived.json(listed))["items"]
    assert items
    for item in items:
        assert await lived.json(one.format(item[key])) == item


async def test_a_delivery_and_its_lane_say_why_nobody_was_told(lived: RunningHub) -> None:
    dead = (await lived.json("/api/v1/deliveries?dead_letter=1"))["items"][0]
    (number,) = [one["number"] for one in await lived.incidents() if one["id"] == dead["incident_id"]]
    assert await lived.json(f"/api/v1/deliveries/{dead['id']}") == {**dead, "number": number}
    lane = await lived.json(f"/api/v1/lanes/{dead['lane_id']}")
    assert (lane["is_dead"], lane["number"], lane["deliveries"][0]["detail"]) == (True, number, "the token was revoked")
    assert lane["id"] in [one["id"] for one in (await lived.json("/api/v1/lanes?dead=1"))["items"]]


@pytest.mark.parametrize("path", ["lanes/{}", "deliveries/{}", "actions/runs/{}", "silences/{}", "latches/{}", "heartbeats/{}",
                                  "incidents/{}/events", "incidents/{}/alerts", "incidents/{}/verify", "schedules/{}/calendar"])
async def test_what_is_not_there_is_404(hub: RunningHub, path: str) -> None:
    for reference in ODD_REFERENCES:
        assert problem_of(await hub.get(f"/api/v1/{path.format(reference)}"), 404), reference


# -- what the rules say

async def test_who_would_hear_of_an_alert_and_why(lived: RunningHub) -> None:
    told = await lived.json("/api/v1/routes/test", params=[("label", "alertname=X"), ("label", "agent=agent-btc"),
                                                           ("label", "severity=critical"), ("at", "2026-11-24T12:00:00Z")])
    (one,) = told["routes"]
    assert (one["matchers"], one["receiver"], one["destinations"]) == (['agent!=""'], "console", ["console:stdout"])
    assert [(action["name"], action["targets"], action["problem"]) for action in one["actions"]] == [
        ("retrain", ["drl"], None), ("scale", ["drl"], None), ("safe-mode", ["agent-btc"], None)]
    (step,) = one["escalation_policy"]["steps"]
    assert step["calls"] == ["receiver console"]
    assert step["nobody"] == ["emre has no address to be called at"], "the override counts"
    assert (told["severity"], told["silence"]) == ("critical", None)


async def test_a_target_that_is_not_there_and_a_silence_that_holds_are_said(lived: RunningHub) -> None:
    told = await lived.json("/api/v1/routes/test", params=[("label", "alertname=Drift"), ("label", "agent=nobody")])
    assert told["routes"][0]["actions"][-1]["problem"] == 'agent="nobody" names no target'
    assert (told["silence"]["number"], told["silence"]["comment"]) == (1, "known")


@pytest.mark.parametrize("query", ["", "?label=", "?label=x", "?label==x", "?label=" + "a=b&label=" * 70, "?label=a=b&at=soon"])
async def test_a_question_about_no_alert_is_400(lived: RunningHub, query: str) -> None:
    assert problem_of(await lived.get(f"/api/v1/routes/test{query}"), 400)


async def test_a_calendar_has_every_hour_and_names_those_with_nobody(lived: RunningHub) -> None:
    path = "/api/v1/schedules/office%20hours/calendar"
    found = await lived.json(path, params={"from": "2026-11-23T00:00Z", "until": "2026-11-24T00:00Z"})
    assert [(one["person"], one["starts_at"][11:16], one["ends_at"][11:16]) for one in found["shifts"]] == [
        (None, "00:00", "09:00"), ("ayse", "09:00", "18:00"), (None, "18:00", "00:00")]
    assert found["gaps"] == [one for one in found["shifts"] if not one["person"]]
    swapped = await lived.json("/api/v1/schedules/primary/calendar", params={"from": "2026-11-24", "until": "2026-11-25"})
    assert ([one["person"] for one in swapped["shifts"]], len(swapped["overrides"])) == (["emre"], 1)


@pytest.mark.parametrize("query", ["from=2026-11-24&until=2026-11-24", "from=2026-11-24&until=2028-11-24", "until=2000-01-01",
                                   "from=soon"])
async def test_a_span_that_is_none_is_400(lived: RunningHub, query: str) -> None:
    assert problem_of(await lived.get(f"/api/v1/schedules/primary/calendar?{query}"), 400)


async def test_the_configuration_is_shown_without_its_secrets(lived: RunningHub) -> None:
    answer = await lived.get("/api/v1/configuration")
    shown = answer.json()
    assert (shown["version"], shown["problems"]) == (lived.hub.rules.version, [])
    assert [one["name"] for one in shown["actions"]] == ["retrain", "scale", "safe-mode"]
    assert [one["escalation_policy"] for one in shown["routes"]] == [None, "trading"]
    for secret in ("own-token-of", "whsec_", "0123456789abcdef"):
        assert secret not in answer.text


# -- the record

async def test_the_record_is_searched_by_kind_and_by_who(changed: RunningHub) -> None:
    assert {one["kind"] for one in (await changed.json("/api/v1/audit?kind=opened"))["items"]} == {"opened"}
    await changed.client.post("/api/v1/incidents/2/comment", json={"comment": "I look", "by": "ayse"})
    (said,) = (await changed.json("/api/v1/audit?kind=comment&actor=ayse+(API)"))["items"]
    assert (said["incident"], said["actor_name"], len(said["hash"])) == (2, "ayse (API)", 64)


async def test_a_history_that_somebody_edited_is_found(changed: RunningHub) -> None:
    assert (await changed.json("/api/v1/incidents/2/verify"))["is_intact"]
    forged = events.update().where(events.c.seq == 1).values(text="nothing happened")
    await changed.hub.store.write(lambda tx: tx.conn.execute(forged))
    found = await changed.json("/api/v1/incidents/2/verify")
    assert (found["is_intact"], len(found["findings"])) == (False, 1)


async def test_the_long_lists_of_an_incident_are_whole(hub: RunningHub, clock: FakeClock) -> None:
    """The incident itself shows 500 of each."""
    await hub.hub.take(batch(*(firing(host=f"h{number}") for number in range(620)), at=clock.now()))
    assert len((await hub.json("/api/v1/incidents/1"))["alert_list"]) == 500
    found: list[str] = []
    before: dict[str, Any] = {}
    while True:
        page = await hub.json("/api/v1/incidents/1/alerts", params={"limit": 200, **before})
        found += [one["labels"]["host"] for one in page["items"]]
        if page["next"] is None:
            break
        before = {"before": page["next"]}
    assert len(found) == len(set(found)) == 620


async def test_a_long_history_is_shown_in_part_and_says_so(hub: RunningHub, clock: FakeClock) -> None:
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    (incident,) = await hub.incidents()
    assert (await hub.json("/api/v1/incidents/1"))["events_left_out"] == 0
    assert "not shown here" not in (await hub.get("/incidents/1")).text
    before = [one["seq"] for one in (await hub.json("/api/v1/incidents/1"))["events"]]
    said = [Event(incident["id"], seq, clock.now(), EventKind.comment, Actor("person", "ayse"), f"line {seq}")
            for seq in range(before[-1] + 1, 611)]
    await hub.hub.store.write(lambda tx: event_store.append(tx, said))
    found = await hub.json("/api/v1/incidents/1")
    assert (found["events_left_out"], found["events"][0]["seq"], len(found["events"])) == (110, 111, 500)
    page = (await hub.get("/incidents/1")).text
    assert "110 older entries are not shown here" in page
    assert 'href="/api/v1/incidents/1/events?limit=200"' in page
    assert ("line 110 " in page, "line 111 " in page) == (False, True)
