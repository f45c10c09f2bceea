"""Whatever a sender posts: an answer that it can act on, never a 500, never a row that cannot be read, and the same verdict
on both databases (PROTOCOLS 7.7; fault matrix F14, F15, F17)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, given, settings

from tests.kit.clock import START, FakeClock
from tests.kit.hub import RunningHub, running_hub
from tests.kit.stores import database
from tests.sources.cases import HOSTILE, JUNK
from tests.sources.contract import PAYLOADS, payload
from tests.sources.mutate import DEEP, mutated

FILES = sorted(PAYLOADS.glob("*.json"))
SEQUENCES: dict[str, Any] = json.loads((Path(__file__).parent / "sequences.json").read_text())
ANSWERS = {200, 400, 413, 503}
CHECKED = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
GRAFANA = [path.read_bytes() for path in FILES if path.name.startswith("grafana")]
GENERIC = [path.read_bytes() for path in FILES if path.name.startswith("generic")]
ALERTMANAGER = [path.read_bytes() for path in FILES if path.name.startswith("alertmanager")]
BODIES = {"alertmanager": ALERTMANAGER, "grafana": GRAFANA, "generic": GENERIC}


class Door:
    """A hub for a test without a loop of its own: the questions of hypothesis are plain functions."""

    def __init__(self, portal: BlockingPortal, hub: RunningHub, clock: FakeClock) -> None:
        self.portal, self.hub, self.clock = portal, hub, clock

    def post(self, body: bytes, source: str = "alertmanager") -> httpx.Response:
        answer = self.portal.call(self.hub.post, body, source)
        assert answer.status_code in ANSWERS, f"{answer.status_code}: {answer.text}"
        assert answer.status_code == 200 or answer.json()["reason"]
        return answer

    def get(self, path: str) -> Any:
        answer = self.portal.call(self.hub.get, path)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer

    def drain(self) -> None:
        self.portal.call(self.hub.drain)

    def incidents(self, **query: Any) -> list[dict[str, Any]]:
        return self.portal.call(lambda: self.hub.incidents(**query))

    def pages(self, path: str) -> Iterator[dict[str, Any]]:
        before = ""
        while True:
            page = self.get(f"{path}?limit=200{before}").json()
            yield from page["items"]
            if page["next"] is None:
                return
            before = f"&before={page['next']}"

    def read_everything(self) -> int:
        """Every row by the API and on the pages; how many incidents there are."""
        numbers = [incident["number"] for incident in self.pages("/api/v1/incidents")]
        for number in numbers:
            found = self.get(f"/api/v1/incidents/{number}").json()
            assert found["events"]
            assert all(alert["labels"] for alert in found["alert_list"])
            self.get(f"/incidents/{number}")
        for path in ("/api/v1/quarantine", "/api/v1/deliveries"):
            list(self.pages(path))
        for path in ("/", "/?status=all", "/api/v1/actions/runs", "/health"):
            self.get(path)
        return len(numbers)


@contextmanager
def opened(portal: BlockingPortal, url: str = "") -> Iterator[Door]:
    clock = FakeClock()
    running: AbstractContextManager[RunningHub] = portal.wrap_async_context_manager(running_hub(clock=clock, database=url))
    with running as hub:
        yield Door(portal, hub, clock)


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal("asyncio") as started:
        yield started


@pytest.fixture
def door(portal: BlockingPortal) -> Iterator[Door]:
    with opened(portal) as found:
        yield found


def body_of(**changes: Any) -> bytes:
    """A real notification with other fields at the top; None takes one away."""
    value = json.loads(payload("alertmanager-04-firing-group-of-3.json"))
    value.update(changes)
    return json.dumps({name: item for name, item in value.items() if item is not None}).encode()


def notification(status: str, *, at: datetime = START, starts: datetime = START, name: str = "DiskFull") -> bytes:
    ends = at.isoformat() if status == "resolved" else "0001-01-01T00:00:00Z"
    alert = {"status": status, "labels": {"alertname": name}, "annotations": {}, "startsAt": starts.isoformat(), "endsAt": ends}
    return json.dumps({"version": "4", "status": status, "alerts": [alert]}).encode()


# -- what is real

@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_real_body_is_taken_and_can_be_read_back(door: Door, path: Path) -> None:
    assert door.post(path.read_bytes(), path.name.partition("-")[0]).status_code == 200
    door.drain()
    door.read_everything()


def webhooks(sequence: str) -> list[tuple[float, bytes]]:
    return [(step["t"], json.dumps(step["webhook"]).encode()) for step in SEQUENCES[sequence] if "webhook" in step]


@pytest.mark.parametrize(("sequence", "states", "events"), [
    # h1 was resolved under a silence: nobody ever says so (PROTOCOLS 1.6, 3). The incident stays open for the reconciler.
    ("silence-and-restart-0.25.0", {"A/h1": "firing", "A/h2": "resolved"}, ["opened"]),
    ("silence-and-restart-0.33.1", {"A/h1": "firing", "A/h2": "resolved"}, ["opened"]),
    ("prometheus-killed-and-restarted-0.25.0", {"DiskFull/db-01": "resolved"}, ["opened", "resolved", "reopened", "resolved"]),
])
def test_what_really_happened_in_order(door: Door, sequence: str, states: dict[str, str], events: list[str]) -> None:
    for moment, body in webhooks(sequence):
        door.clock.moment = START + timedelta(seconds=moment)
        assert door.post(body).status_code == 200
        assert door.post(body).status_code == 200, "and the same once more, from the other of an HA pair"
        door.drain()
    (incident,) = door.incidents()
    found = door.get(f"/api/v1/incidents/{incident['number']}").json()
    named = {f"{alert['labels']['alertname']}/{alert['labels']['host']}": alert["status"] for alert in found["alert_list"]}
    assert named == states
    kinds = [event["kind"] for event in found["events"]]
    assert [kind for kind in kinds if kind in ("opened", "resolved", "reopened")] == events
    assert incident["status"] == ("resolved" if events[-1] == "resolved" else "triggered")


# -- out of order (F14)

def test_a_resolve_that_overtakes_its_firing_opens_nothing(door: Door) -> None:
    assert door.post(notification("resolved")).status_code == 200
    assert door.incidents() == []


def test_the_same_start_fires_again_after_its_resolve(door: Door) -> None:
    door.post(notification("firing"))
    resolved_at = door.clock.advance(seconds=60)
    door.post(notification("resolved", at=resolved_at))
    assert [incident["status"] for incident in door.incidents()] == ["resolved"]
    door.clock.advance(seconds=1)
    door.post(notification("firing"))
    assert [(incident["status"], incident["episode"]) for incident in door.incidents()] == [("triggered", 2)]


def test_a_resolve_of_an_earlier_time_closes_nothing(door: Door) -> None:
    door.clock.advance(hours=1)
    door.post(notification("firing", starts=door.clock.now()))
    door.clock.advance(minutes=1)
    door.post(notification("resolved", at=START, starts=START - timedelta(hours=1)))
    assert [incident["status"] for incident in door.incidents()] == ["triggered"]


# -- odd, and taken or refused clearly (F15)

@pytest.mark.parametrize(("body", "status", "firing"), [
    (body_of(status="resolved"), 200, 3), (body_of(status=None), 200, 3), (body_of(status=7), 200, 3),
    (body_of(alerts=[]), 200, 0), (body_of(alerts=None), 400, 0), (body_of(alerts={}), 400, 0),
    (body_of(version=None), 200, 3), (body_of(version=4), 200, 3), (body_of(version="1"), 400, 0), (body_of(version="5"), 400, 0),
    (body_of(groupKey=None), 200, 3), (body_of(groupKey=12345), 200, 3), (body_of(groupKey={"a": 1}), 200, 3),
    (body_of(truncatedAlerts=5), 200, 3), (body_of(truncatedAlerts=10**30), 200, 3), (body_of(truncatedAlerts=-1), 400, 0),
    (body_of(truncatedAlerts="5"), 400, 0), (body_of(notification_reason="new alerts added", routeLabels={"a": "b"}), 200, 3),
    (body_of(unknown={"deep": DEEP}), 200, 3), (body_of(receiver=["x"]), 200, 3), (body_of(externalURL="javascript:x"), 200, 3),
    (body_of(commonLabels=5, commonAnnotations=[]), 200, 3), (body_of(groupLabels=[]), 400, 0),
    (b"\xef\xbb\xbf" + body_of(), 200, 3), (body_of()[:-1], 400, 0), (body_of() + b"{}", 400, 0),
    (body_of(text="custom payload", alerts=None, blocks=[]), 400, 0),
], ids=str)
def test_an_odd_body_is_taken_or_refused(door: Door, body: bytes, status: int, firing: int) -> None:
    answer = door.post(body)
    assert answer.status_code == status, answer.text
    mine = [incident for incident in door.incidents() if incident["source"] == "alertmanager"]
    assert sum(incident["firing"] for incident in mine) == firing
    assert len(list(door.pages("/api/v1/quarantine"))) == (status == 400)


def test_what_was_cut_off_is_shown_as_incomplete(door: Door) -> None:
    door.post(body_of(truncatedAlerts=5))
    assert {incident["incomplete"] for incident in door.incidents()} == {5}


@pytest.mark.parametrize("source", BODIES)
def test_junk_is_400_from_every_source(door: Door, source: str) -> None:
    """All of it is one incident of the hub's own, and each can be read in the quarantine."""
    assert [body[:24] for body in JUNK if door.post(body, source).status_code != 400] == []
    assert [incident["source"] for incident in door.incidents()] == ["alerthub"]
    door.drain()
    assert door.read_everything() == 1
    assert len(list(door.pages("/api/v1/quarantine"))) == len(JUNK)


@pytest.mark.parametrize("text", [*HOSTILE, "\x00", "a\x01b\x1f", "\ud800", "\r\n", "\ufeff", "\U000e0001"],
                         ids=lambda text: ascii(text[:20]))
def test_a_hostile_label_is_stored_and_told(door: Door, text: str) -> None:
    alert = {"status": "firing", "labels": {"alertname": "X", "evil": text, text: "name"}, "annotations": {"summary": text}}
    assert door.post(json.dumps({"version": "4", "alerts": [alert]}).encode()).status_code == 200
    door.drain()
    door.read_everything()
    (delivery,) = door.pages("/api/v1/deliveries")
    assert delivery["state"] == "sent"


@pytest.mark.parametrize("size", [100, 6_000])
def test_a_large_group_is_one_answer_and_loses_nothing(door: Door, size: int) -> None:
    """More than one transaction holds, in the last case."""
    alerts = [{"status": "firing", "labels": {"alertname": "X", "host": f"h{number}"}} for number in range(size)]
    door.portal.call(lambda: door.hub.open_door(commit_seconds=30))
    assert door.post(json.dumps({"version": "4", "alerts": alerts}).encode()).status_code == 200
    assert [(incident["firing"], incident["alerts"]) for incident in door.incidents()] == [(size, size)]


# -- anything at all (F17)

@pytest.mark.slow
@pytest.mark.parametrize("source", BODIES)
def test_a_spoiled_body_is_never_an_error_of_ours(portal: BlockingPortal, source: str) -> None:
    with opened(portal) as door:

        @settings(CHECKED, max_examples=300)
        @given(mutated(BODIES[source]))
        def spoiled(body: bytes) -> None:
            door.clock.advance(seconds=1)
            door.post(body, source)

        spoiled()
        door.drain()
        assert door.read_everything() > 1
        counted = re.findall(rb"^alerthub_errors_total\{.*\} (.+)$", door.get("/metrics").content, re.MULTILINE)
        assert set(map(float, counted)) <= {0.0}


def verdict(door: Door, body: bytes, source: str) -> tuple[Any, ...]:
    door.clock.advance(seconds=1)
    answer = door.post(body, source)
    fields = ("number", "title", "status", "severity", "firing", "alerts", "incomplete", "episode")
    return answer.status_code, answer.content, [[incident[name] for name in fields] for incident in door.incidents()]


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.parametrize("source", BODIES)
def test_both_databases_say_the_same(portal: BlockingPortal, tmp_path: Path, source: str) -> None:
    with database("postgres", tmp_path) as url, opened(portal) as sqlite, opened(portal, url) as postgres:

        @settings(CHECKED, max_examples=100)
        @given(mutated(BODIES[source]))
        def spoiled(body: bytes) -> None:
            assert verdict(sqlite, body, source) == verdict(postgres, body, source)

        spoiled()
        for door in (sqlite, postgres):
            door.drain()
        assert sqlite.read_everything() == postgres.read_everything() > 1
