"""`/api/v1`: pages without gaps, questions that cannot be understood, one incident, replay, reload."""

from __future__ import annotations

from typing import Any

import pytest

from alerthub.errors import Failure, SendFailed
from tests.kit.alerts import batch, firing, resolved
from tests.kit.clock import FakeClock
from tests.kit.hub import PLAIN, RunningHub, running_hub
from tests.kit.stores import database
from tests.kit.world import ScriptedChannel

pytestmark = pytest.mark.anyio

MANY = 250
LISTS = ["/api/v1/incidents", "/api/v1/deliveries", "/api/v1/quarantine", "/api/v1/actions/runs"]
ODD_REFERENCES = ["²", "٣", "%00", "0", "-1", "+1", "1e3", "999999", "9" * 15, "9" * 16, "9" * 19, "9" * 5000, "x" * 5000,
                  "' OR 1=1 --", "%ff%fe", "%ed%a0%80", "1%00", "<script>", "a" * 36, "None", " 1", "1 "]


async def storm(hub: RunningHub, count: int, *, name: str = "Disk") -> None:
    """So many incidents."""
    await hub.hub.take(batch(*(firing(f"{name}{number:05}") for number in range(count)), at=hub.hub.clock.now()))


def problem_of(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert (told["type"], told["status"]) == ("about:blank", status)
    return str(told["detail"])


# -- lists

@pytest.mark.parametrize("limit", [1, 7, 50, 200])
async def test_pages_have_no_gaps_and_no_doubles(hub: RunningHub, limit: int) -> None:
    await storm(hub, MANY if limit > 1 else 20)
    numbers: list[int] = []
    before: dict[str, Any] = {}
    while True:
        page = await hub.json("/api/v1/incidents", params={"limit": limit, **before})
        assert len(page["items"]) <= limit
        numbers += [item["number"] for item in page["items"]]
        await storm(hub, 1, name="While somebody pages")
        if page["next"] is None:
            break
        before = {"before": page["next"]}
    assert numbers == list(range(len(numbers), 0, -1))
    assert len(numbers) == (MANY if limit > 1 else 20)


async def test_a_page_has_fifty_unless_told_otherwise(hub: RunningHub) -> None:
    await storm(hub, MANY)
    page = await hub.json("/api/v1/incidents")
    assert (len(page["items"]), page["next"]) == (50, MANY - 49)


@pytest.mark.parametrize("path", LISTS)
async def test_an_empty_list_is_a_list(hub: RunningHub, path: str) -> None:
    assert await hub.json(path) == {"items": [], "next": None}


async def test_incidents_are_found_by_their_status(hub: RunningHub, clock: FakeClock) -> None:
    await hub.hub.take(batch(firing("A"), firing("B"), at=clock.now()))
    clock.advance(minutes=1)
    await hub.hub.take(batch(resolved("A", ends_at=clock.now()), at=clock.now()))
    expected = {"": ["B", "A"], "open": ["B"], "triggered": ["B"], "acknowledged": [], "resolved": ["A"]}
    for status, titles in expected.items():
        found = await hub.titles(status=status)
        assert [title[0] for title in found] == titles


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("value", ["0", "-1", "201", "1.5", "x", "", "²", "٣", "9" * 30, "9" * 5000, "1 ", "+1", "0x1", "None"])
async def test_a_limit_that_is_none_is_a_bad_question(hub: RunningHub, path: str, value: str) -> None:
    assert problem_of(await hub.get(path, params={"limit": value}), 400) == "limit must be a number from 1 to 200"


@pytest.mark.parametrize(("path", "query", "word"), [
    ("/api/v1/incidents", {"status": "burning"}, "status must be one of acknowledged, open, resolved, triggered"),
    ("/api/v1/incidents", {"status": "\x00"}, "status must be one of"), ("/api/v1/incidents", {"before": "x"}, "before must be"),
    ("/api/v1/incidents", {"before": "0"}, "before must be"), ("/api/v1/incidents", {"before": "9" * 19}, "before must be"),
    ("/api/v1/deliveries", {"state": "lost"}, "state must be one of failed, sending, sent, unknown"),
    ("/api/v1/deliveries", {"dead_letter": "banana"}, "dead_letter must be"),
    ("/api/v1/deliveries", {"before": "-"}, "before must be"), ("/api/v1/quarantine", {"before": "٣"}, "before must be"),
    ("/api/v1/actions/runs", {"state": "banana"}, "state must be one of"),
    ("/api/v1/actions/runs", {"state": "a\x00b"}, "state must be one of"),
])
async def test_a_question_that_cannot_be_understood_is_400(hub: RunningHub, path: str, query: dict[str, str], word: str) -> None:
    assert problem_of(await hub.get(path, params=query), 400).startswith(word)


async def test_every_state_of_a_run_can_be_asked_for(hub: RunningHub) -> None:
    for state in ("", "proposed", "awaiting_approval", "started", "succeeded", "failed", "unknown", "refused", "expired"):
        assert (await hub.json("/api/v1/actions/runs", params={"state": state}))["items"] == []


# -- one incident

async def test_an_incident_is_found_by_number_and_by_id(hub: RunningHub) -> None:
    await hub.hub.take(batch(firing("DiskFull", host="db-1", annotations={"summary": "95 % full"}), at=hub.hub.clock.now()))
    by_number = await hub.json("/api/v1/incidents/1")
    assert await hub.json(f"/api/v1/incidents/{by_number['id']}") == by_number
    assert await hub.json("/api/v1/incidents/1/") == by_number
    (alert,) = by_number["alert_list"]
    assert (alert["labels"], alert["annotations"]) == ({"alertname": "DiskFull", "host": "db-1"}, {"summary": "95 % full"})
    assert [event["kind"] for event in by_number["events"]] == ["opened"]
    assert by_number["actions"] == []


@pytest.mark.parametrize("reference", ODD_REFERENCES, ids=lambda reference: ascii(reference[:20]))
async def test_an_incident_that_is_not_there_is_404(hub: RunningHub, reference: str) -> None:
    await storm(hub, 1)
    answer = await hub.get(f"/api/v1/incidents/{reference}")
    assert "there is no incident" in problem_of(answer, 404)
    assert len(answer.content) < 400
    assert (await hub.get(f"/incidents/{reference}")).status_code == 404


@pytest.mark.postgres
async def test_postgres_says_the_same_of_what_is_not_there(tmp_path: Any) -> None:
    with database("postgres", tmp_path) as url:
        async with running_hub(database=url) as hub:
            for reference in ODD_REFERENCES:
                assert (await hub.get(f"/api/v1/incidents/{reference}")).status_code == 404
                assert (await hub.get(f"/incidents/{reference}")).status_code == 404
                assert (await hub.client.post(f"/api/v1/lanes/{reference}/replay")).status_code == 404
            for path in LISTS:
                last = f"{0:08x}-0000-7000-8000-{0:012x}" if path.endswith("/runs") else str(2**62)
                state = {"state": "failed"} if path not in ("/api/v1/incidents", "/api/v1/quarantine") else {}
                assert (await hub.get(path, params={"before": last, **state})).status_code == 200


# -- deliveries and replay

@pytest.fixture
def broken(hub: RunningHub) -> ScriptedChannel:
    """The only destination, which refuses every message for good."""
    (told,) = hub.hub.rules.destinations().values()
    channel = ScriptedChannel(told, broken=SendFailed(Failure.configuration, "the token was revoked"))
    hub.hub.equipment.plant.channels[told.key] = channel  # type: ignore[index]
    return channel


async def test_a_dead_letter_is_listed_and_sent_again(hub: RunningHub, broken: ScriptedChannel) -> None:
    await storm(hub, 1)
    await hub.drain()
    dead = (await hub.json("/api/v1/deliveries", params={"dead_letter": "1"}))["items"]
    assert {(row["state"], row["failure"], row["detail"]) for row in dead} == {
        ("failed", "configuration", "the token was revoked")}
    assert dead == [row for row in (await hub.json("/api/v1/deliveries"))["items"] if row["is_dead_letter"]]
    broken.broken = None
    answer = await hub.client.post(f"/api/v1/lanes/{dead[-1]['lane_id']}/replay")
    assert (answer.status_code, answer.json()) == (200, {"replayed": 1})
    await hub.drain()
    assert any("Disk00000" in message.title for message in broken.messages)


async def test_all_dead_letters_are_sent_again_at_once(hub: RunningHub, broken: ScriptedChannel) -> None:
    await storm(hub, 3)
    await hub.drain()
    broken.broken = None
    replayed = (await hub.client.post("/api/v1/deliveries/replay")).json()["replayed"]
    assert replayed >= 3
    assert (await hub.client.post("/api/v1/deliveries/replay")).json() == {"replayed": 0}
    assert (await hub.json("/api/v1/deliveries", params={"dead_letter": "true"}))["items"] == []


@pytest.mark.parametrize("lane", ["1", *ODD_REFERENCES], ids=lambda lane: ascii(lane[:20]))
async def test_a_lane_without_a_dead_letter_is_404(hub: RunningHub, lane: str) -> None:
    await storm(hub, 1)
    assert problem_of(await hub.client.post(f"/api/v1/lanes/{lane}/replay"), 404)


async def test_reading_changes_nothing(hub: RunningHub, broken: ScriptedChannel) -> None:
    await storm(hub, 2)
    await hub.drain()
    await hub.get("/")      # the first page of all makes the key that its forms are marked with
    began = hub.store.began
    for path in (*LISTS, "/api/v1/incidents/1", "/", "/incidents/1", "/health", "/readyz", "/metrics"):
        assert (await hub.get(path)).status_code in (200, 503)
    for path in ("/api/v1/deliveries/replay", "/api/v1/reload", "/api/v1/lanes/1/replay"):
        assert (await hub.get(path)).status_code == 405
    assert hub.store.began == began


# -- quarantine

async def test_what_could_not_be_read_is_listed_newest_first(hub: RunningHub) -> None:
    for number in range(3):
        await hub.post(b"junk %d" % number)
    page = await hub.json("/api/v1/quarantine", params={"limit": 2})
    assert [row["id"] for row in page["items"]] == [3, 2]
    assert (await hub.json("/api/v1/quarantine", params={"before": page["next"]}))["items"][0]["id"] == 1
    assert set(page["items"][0]) == {"id", "source", "arrived_at", "reason", "body_sha256"}


# -- reload

async def test_a_reload_takes_the_new_file_over(hub: RunningHub) -> None:
    before = hub.hub.rules.version
    hub.path.write_text(hub.path.read_text().replace("name: generic", "name: cron"))
    answer = await hub.client.post("/api/v1/reload")
    assert (answer.status_code, answer.json()["status"]) == (200, "reloaded")
    assert answer.json()["version"] == hub.hub.rules.version != before
    assert (await hub.post(b'{"name": "X"}', "cron")).status_code == 200
    assert (await hub.post(b'{"name": "X"}', "generic")).status_code == 401


@pytest.mark.parametrize(("text", "place"), [
    ("route: {receiver: nobody}\n" + PLAIN.replace("route: {receiver: console, group_by: [alertname]}", ""), ":2:19: "),
    (PLAIN + "speling: 1\n", ":10:1: "), ("a: [", ":"), ("", ":"), ("\x00", ":"),
])
async def test_a_bad_file_changes_nothing_and_says_where(hub: RunningHub, text: str, place: str) -> None:
    head = hub.path.read_text().splitlines()[0]
    before = hub.hub.equipment
    hub.path.write_text(f"{head}\n{text}")
    detail = problem_of(await hub.client.post("/api/v1/reload"), 422)
    assert detail.startswith("the configuration was not taken over: ")
    assert f"{hub.path}{place}" in detail
    assert hub.hub.equipment is before
    assert (await hub.post(b'{"name": "X"}', "generic")).status_code == 200
    health = await hub.json("/health")
    assert (health["status"], health["components"]["configuration"]["status"]) == ("degraded", "degraded")
    assert b"alerthub_config_last_reload_successful 0.0" in (await hub.get("/metrics")).content


async def test_a_good_file_after_a_bad_one_is_healthy_again(hub: RunningHub) -> None:
    good = hub.path.read_text()
    for text, status in (("a: [", 422), (good, 200)):
        hub.path.write_text(text)
        assert (await hub.client.post("/api/v1/reload")).status_code == status
    assert (await hub.json("/health"))["status"] == "healthy"
    assert b"alerthub_config_last_reload_successful 1.0" in (await hub.get("/metrics")).content


async def test_a_file_that_is_gone_changes_nothing(hub: RunningHub) -> None:
    hub.path.unlink()
    assert "there is no such file" in problem_of(await hub.client.post("/api/v1/reload"), 422)
    assert (await hub.post(b'{"name": "X"}', "generic")).status_code == 200


async def test_the_database_cannot_change_while_the_hub_runs(hub: RunningHub) -> None:
    lines = hub.path.read_text().splitlines()
    hub.path.write_text("\n".join(["database: {url: 'sqlite:///other.db'}", *lines[1:]]))
    detail = problem_of(await hub.client.post("/api/v1/reload"), 422)
    assert f"{hub.path}:1:17: database.url cannot change while the hub runs; restart it" in detail


async def test_a_reload_leaves_no_trace_in_the_health(hub: RunningHub) -> None:
    for _ in range(3):
        assert (await hub.client.post("/api/v1/reload")).status_code == 200
    await hub.turns()
    assert set((await hub.json("/health"))["components"]) == {"database", "configuration", "deliveries"}
    assert hub.hub.retired == {}
