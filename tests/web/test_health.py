"""How the hub says that it is alive, ready and healthy, and what it counts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event
from sqlalchemy.engine.interfaces import CacheStats

from alerthub.errors import Busy, Failure, SendFailed
from tests.kit.alerts import batch, firing, resolved
from tests.kit.clock import FakeClock
from tests.kit.hub import RunningHub, running_hub
from tests.kit.world import ScriptedChannel
from tests.sources.contract import payload

pytestmark = pytest.mark.anyio

README = Path(__file__).parents[2] / "README.md"
EVERYWHERE = ("/healthz", "/readyz", "/health", "/metrics")
WATCHED = (*EVERYWHERE, "/api/v1/incidents?limit=50", "/api/v1/deliveries?limit=50")


def break_channel(hub: RunningHub) -> ScriptedChannel:
    """The only destination takes nothing any more."""
    (told,) = hub.hub.rules.destinations().values()
    channel = ScriptedChannel(told, broken=SendFailed(Failure.unavailable, "HTTP 502"))
    hub.hub.equipment.plant.channels[told.key] = channel  # type: ignore[index]
    return channel


async def health_of(hub: RunningHub) -> tuple[int, str, dict[str, Any]]:
    answer = await hub.get("/health")
    told = answer.json()
    return answer.status_code, told["status"], told["components"]


def samples(text: str) -> dict[str, float]:
    """`name{labels}` to value."""
    return {f"{sample.name}{sample.labels}": sample.value
            for family in text_string_to_metric_families(text) for sample in family.samples}


async def test_a_new_hub_is_alive_ready_and_healthy() -> None:
    async with running_hub(loops=True) as hub:
        assert [(await hub.get(path)).status_code for path in EVERYWHERE] == [200] * 4
        status, word, parts = await health_of(hub)
        assert (status, word) == (200, "healthy")
        assert {name: part["status"] for name, part in parts.items()} == dict.fromkeys(
            ("database", "worker", "rounds", "configuration", "deliveries"), "healthy")


async def test_what_is_asked_again_and_again_is_compiled_once(hub: RunningHub) -> None:
    """A statement that is another one each time is kept each time, until it pushes out one that is needed: the memory of a hub
    that was asked for its health each second grew by 40 MiB an hour."""
    new: list[str] = []

    def look(_conn: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool) -> None:
        if context.cache_hit is CacheStats.CACHE_MISS:
            new.append(statement)

    event.listen(hub.hub.store.engine, "before_cursor_execute", look)
    for path in WATCHED:
        await hub.get(path)
    assert new
    new.clear()
    for path in WATCHED:
        await hub.get(path)
    assert not new


@pytest.mark.parametrize("error", [Busy("database: disk I/O error"), TimeoutError()])
async def test_without_a_database_it_is_alive_and_not_ready(hub: RunningHub, error: Exception) -> None:
    hub.store.error = error
    assert (await hub.get("/healthz")).status_code == 200
    ready = await hub.get("/readyz")
    assert ready.status_code == 503
    assert "the database does not answer" in ready.json()["reason"]
    status, word, parts = await health_of(hub)
    assert (status, word, parts["database"]["status"]) == (503, "unhealthy", "unhealthy")
    hub.store.mend()
    assert [(await hub.get(path)).status_code for path in EVERYWHERE] == [200] * 4


async def test_a_database_that_lost_its_tables_never_says_that_all_is_well(hub: RunningHub) -> None:
    await hub.store.write(lambda tx: tx.conn.exec_driver_sql("ALTER TABLE lanes RENAME TO gone"))
    for path in ("/readyz", "/health"):
        assert (await hub.get(path)).status_code in (500, 503)
    assert (await hub.post(payload("alertmanager-01-firing-single.json"))).status_code in (500, 503)


async def test_metrics_are_given_without_a_database_too(hub: RunningHub) -> None:
    hub.store.error = Busy("away")
    answer = await hub.get("/metrics")
    assert answer.status_code == 200
    assert samples(answer.text)["alerthub_errors_total{'where': 'metrics'}"] == 1


async def test_a_destination_that_fails_is_degraded_by_name_and_then_healthy_again(hub: RunningHub, clock: FakeClock) -> None:
    channel = break_channel(hub)
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    await hub.drain()
    status, word, parts = await health_of(hub)
    assert (status, word) == (200, "degraded")
    assert parts[f"destination {channel.destination.key}"] == {
        "status": "degraded", "detail": "fails since 2026-11-21 03:00:00 UTC: HTTP 502"}
    assert samples((await hub.get("/metrics")).text)["alerthub_failing_destinations{}"] == 1
    channel.broken = None
    clock.advance(minutes=10)
    await hub.drain()
    assert (await health_of(hub))[1] == "healthy"
    assert samples((await hub.get("/metrics")).text)["alerthub_failing_destinations{}"] == 0


async def test_dead_letters_are_degraded(hub: RunningHub, clock: FakeClock) -> None:
    break_channel(hub).broken = SendFailed(Failure.configuration, "the token was revoked")
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    await hub.drain()
    deliveries = (await health_of(hub))[2]["deliveries"]
    assert deliveries["status"] == "degraded"
    assert re.search(r"[1-9][0-9]* dead letters", deliveries["detail"])


async def test_a_delivery_that_waits_too_long_is_degraded(hub: RunningHub, clock: FakeClock) -> None:
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    clock.advance(seconds=60)
    assert (await health_of(hub))[1] == "healthy"
    clock.advance(seconds=1)
    assert (await health_of(hub))[2]["deliveries"] == {"status": "degraded", "detail": "oldest waits 61 s, 0 dead letters"}
    assert samples((await hub.get("/metrics")).text)["alerthub_oldest_pending_seconds{'channel': 'console'}"] == 61


async def test_a_loop_that_has_stopped_is_told() -> None:
    async with running_hub(loops=True) as hub:
        hub.hub.rounds.stop()
        await hub.hub.loops["rounds"]
        status, word, parts = await health_of(hub)
        assert (status, word, parts["rounds"]) == (200, "degraded", {"status": "degraded", "detail": "stopped"})


# -- metrics

async def test_every_metric_of_the_readme_is_there_and_no_other(hub: RunningHub) -> None:
    promised = set(re.findall(r"`(alerthub_[a-z_]+)`", README.read_text(encoding="utf-8"))) - {"alerthub_"}
    text = (await hub.get("/metrics")).text
    given = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    assert len(promised) > 10
    assert {name for name in given if not name.endswith("_created")} == promised
    assert (await hub.get("/metrics")).headers["content-type"].startswith("text/plain; version=0.0.4")


async def test_what_happened_is_counted(hub: RunningHub, clock: FakeClock) -> None:
    for number, severity in enumerate(("critical", "critical", "warning", "nonsense")):
        await hub.hub.take(batch(firing(f"A{number}", severity=severity), at=clock.now()))
    await hub.drain()
    clock.advance(seconds=5)
    await hub.hub.take(batch(resolved("A0", severity="critical", ends_at=clock.now()), at=clock.now()))
    await hub.drain()
    found = samples((await hub.get("/metrics")).text)
    assert found["alerthub_open_incidents{'severity': 'critical'}"] == 1
    assert found["alerthub_open_incidents{'severity': 'warning'}"] == 2
    assert found["alerthub_open_incidents{'severity': 'info'}"] == 0
    assert found["alerthub_events_total{'kind': 'opened'}"] == 4
    assert found["alerthub_events_total{'kind': 'resolved'}"] == 1
    assert found["alerthub_deliveries_total{'channel': 'console', 'outcome': 'sent'}"] == 5


async def test_no_label_of_an_alert_and_no_unknown_name_becomes_a_metric(hub: RunningHub) -> None:
    """Whoever can post could otherwise fill the memory of the hub and of Prometheus."""
    for number in range(30):
        await hub.post(b"{}", f"scan-{number}")
        await hub.hub.take(batch(firing(f"Odd{number}", canary=f"value-{number}"), at=hub.hub.clock.now()))
    text = (await hub.get("/metrics")).text
    assert not re.search(r"scan-|Odd|canary|value-", text)
    assert samples(text)["alerthub_webhooks_total{'source': '(unknown)', 'status': '401'}"] == 30


# -- a database that is lost, or full

GONE = "the database file is gone; stop the hub, restore it"


async def test_a_deleted_database_is_told_and_no_webhook_is_taken_into_it(hub: RunningHub) -> None:
    body = payload("alertmanager-01-firing-single.json")
    assert (await hub.post(body)).status_code == 200
    assert (await hub.get("/readyz")).status_code == 200
    Path(hub.store.path).unlink()
    answer = await hub.post(body)
    assert (answer.status_code, answer.json()["reason"]) == (503, f"{GONE}; send it again")
    ready = await hub.get("/readyz")
    assert (ready.status_code, ready.json()["reason"]) == (503, GONE)
    assert await health_of(hub) == (503, "unhealthy", {"database": {"status": "unhealthy", "detail": GONE}})
    assert (await hub.get("/healthz")).status_code == 200


async def test_a_full_disk_is_told_until_something_is_written_again(hub: RunningHub) -> None:
    def overflow(tx: Any) -> None:
        tx.conn.exec_driver_sql("PRAGMA max_page_count=1").close()
        tx.conn.exec_driver_sql("CREATE TABLE much (x)")
        tx.conn.exec_driver_sql("INSERT INTO much VALUES (zeroblob(1000000))")

    with pytest.raises(Busy):
        await hub.store.write(overflow)
    status, word, parts = await health_of(hub)
    assert (status, word, parts["database"]["status"]) == (503, "unhealthy", "unhealthy")
    assert re.fullmatch(r"can be read, but not written since [-0-9]{10} [:0-9]{8} UTC: database: database or disk is full",
                        parts["database"]["detail"])
    assert (await hub.post(payload("alertmanager-01-firing-single.json"))).status_code == 200
    assert (await health_of(hub))[:2] == (200, "healthy")
