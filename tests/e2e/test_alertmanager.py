"""What the real Alertmanager does when things go wrong on either side of its webhook, and that nobody is told too little
or too much by it (PROTOCOLS 1.5, 1.6)."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.kit.binaries import Alertmanager, posting_to, wait_until
from tests.kit.hub_process import HubProcess
from tests.kit.passed_time import end_leases
from tests.kit.postgres import Postgres, find_binaries
from tests.kit.providers.receiver import FakeReceiver
from tests.kit.providers.slack import FakeSlack, Posted
from tests.kit.served import served
from tests.kit.webhooks import alert, webhook

pytestmark = [pytest.mark.alertmanager, pytest.mark.slow]

SIGNING = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwOdF3aX8hYc4="
STORM = 40
SOON = 4.0      # seconds; the promise is 2, on a machine that has nothing else to do


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    slack = FakeSlack()
    with served(slack):
        yield slack


def told_by_slack(slack: FakeSlack, database: str = "sqlite:///hub.db", reconcile: Sequence[str] = ()) -> str:
    """One source, one channel. With `reconcile`, Alertmanager is asked every second."""
    asked = f", reconcile: {{urls: {list(reconcile)}, interval: 1s}}" if reconcile else ""
    return f"""
server: {{listen: "${{HUB_LISTEN}}"}}
database: {{url: "{database}"}}
sources: [{{name: alertmanager, type: alertmanager{asked}}}]
global: {{slack_bot_token: {slack.token}, slack_base_url: "{slack.base_url}"}}
receivers: [{{name: alerts, slack_configs: [{{channel: "#alerts"}}]}}]
route: {{receiver: alerts, group_by: [alertname]}}
"""


def about(slack: FakeSlack, name: str) -> list[Posted]:
    return [message for message in slack.roots if name in message.text]


def states(hub: HubProcess) -> dict[str, str]:
    """By title: the incident's status. Two of one title fail."""
    found = [(one["title"], one["status"]) for one in hub.incidents()]
    assert len(dict(found)) == len(found), found
    return dict(found)


def wait_for_end(hub: HubProcess, slack: FakeSlack, name: str) -> Posted:
    """The one live message about the alert, when it says that it is over."""
    wait_until(lambda: [message for message in about(slack, name) if "RESOLVED" in message.text], 30, f"{name} is resolved")
    wait_until(hub.is_quiet, 10, "the hub has no more to say")
    (message,) = about(slack, name)
    return message


class TestADatabaseThatIsAway:
    """503 at once, and Alertmanager comes again: nothing is lost, nobody is told twice."""

    def story(self, hub: HubProcess, slack: FakeSlack, alertmanager: Alertmanager, outage: Any) -> None:
        alertmanager.post({"alertname": "Before"}, {"alertname": "Over"})
        wait_until(lambda: about(slack, "Before") and about(slack, "Over"), 30, "both are told")
        with outage:
            alertmanager.post({"alertname": "During"})
            alertmanager.resolve({"alertname": "Over"})
            wait_until(lambda: hub.metric("alerthub_webhooks_total", status="503") >= 2, 30, "the hub says that it cannot")
            began = time.monotonic()
            assert hub.post(webhook(alert("During"))) == 503
            assert time.monotonic() - began < SOON
            assert hub.answers("/healthz")
            assert hub.answers("/readyz") == outage.can_be_read
        wait_until(lambda: about(slack, "During"), 40, "it comes again, and is told")
        wait_for_end(hub, slack, "Over")
        assert states(hub) == {"Before": "triggered", "Over": "resolved", "During": "triggered"}
        assert [len(about(slack, name)) for name in ("Before", "Over", "During")] == [1, 1, 1]
        answers = {status: hub.metric("alerthub_webhooks_total", status=status) for status in ("200", "500", "429")}
        assert answers["200"] >= 3
        assert answers["500"] == answers["429"] == 0
        assert [hub.metric("alerthub_errors_total", where=room) for room in ("web", "claim", "deliver", "act")] == [0] * 4
        assert set(hub.health().values()) == {"healthy"}

    def test_a_locked_sqlite_file(self, slack: FakeSlack) -> None:
        with HubProcess(told_by_slack(slack)) as hub, Alertmanager(posting_to(hub.hook())) as alertmanager:
            self.story(hub, slack, alertmanager, LockedFile(hub.folder / "hub.db"))

    @pytest.mark.postgres
    def test_a_postgres_that_is_stopped_and_started_again(self, slack: FakeSlack) -> None:
        with Postgres(find_binaries(), durable=True) as postgres:
            database = postgres.server.dsn("postgres")
            with HubProcess(told_by_slack(slack, database)) as hub, Alertmanager(posting_to(hub.hook())) as alertmanager:
                self.story(hub, slack, alertmanager, Stopped(postgres))


class LockedFile:
    """Another process holds the one write lock of a SQLite file."""

    can_be_read = True

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        self.connection = sqlite3.connect(self.path, timeout=10, isolation_level=None)
        self.connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, *_: object) -> None:
        with closing(self.connection):
            self.connection.execute("ROLLBACK")


class Stopped:
    """A server that is away for as long as this lasts."""

    can_be_read = False

    def __init__(self, postgres: Postgres) -> None:
        self.postgres = postgres

    def __enter__(self) -> None:
        self.postgres.stop()

    def __exit__(self, *_: object) -> None:
        self.postgres.start()


class TestTwoPeers:
    @pytest.mark.parametrize("gossip", [True, False], ids=["that gossip", "that cannot hear each other"])
    def test_an_alert_of_both_is_one_incident_and_one_message(self, slack: FakeSlack, gossip: bool) -> None:
        with ExitStack() as stack:
            hub = HubProcess(told_by_slack(slack, reconcile=["${FIRST}", "${SECOND}"]))
            first = stack.enter_context(Alertmanager(posting_to(hub.hook()), gossip=gossip))
            second = stack.enter_context(Alertmanager(posting_to(hub.hook()), gossip=gossip, peers=[first] if gossip else []))
            hub.environ = {**hub.environ, "FIRST": first.url, "SECOND": second.url}
            stack.enter_context(hub)
            if gossip:
                wait_until(lambda: all(is_settled(peer) for peer in (first, second)), 60, "the two know each other")
            for peer in (first, second):
                peer.post({"labels": {"alertname": "DiskFull"}, "annotations": {"summary": f"as seen at {peer.port}"}})
            webhooks = 1 if gossip else 2
            wait_until(lambda: hub.metric("alerthub_webhooks_total", status="200") >= webhooks, 30, "they post")
            wait_until(lambda: about(slack, "DiskFull"), 30, "it is told")
            first.kill()        # its gossip dies with it; the other goes on alone
            second.resolve({"alertname": "DiskFull"})
            message = wait_for_end(hub, slack, "DiskFull")
            assert states(hub)["DiskFull"] == "resolved"
            assert (message.edits, len(slack.thread(message.ts))) == (1, 1)


def is_settled(peer: Alertmanager) -> bool:
    cluster = peer.call("GET", "/api/v2/status")["cluster"]
    return bool(cluster["status"] == "ready" and len(cluster["peers"]) == 2)


class TestASilence:
    def test_a_resolve_under_a_silence_is_never_sent_and_found_all_the_same(self, slack: FakeSlack) -> None:
        hub = HubProcess(told_by_slack(slack, reconcile=["${ALERTMANAGER}"]))
        with Alertmanager(posting_to(hub.hook())) as alertmanager:
            hub.environ = {**hub.environ, "ALERTMANAGER": alertmanager.url}
            with hub:
                alertmanager.post({"alertname": "DiskFull"})
                wait_until(lambda: about(slack, "DiskFull"), 30, "it is told")
                alertmanager.silence(alertname="DiskFull")
                wait_until(lambda: "Silenced" in about(slack, "DiskFull")[0].text, 30, "people see that it is silenced")
                (shown,) = hub.incidents("open")
                assert (shown["is_silenced"], shown["status"]) == (True, "triggered")
                posted = hub.metric("alerthub_webhooks_total")
                alertmanager.resolve({"alertname": "DiskFull"})
                wait_for_end(hub, slack, "DiskFull")
                assert hub.metric("alerthub_webhooks_total") == posted
                history = [(event["kind"], event["actor"]) for event in hub.api("incidents/1")["events"]]
                assert [kind for kind, _ in history] == ["opened", "silenced", "resolved"]
                assert history[1:] == [("silenced", "hub:reconciler"), ("resolved", "hub:reconciler")]


class TestACrash:
    def test_an_alertmanager_that_forgot_what_it_said_says_it_again_and_nobody_is_disturbed(self, slack: FakeSlack) -> None:
        with HubProcess(told_by_slack(slack)) as hub, Alertmanager(posting_to(hub.hook())) as alertmanager:
            alertmanager.post({"alertname": "DiskFull"})
            wait_until(lambda: about(slack, "DiskFull"), 30, "it is told")
            wait_until(hub.is_quiet, 10, "the hub has no more to say")
            posted = hub.metric("alerthub_webhooks_total", status="200")
            alertmanager.kill()
            alertmanager.start()
            alertmanager.post({"alertname": "DiskFull"})
            wait_until(lambda: hub.metric("alerthub_webhooks_total", status="200") > posted, 30, "it says it again")
            alertmanager.post({"alertname": "Another"})
            wait_until(lambda: about(slack, "Another"), 30, "what came later is told")
            (message,) = about(slack, "DiskFull")
            assert (message.edits, slack.thread(message.ts)) == (0, [])
            assert slack.methods() == ["chat.postMessage"] * 2
            assert states(hub) == {"DiskFull": "triggered", "Another": "triggered"}

    def test_a_hub_that_is_killed_while_alerts_come_loses_none(self) -> None:
        receiver = FakeReceiver(SIGNING)
        with served(receiver):
            config = told_by_webhook(receiver)
            with HubProcess(config) as hub, Alertmanager(posting_to(hub.hook(), ["alertname"])) as alertmanager:
                for number in range(STORM):
                    alertmanager.post({"alertname": f"Host{number:03}Down"})
                    if number == STORM // 2:
                        wait_until(lambda: len(receiver.effects) >= STORM // 4, 30, "some of them are told")
                        hub.kill()
                end_leases(f"sqlite:///{hub.folder}/hub.db")
                hub.start()
                wait_until(lambda: len(hub.incidents()) == STORM, 60, "every alert is an incident")
                wait_until(hub.is_quiet, 30, "the hub has no more to say")
                assert set(states(hub)) == {f"Host{number:03}Down" for number in range(STORM)}
                told = [body["data"]["incident"]["title"] for body in receiver.effects.values()]
                assert sorted(told) == sorted(states(hub))
                assert receiver.refused == []


def told_by_webhook(receiver: FakeReceiver) -> str:
    return f"""
server: {{listen: "${{HUB_LISTEN}}"}}
database: {{url: "sqlite:///hub.db"}}
sources: [{{name: alertmanager, type: alertmanager}}]
receivers: [{{name: machine, webhook_configs: [{{url: "{receiver.url}/in", secret: {SIGNING}}}]}}]
route: {{receiver: machine, group_by: [alertname]}}
"""
