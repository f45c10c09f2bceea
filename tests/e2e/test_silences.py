"""Silences with the real Alertmanager: the hub's are there once, those made there are shown, and what resolves under one is
found (PROTOCOLS 1.6-3, 1.8)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from alerthub.clock import SystemClock
from alerthub.domain.alert import Alert, AlertStatus
from alerthub.domain.event import Actor
from alerthub.domain.incident import Incident
from alerthub.domain.matcher import parse_matchers
from alerthub.domain.rules import SourceRule
from alerthub.domain.silence import Silence
from alerthub.engine.silencing import Silencing
from alerthub.flow import silencing, watch
from alerthub.flow.intake import take_in
from alerthub.sources.alertmanager import Reconcile
from alerthub.sources.alertmanager_api import AlertmanagerAsker
from alerthub.sources.alertmanager_silences import AlertmanagerSilences
from alerthub.store import alerts as alert_store
from alerthub.store import silences
from alerthub.store.database import Store
from tests.kit.alerts import batch
from tests.kit.binaries import LOCAL, Alertmanager, amtool, eventually, posting_to, wait_until
from tests.kit.hub_process import HubProcess
from tests.kit.stores import sqlite_database
from tests.kit.world import rules_for

pytestmark = [pytest.mark.alertmanager, pytest.mark.slow, pytest.mark.anyio]
SOURCE = SourceRule("alertmanager", "alertmanager")
NOBODY = posting_to("http://127.0.0.1:1/")


class LossyTransport(httpx.AsyncBaseTransport):
    """The real network; but of the next `lost` requests with that method Alertmanager acts, and its answer never arrives."""

    def __init__(self) -> None:
        self.real = httpx.AsyncHTTPTransport(verify=False, trust_env=False)
        self.lost: dict[str, int] = {}
        self.sent: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request.method)
        response = await self.real.handle_async_request(request)
        if self.lost.get(request.method):
            self.lost[request.method] -= 1
            await response.aread()
            await response.aclose()
            raise httpx.ReadError("the connection was cut after the request", request=request)
        return response

    async def aclose(self) -> None:
        await self.real.aclose()


class Bridge:
    """What the hub has for one source: a store, the round, and the one who asks which alerts fire."""

    def __init__(self, store: Store, *alertmanagers: Alertmanager, write: bool = True) -> None:
        self.store, self.clock, self.rules = store, SystemClock(), rules_for()
        self.transport = LossyTransport()
        self.http = httpx.AsyncClient(transport=self.transport)
        settings = Reconcile(urls=[one.url for one in alertmanagers], write=write)
        keeper = AlertmanagerSilences(settings, self.http)
        self.asker = AlertmanagerAsker(settings, self.http)
        self.round = Silencing(store, lambda: {SOURCE.name: keeper}, self.clock, "test")

    async def silence(self, text: str = 'alertname="DiskFull"') -> Silence:
        now = self.clock.now()
        asked = Silence("", 0, parse_matchers(text), now, now + timedelta(hours=1), "ayse", "disk is being swapped")
        return await self.store.write(lambda tx: silencing.create(tx, self.rules, asked, Actor("person", "ayse"), now))

    async def expire(self, made: Silence) -> None:
        now = self.clock.now()
        await self.store.write(lambda tx: silencing.expire(tx, self.rules, made.number, Actor("person", "ayse"), now))

    async def mirror(self) -> None:
        await self.round.mirror(SOURCE)

    async def reconcile(self) -> None:
        asked_at, peers = self.clock.now(), await self.asker.ask()
        await self.store.write(lambda tx: watch.reconcile(tx, self.rules, SOURCE.name, peers, asked_at, self.clock.now()))

    async def shown(self) -> list[dict[str, Any]]:
        now = self.clock.now()
        page = await self.store.read(lambda tx: silences.page(tx, "active", now, 50, None))
        return list(page["items"])

    async def state(self) -> str:
        """How far Alertmanager has the first silence."""
        found = await self.store.read(lambda tx: silences.view_of(tx, 1, self.clock.now()))
        assert found is not None
        return str(found["mirrored"][SOURCE.name]["state"])

    async def fires(self, labels: dict[str, str]) -> str:
        """As a webhook would say it; the incident's id."""
        now = self.clock.now()
        one = batch(Alert(labels, AlertStatus.firing, starts_at=now), at=now)
        taken = await self.store.write(lambda tx: take_in(tx, self.rules, [one], now))
        return taken.events[0].incident_id

    async def incident(self, incident_id: str) -> Incident:
        found = await self.store.read(lambda tx: alert_store.find_incident(tx, incident_id))
        assert found is not None
        return found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with sqlite_database(tmp_path) as url:
        opened = Store(url, SystemClock().new_id)
        yield opened
        opened.close()


@pytest.fixture
def alertmanager() -> Iterator[Alertmanager]:
    with Alertmanager(NOBODY) as running:
        yield running


@pytest.fixture
async def bridge(store: Store, alertmanager: Alertmanager) -> AsyncIterator[Bridge]:
    made = Bridge(store, alertmanager)
    yield made
    await made.http.aclose()


def in_amtool(alertmanager: Alertmanager, *more: str) -> list[dict[str, Any]]:
    """What a person sees there: silences that are not over."""
    said = amtool("silence", "query", *more, "-o", "json", f"--alertmanager.url={alertmanager.url}")
    assert said.returncode == 0, said.stderr
    return list(json.loads(said.stdout))


async def test_a_silence_of_the_hub_is_there_once_with_all_that_it_says(bridge: Bridge, alertmanager: Alertmanager) -> None:
    made = await bridge.silence('alertname="DiskFull",host=~"a|b",env!="dev",agent=""')
    for _ in range(3):
        await bridge.mirror()
    (found,) = in_amtool(alertmanager)
    assert found["comment"] == f"disk is being swapped (by ayse, alerthub:{made.id})"
    assert found["createdBy"] == "ayse"
    read = [(one["name"], one["value"], one["isRegex"], one["isEqual"]) for one in found["matchers"]]
    assert read == [("alertname", "DiskFull", False, True), ("host", "a|b", True, True), ("env", "dev", False, False),
                    ("agent", "", False, True)]
    assert found["endsAt"][:19] == made.ends_at.isoformat()[:19]
    assert await bridge.state() == "made"
    assert [item["source"] for item in await bridge.shown()] == [""], "and it is not shown twice here"


async def test_an_answer_that_was_lost_makes_no_second_one(bridge: Bridge, alertmanager: Alertmanager) -> None:
    await bridge.silence()
    bridge.transport.lost["POST"] = 1
    await bridge.mirror()
    assert await bridge.state() == "failed"
    assert len(in_amtool(alertmanager)) == 1, "Alertmanager acted, and nobody heard it"
    await bridge.mirror()
    assert (await bridge.state(), bridge.transport.sent.count("POST"), len(in_amtool(alertmanager))) == ("made", 1, 1)


@pytest.mark.parametrize("lost", [{}, {"POST": 1}, {"DELETE": 1}, {"POST": 1, "DELETE": 1}], ids=str)
async def test_when_it_is_ended_here_it_is_ended_there(bridge: Bridge, alertmanager: Alertmanager, lost: dict[str, int]) -> None:
    bridge.transport.lost = dict(lost)
    made = await bridge.silence()
    await bridge.mirror()
    await bridge.expire(made)
    for _ in range(3):
        await bridge.mirror()
    assert (in_amtool(alertmanager), len(in_amtool(alertmanager, "--expired")), await bridge.state()) == ([], 1, "ended")
    assert await bridge.shown() == []


async def test_one_that_somebody_ended_there_is_not_made_again(bridge: Bridge, alertmanager: Alertmanager) -> None:
    await bridge.silence()
    await bridge.mirror()
    (found,) = in_amtool(alertmanager)
    assert amtool("silence", "expire", found["id"], f"--alertmanager.url={alertmanager.url}").returncode == 0
    for _ in range(2):
        await bridge.mirror()
    assert in_amtool(alertmanager) == []


async def test_one_that_alertmanager_lost_in_a_crash_is_made_again(bridge: Bridge, alertmanager: Alertmanager) -> None:
    await bridge.silence()
    await bridge.mirror()
    alertmanager.kill()
    alertmanager.start()
    assert in_amtool(alertmanager) == []
    await bridge.mirror()
    assert len(in_amtool(alertmanager)) == 1


async def test_one_made_with_amtool_is_shown_until_it_is_ended_there(bridge: Bridge, alertmanager: Alertmanager) -> None:
    where = f"--alertmanager.url={alertmanager.url}"
    said = amtool("silence", "add", "alertname=DiskFull", 'host=~"db-.*"', "--comment=by hand", "--author=bob", "-d", "2h", where)
    assert said.returncode == 0, said.stderr
    for _ in range(2):
        await bridge.mirror()
    (shown,) = await bridge.shown()
    assert (shown["source"], shown["comment"], shown["created_by"]) == ("alertmanager", "by hand", "bob")
    assert sorted(shown["matchers"]) == ['alertname="DiskFull"', 'host=~"db-.*"']
    assert shown["remote_id"] == said.stdout.strip()
    assert amtool("silence", "expire", said.stdout.strip(), where).returncode == 0
    await bridge.mirror()
    assert await bridge.shown() == []


async def test_without_the_permission_nothing_is_written(store: Store, alertmanager: Alertmanager) -> None:
    bridge = Bridge(store, alertmanager, write=False)
    await bridge.silence()
    alertmanager.silence(alertname="Else")
    await bridge.mirror()
    assert (bridge.transport.sent, len(in_amtool(alertmanager))) == (["GET"], 1)
    assert sorted(item["source"] for item in await bridge.shown()) == ["", "alertmanager"]
    await bridge.http.aclose()


async def test_of_two_peers_that_gossip_one_is_enough(store: Store) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(Alertmanager(NOBODY, gossip=True))
        second = stack.enter_context(Alertmanager(NOBODY, peers=[first]))
        wait_until(lambda: len(second.call("GET", "/api/v2/status")["cluster"]["peers"]) == 2, 60, "the two know each other")
        bridge = Bridge(store, first, second)
        await bridge.silence()
        await bridge.mirror()
        for peer in (first, second):
            await eventually(lambda peer=peer: len(in_amtool(peer)) == 1, 30, "it has it")  # type: ignore[misc]
        first.kill()
        await bridge.mirror()
        assert (len(in_amtool(second)), bridge.transport.sent.count("POST")) == (1, 1)
        await bridge.http.aclose()


def asked_of(hub: HubProcess, method: str, path: str, body: object = None) -> dict[str, Any]:
    answer = httpx.request(method, f"{hub.url}/api/v1/{path}", json=body, timeout=10, **LOCAL)
    assert answer.is_success, answer.text
    return dict(answer.json())


def test_the_whole_hub_keeps_quiet_while_it_is_silenced_and_speaks_when_that_ends() -> None:
    config = """
server: {listen: "${HUB_LISTEN}"}
database: {url: "sqlite:///hub.db"}
sources: [{name: alertmanager, type: alertmanager, reconcile: {urls: ["${ALERTMANAGER}"], interval: 1s, write: true}}]
receivers: [{name: console, console_configs: [{}]}]
route: {receiver: console, group_by: [alertname]}
"""
    hub = HubProcess(config)
    with Alertmanager(posting_to(hub.hook())) as alertmanager:
        hub.environ = {**hub.environ, "ALERTMANAGER": alertmanager.url}
        with hub:
            alertmanager.post({"alertname": "DiskFull"})
            wait_until(lambda: hub.incidents("open"), 30, "it is an incident")
            made = asked_of(hub, "POST", "silences", {"matchers": ['alertname="DiskFull"'], "duration": "1h"})
            wait_until(lambda: in_amtool(alertmanager), 30, "it is in Alertmanager")
            asked_of(hub, "DELETE", f"silences/{made['number']}")
            wait_until(lambda: not in_amtool(alertmanager), 30, "it is over in Alertmanager")
            events = hub.api("incidents/1")["events"]
            (held,) = [event["text"] for event in events if event["kind"] == "silenced" and event["actor"] == "account:api (API)"]
            (freed,) = [event["text"] for event in events if event["kind"] == "unsilenced"]
            assert held.startswith("Silenced by api (API) until ")
            assert freed == "Silence ended by api (API): it still fires"
            assert len(in_amtool(alertmanager, "--expired")) == 1


async def test_what_resolves_while_it_is_silenced_does_not_stay_open(bridge: Bridge, alertmanager: Alertmanager) -> None:
    labels = {"alertname": "DiskFull"}
    alertmanager.post(labels)
    key = await bridge.fires(labels)
    made = await bridge.silence()
    await bridge.mirror()
    await eventually(lambda: alertmanager.alerts()[0]["status"]["state"] == "suppressed", 30, "it is suppressed there")
    await bridge.reconcile()
    held = await bridge.incident(key)
    assert (held.silence_id, held.is_silenced, held.is_open) == (made.id, False, True)
    alertmanager.resolve(labels)
    await eventually(lambda: alertmanager.alerts() == [], 30, "it is over there")
    for _ in range(2):
        await bridge.reconcile()
    over = await bridge.incident(key)
    assert (over.silence_id, over.is_open) == ("", False)


async def test_what_only_our_mirrored_silence_still_holds_there_is_not_shown_as_silenced_at_the_source(
        bridge: Bridge, alertmanager: Alertmanager) -> None:
    labels = {"alertname": "DiskFull"}
    alertmanager.post(labels)
    key = await bridge.fires(labels)
    made = await bridge.silence()
    await bridge.mirror()
    await eventually(lambda: alertmanager.alerts()[0]["status"]["state"] == "suppressed", 30, "it is suppressed there")
    await bridge.expire(made)
    await bridge.reconcile()        # before the next round ends it there
    freed = await bridge.incident(key)
    assert (freed.silence_id, freed.is_silenced) == ("", False)
    theirs = amtool("silence", "add", "alertname=DiskFull", "--comment=by hand", f"--alertmanager.url={alertmanager.url}")
    assert theirs.returncode == 0, theirs.stderr
    await eventually(lambda: len(alertmanager.alerts()[0]["status"]["silencedBy"]) == 2, 30, "both hold it")
    await bridge.reconcile()
    assert (await bridge.incident(key)).is_silenced


async def test_a_matcher_that_this_alertmanager_cannot_have_is_refused_once_and_said(bridge: Bridge,
                                                                                     alertmanager: Alertmanager) -> None:
    await bridge.silence('"my.label-ü"="x"')
    await bridge.silence()
    for _ in range(2):
        await bridge.mirror()
    posted = bridge.transport.sent.count("POST")
    assert (await bridge.state(), posted) in {("refused", 2), ("made", 2)}, "0.28 and later take it"
    assert len(in_amtool(alertmanager)) == posted - (await bridge.state() == "refused")
